/// The whole core, threads included, on the emulated chain.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <thread>
#include <tuple>
#include <vector>

#include "check.hpp"
#include "sim_arm.hpp"

using namespace sim;

TEST_CASE("a producer, an onlooker and the loop meet without tearing anything") {
  rl::emulator::Emulator emulator({});
  auto made = rl::LoopHouse::make(house_config(rl::SourceKind::chunks), {part_of(emulator)}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& house = *made.value();
  REQUIRE(house.start().ok());
  std::atomic<bool> done{false};
  rl::Look first;
  first = house.look();
  std::thread producer([&] {
    while (!done) {
      std::vector<float> rows(30 * 6);
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(first.values[i % 6]);
      house.requests().beat(rl::now_ns());
      static_cast<void>(house.push({rl::now_ns(), kPeriod, 30, rows}, rl::now_ns()));
      rl::sleep_until_ns(rl::now_ns() + 20 * rl::kMillisecond);
    }
  });
  std::thread onlooker([&] {
    std::uint64_t at = 0;
    while (!done) {
      rl::Look look;
      look = house.look();
      rl::CycleRecord record;
      std::array<double, 6> a{};
      std::array<double, 6> b{};
      std::array<double, 6> c{};
      for (; at < house.records().head(); ++at) static_cast<void>(house.records().copy(at, record, a, b, c));
      static_cast<void>(house.journal().period_error.quantile(0.5));
      rl::sleep_until_ns(rl::now_ns() + rl::kMillisecond);
    }
  });
  const auto armed = house.arm();
  CHECK(armed.ok());
  CHECK(run_out(house));
  done = true;
  producer.join();
  onlooker.join();
  CHECK(house.journal().active_cycles.load() == 30);
  CHECK(house.exit_code() == 0);
  CHECK(house.still_energised().empty());
  house.close();
  for (int id = 1; id <= 6; ++id) CHECK(emulator.registers(id)[40] == 0);
}

TEST_CASE("late replies are never taken for another register") {
  rl::emulator::Emulator emulator({});
  rl::ServoChain chain = chain_of(emulator);
  REQUIRE(chain.open().ok());
  emulator.fault("late", {{"rate", 0.1}, {"ms", 40.0}});
  int answered = 0;
  for (int turn = 0; turn < 60; ++turn) {
    const int id = 1 + turn % 6;
    const auto regs = emulator.registers(id);
    const auto model = chain.read_register(static_cast<std::uint8_t>(id), "Model_Number");
    if (model.ok()) CHECK(model.value() == 777);
    const auto limit = chain.read_register(static_cast<std::uint8_t>(id), "Max_Torque_Limit");
    if (limit.ok()) CHECK(limit.value() == regs[16] + 256 * regs[17]);
    answered += model.ok() && limit.ok() ? 1 : 0;
  }
  CHECK(answered > 50);
}

TEST_CASE("a silent motor costs the others nothing and its neighbours stay fresh") {
  rl::emulator::Emulator emulator({});
  rl::ServoChain chain = chain_of(emulator);
  REQUIRE(chain.open().ok());
  emulator.fault("mute", {{"id", 4.0}});
  for (int turn = 0; turn < 5; ++turn) static_cast<void>(chain.read_now(20 * rl::kMillisecond));
  int fresh = 0;
  for (int turn = 0; turn < 20; ++turn) {
    CHECK(!chain.read_now(20 * rl::kMillisecond));
    for (const rl::JointState& joint : chain.joints()) fresh += joint.fresh ? 1 : 0;
  }
  CHECK(fresh >= 20 * 5 - 3);
}

TEST_CASE("a stall of the adapter is over when it is over") {
  rl::emulator::Emulator emulator({});
  rl::ServoChain chain = chain_of(emulator);
  REQUIRE(chain.open().ok());
  for (int stall = 0; stall < 5; ++stall) {
    emulator.fault("stall", {{"ms", 75.0}});
    for (int turn = 0; turn < 5; ++turn) static_cast<void>(chain.read_now(20 * rl::kMillisecond));
    bool all = false;
    for (int turn = 0; turn < 3 && !all; ++turn) all = chain.read_now(20 * rl::kMillisecond);
    CHECK(all);
    rl::sleep_until_ns(rl::now_ns() + 300 * rl::kMillisecond);
  }
}

TEST_CASE("a motor found energised keeps its torque limit, the others are ramped to theirs") {
  rl::emulator::Emulator emulator({});
  auto config = house_config(rl::SourceKind::chunks);
  const rl::BusPart part = part_of(emulator);
  emulator.set_register(2, 48, std::vector<std::uint8_t>{0x5E, 0x01});  // 350
  emulator.set_register(2, 40, std::vector<std::uint8_t>{1});
  auto made = rl::LoopHouse::make(config, {part}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& house = *made.value();
  REQUIRE(house.start().ok());
  CHECK(house.arm().ok());
  for (int id = 1; id <= 6; ++id) {
    CHECK(eventually([&] {
      const auto regs = emulator.registers(id);
      const int most = regs[16] + 256 * regs[17];
      return regs[48] + 256 * regs[49] == (id == 2 ? 350 : most);
    }));
  }
  house.close();
}

TEST_CASE("an arm that is refused after a reset does not fall") {
  rl::emulator::Emulator emulator({});
  auto made = rl::LoopHouse::make(house_config(rl::SourceKind::chunks), {part_of(emulator)}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& house = *made.value();
  REQUIRE(house.start().ok());
  REQUIRE(house.arm().ok());
  house.requests().estop();
  REQUIRE(eventually([&] { return state_of(house) == rl::State::estop; }));
  house.requests().reset();
  REQUIRE(eventually([&] { return state_of(house) == rl::State::disarmed; }));
  emulator.fault("overload", {{"id", 3.0}, {"on", 1.0}});
  CHECK(!house.arm().ok());
  for (int id = 1; id <= 6; ++id) CHECK(emulator.registers(id)[40] == 1);
  emulator.fault("overload", {{"id", 3.0}, {"on", 0.0}});
  house.close();
}

TEST_CASE("closing after an emergency stop leaves torque as it is and says so") {
  rl::emulator::Emulator emulator({});
  auto made = rl::LoopHouse::make(house_config(rl::SourceKind::chunks), {part_of(emulator)}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& house = *made.value();
  REQUIRE(house.start().ok());
  REQUIRE(house.arm().ok());
  house.requests().estop();
  REQUIRE(eventually([&] { return state_of(house) == rl::State::estop; }));
  house.close();
  CHECK(house.exit_code() == 1);
  CHECK(house.still_energised().size() == 6);
  for (int id = 1; id <= 6; ++id) CHECK(emulator.registers(id)[40] == 1);
  const auto again = house.start();
  CHECK(!again.ok());
}

TEST_CASE("only an accepted set point is a sign of life") {
  rl::emulator::Emulator emulator({});
  auto made = rl::LoopHouse::make(house_config(rl::SourceKind::setpoints), {part_of(emulator)}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& house = *made.value();
  std::array<double, 6> row{};
  const std::int64_t now = rl::now_ns();
  row[0] = HUGE_VAL;
  CHECK(house.push_setpoint(row, now, now) == rl::Refusal::not_finite);
  CHECK(house.push_setpoint({row.data(), 5}, now, now) == rl::Refusal::width);
  CHECK(house.requests().last_beat() == 0);
  row[0] = 0;
  CHECK(house.push_setpoint(row, now, now) == rl::Refusal::none);
  CHECK(house.requests().last_beat() == now);
}

TEST_CASE("a bus belongs to one loop, once") {
  rl::emulator::Emulator emulator({});
  const rl::BusPart part = part_of(emulator);
  const auto config = house_config(rl::SourceKind::chunks);
  CHECK(!rl::LoopHouse::make(config, {part}, {part}).ok());
  CHECK(!rl::LoopHouse::make(config, {part}, std::vector<rl::BusPart>(16, part)).ok());
  auto first = rl::LoopHouse::make(config, {part}, {});
  auto second = rl::LoopHouse::make(config, {part}, {});
  REQUIRE(first.ok() && second.ok());
  REQUIRE(first.value()->start().ok());
  CHECK(!second.value()->start().ok());
  CHECK(part.bus->driven);
  second.value()->close();
  CHECK(part.bus->driven);
  CHECK(part.bus->chain.is_open());
  first.value()->close();
  CHECK(!part.bus->driven);
}

TEST_CASE("a rate that an adapter cannot carry is refused with one that it can") {
  for (const auto& [late_ms, asked, most] : {std::tuple{2.0, 1000, 400}, {16.0, 50, 40}}) {
    rl::emulator::Emulator emulator({});
    emulator.fault("late", {{"rate", 1.0}, {"ms", late_ms}});
    const rl::BusPart part = part_of(emulator);
    CHECK(part.bus->chain.turnaround() > static_cast<std::int64_t>(late_ms * 1e6));
    rl::HouseConfig config = house_config(rl::SourceKind::chunks);
    config.rate_hz = asked;
    auto fast = rl::LoopHouse::make(config, {part}, {});
    REQUIRE(fast.ok());
    const auto started = fast.value()->start();
    REQUIRE(!started.ok());
    CHECK(started.error().code == rl::ErrorCode::usage);
    const std::string& said = started.error().text;
    CHECK(said.starts_with(std::to_string(asked) + " Hz is more than "));
    const int rate = std::atoi(said.c_str() + said.find("use --rate ") + 11);
    CHECK((rate >= 10 && rate < most));
    const std::int64_t period = rl::kSecond / rate;
    CHECK(part.bus->chain.oldest_at(period, rl::read_budget(period)) <= 100 * rl::kMillisecond);
    fast.value()->close();
  }
}

TEST_CASE("an arm that stands a little outside its range is armed, one far outside is not") {
  rl::emulator::Emulator emulator({});
  rl::ServoChain chain = chain_of(emulator);
  REQUIRE(chain.open().ok());
  REQUIRE(chain.configure().ok());
  CHECK(chain.check_quick().none());
  for (const auto& [id, steps] : {std::pair{6, 20}, {6, 60}, {3, 20}, {3, 60}}) {
    rl::ChainConfig moved = chain.config();
    const int at = emulator.positions()[static_cast<std::size_t>(id - 1)];
    auto& changed = moved.joints[static_cast<std::size_t>(id - 1)];
    changed.range_min = at + steps;
    changed.range_max = at + steps + 1000;  // of which 3 % are 30 steps
    chain.close();
    auto made = rl::ServoChain::make(moved);
    REQUIRE(made.ok());
    rl::ServoChain other = std::move(made.value());
    REQUIRE(other.open().ok());
    REQUIRE(other.configure().ok());
    const rl::Trouble trouble = other.check_quick();
    CHECK((trouble.kind == rl::TroubleKind::outside) == (steps == 60));
    if (steps == 60) CHECK(other.tell(trouble).text.starts_with("outside its range: "));
    other.close();
    REQUIRE(chain.open().ok());
    REQUIRE(chain.configure().ok());
  }
}

TEST_CASE("what forbids arming is found and named before anything has torque") {
  struct Finding {
    int address;
    std::vector<std::uint8_t> value;
    rl::TroubleKind kind;
    const char* text;
  };
  const Finding findings[] = {
      {63, {62}, rl::TroubleKind::hot, "too hot: wrist_flex (id 4) on "},
      {62, {90}, rl::TroubleKind::supply, "wrong supply: wrist_flex (id 4) on "},
      {33, {1}, rl::TroubleKind::mode, "wrong mode: wrist_flex (id 4) on "},
      {18, {28}, rl::TroubleKind::multi_turn, "multi-turn feedback: wrist_flex (id 4) on "},
      {31, {1, 0}, rl::TroubleKind::calibration, "calibration differs: wrist_flex (id 4) on "},
  };
  for (const Finding& finding : findings) {
    rl::emulator::Emulator emulator({});
    rl::ServoChain chain = chain_of(emulator);
    REQUIRE(chain.open().ok());
    CHECK(chain.check_quick().none());
    emulator.set_register(4, finding.address, finding.value);
    const rl::Trouble trouble = chain.check_quick();
    CHECK(trouble.kind == finding.kind);
    CHECK(chain.tell(trouble).text.starts_with(finding.text));
  }
  rl::emulator::Emulator emulator({});
  rl::ServoChain chain = chain_of(emulator);
  REQUIRE(chain.open().ok());
  emulator.fault("overload", {{"id", 2}, {"on", 1}});
  CHECK(chain.check_quick().kind == rl::TroubleKind::status_bits);
}

TEST_CASE("a motor that started anew is found, also when all of them did") {
  for (const bool all : {false, true}) {
    rl::emulator::Emulator emulator({});
    rl::ServoChain chain = chain_of(emulator);
    REQUIRE(chain.open().ok());
    REQUIRE(chain.configure().ok());
    std::int64_t stamp = 0;
    rl::ServoChain::Found found;
    for (std::size_t j = 0; j < chain.size(); ++j) REQUIRE(chain.energise(j, stamp, found).none());
    for (int id = 1; id <= 6; ++id)
      if (all || id == 4) emulator.fault("reboot", {{"id", static_cast<double>(id)}});
    std::uint64_t anew = 0;
    CHECK(sim::eventually([&] {
      static_cast<void>(chain.read_now(12 * rl::kMillisecond));
      for (std::size_t j = 0; j < chain.size(); ++j) anew |= chain.joints()[j].rebooted ? 1ULL << j : 0;
      return anew == (all ? 0x3FU : 0x08U);
    }));
  }
}

TEST_CASE("an e-stop is seen between two motors that are switched on") {
  rl::emulator::Emulator emulator({});
  rl::BusPart part = part_of(emulator);
  emulator.fault("late", {{"rate", 1.0}, {"ms", 15.0}});  // each motor takes its time
  auto made = rl::LoopHouse::make(house_config(rl::SourceKind::setpoints), {part}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& loop = *made.value();
  REQUIRE(loop.start().ok());
  std::thread asking([&] { static_cast<void>(loop.arm()); });
  CHECK(sim::eventually([&] { return emulator.registers(1)[40] == 1; }));
  loop.requests().estop();
  asking.join();
  CHECK(sim::eventually([&] { return emulator.registers(1)[40] == 0; }));
  for (int id = 1; id <= 6; ++id) CHECK(emulator.registers(id)[40] == 0);
  loop.close();
}

TEST_CASE("another model is refused before anything is written to it") {
  rl::emulator::Emulator emulator({});
  rl::ServoChain chain = chain_of(emulator);
  REQUIRE(chain.open().ok());
  emulator.fault("model", {{"id", 5.0}, {"number", 2825.0}});
  emulator.set_register(1, 31, std::vector<std::uint8_t>{7, 0});
  const auto before = emulator.statistics();
  const auto written = chain.configure();
  CHECK(!written.ok());
  CHECK(written.error().code == rl::ErrorCode::wrong_model);
  CHECK(emulator.statistics().at("eeprom_writes") == before.at("eeprom_writes"));
}

TEST_CASE("after a stall that outlasts every length no late reply is taken for another register") {
  rl::emulator::Emulator emulator({});
  rl::ServoChain chain = chain_of(emulator);
  REQUIRE(chain.open().ok());
  REQUIRE(chain.configure().ok());
  int answered = 0;
  for (int stall = 0; stall < 4; ++stall) {
    emulator.fault("stall", {{"ms", 400.0}});
    const std::int64_t end = rl::now_ns() + (300 + 30 * stall) * rl::kMillisecond;
    while (rl::now_ns() < end) static_cast<void>(chain.read_now(12 * rl::kMillisecond));
    for (int id = 1; id <= 6; ++id) {
      const auto model = chain.read_register(static_cast<std::uint8_t>(id), "Model_Number");
      if (model.ok()) CHECK(model.value() == 777);
      const auto torque = chain.read_register(static_cast<std::uint8_t>(id), "Torque_Enable");
      if (torque.ok()) CHECK(torque.value() == 0);
      answered += model.ok() && torque.ok() ? 1 : 0;
    }
    CHECK(eventually([&] { return chain.read_now(20 * rl::kMillisecond); }));
  }
  CHECK(answered >= 12);
}

TEST_CASE("a cable that was pulled and comes back under another number moves nothing by itself") {
  rl::emulator::Emulator emulator({});
  const std::string name = "/tmp/rl-by-id-" + std::to_string(::getpid());
  const auto plug = [&] {
    ::unlink(name.c_str());
    REQUIRE(::symlink(emulator.port().c_str(), name.c_str()) == 0);
  };
  plug();
  rl::BusPart part = part_of(emulator);
  part.bus->chain.close();
  part.bus->chain.move_to(name);
  REQUIRE(part.bus->chain.open().ok());
  rl::HouseConfig config = house_config(rl::SourceKind::setpoints);
  config.duration_s = 0;
  config.planner.queue.keep_last = true;
  auto made = rl::LoopHouse::make(config, {part}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& house = *made.value();
  REQUIRE(house.start().ok());
  const auto state = [&] { return house.look().state; };
  rl::AxisVector aim = house.look().values;
  std::int64_t pushed = 0;
  const auto push = [&] {
    if (rl::now_ns() - pushed < kPeriod) return;
    pushed = rl::now_ns();
    if (state() == rl::State::hold) house.requests().resume();  // a host that stood still for a moment
    static_cast<void>(house.push_setpoint({aim.data(), 6}, rl::now_ns(), rl::now_ns()));
  };
  push();
  REQUIRE(house.arm().ok());
  CHECK(eventually([&] { return push(), state() == rl::State::active; }));

  const std::string before = emulator.port();
  emulator.fault("hangup", {});
  CHECK(eventually([&] { return push(), state() == rl::State::fault; }));
  CHECK(house.look().reason == rl::Reason::hang_up);
  aim[0] += 40;              // what is asked for from now on moves nothing
  house.requests().reset();  // there is nothing yet that could be reset
  rl::sleep_until_ns(rl::now_ns() + 100 * rl::kMillisecond);
  CHECK(state() == rl::State::fault);
  const auto held = emulator.goals();
  emulator.fault("replug", {});
  REQUIRE(emulator.port() != before);
  plug();
  CHECK(eventually([&] {
    push();
    const auto notes = house.notes();
    return std::any_of(notes.begin(), notes.end(),
                       [&](const std::string& n) { return n == name + " is back; reset and arm to go on"; });
  }));
  CHECK(eventually([&] { return push(), house.look().missing == 0; }));
  CHECK(state() == rl::State::fault);
  CHECK(!house.arm().ok());
  CHECK(emulator.goals().size() == held.size());  // not even the goal where it braked to meanwhile
  house.requests().reset();
  CHECK(eventually([&] { return push(), state() == rl::State::disarmed; }));
  REQUIRE(house.arm().ok());
  CHECK(eventually([&] { return push(), state() == rl::State::active; }));
  house.close();
  ::unlink(name.c_str());
}

TEST_CASE("another arm on the same path is not taken for the one that was there") {
  rl::emulator::Emulator emulator({});
  rl::ServoChain chain = chain_of(emulator);
  REQUIRE(chain.open().ok());
  CHECK(chain.recognise().none());
  emulator.set_register(3, 31, {{1, 2}});  // another homing offset
  CHECK(chain.recognise().kind == rl::TroubleKind::calibration);
  emulator.fault("drop", {{"rate", 1.0}});
  CHECK(chain.recognise().kind == rl::TroubleKind::silent);
}

TEST_CASE("a position that no joint can have is no answer") {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0);
  rl::ChainConfig config;
  config.port = "pair";
  config.joints.push_back({"a", 1, 0, 0, 1000, 3000, rl::UnitMode::degrees});
  auto made = rl::ServoChain::make(config);
  REQUIRE(made.ok());
  rl::ServoChain& chain = made.value();
  chain.adopt(rl::SerialPort(ends[0]));
  for (const auto& [raw, good] : {std::pair{2000, true}, {0x7FFF, false}, {0x9388, false}, {2100, true}}) {
    const std::int64_t now = rl::now_ns();
    chain.begin_cycle(now, now + rl::kSecond);
    std::array<std::uint8_t, 64> asked{};
    REQUIRE(::read(ends[1], asked.data(), asked.size()) > 6);
    const std::uint8_t length = asked[6];
    std::vector<std::uint8_t> reply = {0xFF, 0xFF, 1, static_cast<std::uint8_t>(length + 2), 0};
    reply.push_back(static_cast<std::uint8_t>(raw & 0xFF));
    reply.push_back(static_cast<std::uint8_t>(raw >> 8));
    reply.resize(5U + length);
    reply.push_back(rl::checksum({reply.data() + 2, reply.size() - 2}));
    REQUIRE(::write(ends[1], reply.data(), reply.size()) == static_cast<ssize_t>(reply.size()));
    chain.pump(now + 1);
    CHECK(chain.joints()[0].fresh == good);
    if (good) CHECK(chain.joints()[0].raw == raw);
  }
  ::close(ends[1]);
}

TEST_CASE("a motor that started anew is no longer counted as energised") {
  rl::emulator::Emulator emulator({});
  auto made = rl::LoopHouse::make(house_config(rl::SourceKind::setpoints), {part_of(emulator)}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& house = *made.value();
  REQUIRE(house.start().ok());
  REQUIRE(house.arm().ok());
  emulator.set_register(2, 40, {{0}});  // without a single reply missing
  CHECK(eventually([&] { return house.look().state == rl::State::fault; }));
  CHECK(house.look().reason == rl::Reason::motor_rebooted);
  CHECK(house.still_energised().size() == 5);
  house.close();
}

TEST_CASE("a motor that burns loses its torque, alone, and the others hold") {
  rl::emulator::Emulator emulator({});
  auto made = rl::LoopHouse::make(house_config(rl::SourceKind::setpoints), {part_of(emulator)}, {});
  REQUIRE(made.ok());
  rl::LoopHouse& house = *made.value();
  REQUIRE(house.start().ok());
  REQUIRE(house.arm().ok());
  emulator.set_register(3, 63, {{72}});  // deg C: beyond its own limit, so its status says it too
  CHECK(eventually([&] { return house.look().state == rl::State::fault; }));
  CHECK(eventually([&] { return emulator.registers(3)[40] == 0; }));
  CHECK(eventually([&] { return house.still_energised().size() == 5; }));
  for (const int id : {1, 2, 4, 5, 6}) CHECK(emulator.registers(id)[40] == 1);
  CHECK(house.look().reason == rl::Reason::motor_fault);
  house.close();
}
