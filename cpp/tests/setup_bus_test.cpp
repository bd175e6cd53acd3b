/// The bus of set-up on the emulated chain: what it finds and stores, and that nothing gains torque.
#include "rl/setup_bus.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "check.hpp"
#include "emulator.hpp"

namespace {

rl::SetupBus bus_of(const rl::emulator::Emulator& emulator) {
  auto made = rl::SetupBus::make(emulator.port(), "sts3215", {{3, "elbow_flex"}});
  REQUIRE(made.ok());
  REQUIRE(made.value().open(1'000'000).ok());
  return std::move(made.value());
}

}  // namespace

TEST_CASE("a set-up bus finds six motors and their positions") {
  rl::emulator::Emulator emulator({});
  rl::SetupBus bus = bus_of(emulator);
  const auto found = bus.scan();
  REQUIRE(found.ok());
  CHECK(found.value().size() == 6);
  const std::array<int, 3> ids = {1, 3, 6};
  const auto positions = bus.positions(ids);
  REQUIRE(positions.ok());
  const auto real = emulator.positions();
  for (const rl::RawPosition& one : positions.value()) {
    CHECK(one.captured > 0);
    CHECK(one.steps == real.at(static_cast<std::size_t>(one.id - 1)));
  }
}

TEST_CASE("a store that fails in the second motor leaves the first as it was, its lock closed") {
  rl::emulator::Emulator emulator({});
  rl::SetupBus bus = bus_of(emulator);
  const auto before = emulator.registers(2);
  emulator.fault("mute", {{"id", 3}});
  CHECK(!bus.store({{2, "Homing_Offset", 5, 0, false}, {3, "Homing_Offset", 5, 0, false}}).ok());
  const auto after = emulator.registers(2);
  CHECK(std::equal(before.begin(), before.begin() + 40, after.begin()));
  CHECK(after.at(55) == 1);
}

TEST_CASE("no call of a set-up bus leaves a motor with torque or writes a goal") {
  rl::emulator::Emulator emulator({});
  rl::SetupBus bus = bus_of(emulator);
  for (const rl::Register& reg : rl::find_model("sts3215")->registers) {
    const bool stored = reg.writable && reg.address < rl::at::kFirstRam && reg.address > rl::at::kId + 1;
    const auto held = bus.read(1, reg.name);
    REQUIRE(held.ok());
    CHECK(bus.store({{1, std::string(reg.name), held.value(), 0, false}}).ok() == stored);
  }
  const std::array<int, 1> one = {1};
  CHECK(bus.relax(one).ok());
  CHECK(bus.readdress(1, 9, 1'000'000).ok());
  CHECK(bus.reboot(9).ok());
  CHECK(bus.restore_factory(9).ok());
  CHECK(emulator.statistics().at("goal_writes") == 0);
  for (int id = 1; id <= 6; ++id) CHECK(emulator.registers(id).at(rl::at::kTorqueEnable) == 0);
}

TEST_CASE("rates whose code means two things are never written") {
  CHECK(rl::rate_code(1'000'000) == 0);
  CHECK(rl::rate_code(115'200) == 4);
  for (const unsigned baud : {76'800U, 57'600U, 38'400U, 19'200U, 9'600U, 0U})
    CHECK(rl::rate_code(baud) == -1);
}

TEST_CASE("a motor that does not answer is told to let go all the same, and counted as holding") {
  rl::emulator::Emulator emulator({});
  rl::SetupBus bus = bus_of(emulator);
  const std::array<int, 6> ids = {5, 4, 3, 2, 1, 6};
  for (const int id : ids) emulator.set_register(id, 40, {{1}});
  emulator.fault("drop", {{"rate", 1.0}, {"id", 3.0}});
  const std::int64_t before = emulator.statistics().at("sync_writes");
  const auto held = bus.relax(ids);
  REQUIRE(held.ok());
  CHECK(held.value() == std::vector<int>{3});
  CHECK(emulator.statistics().at("sync_writes") == before + 1);
  for (const int id : ids) CHECK(emulator.registers(id)[40] == 0);
}
