/// The reading cycle on a line in virtual time: nothing that a line does to replies puts one motor's value,
/// or an old one, in the place of another.
#include "check.hpp"
#include "line_soak.hpp"

namespace {

constexpr std::int64_t kAlways = INT64_MAX;
constexpr std::int64_t kPeriod = 20 * rl::kMillisecond;
constexpr std::int64_t kBudget = rl::read_budget(kPeriod);

/// Six SCS servos: words big-endian, no sync-read, six registers of state from 56 on.
std::vector<rl::emulator::Answer> scs(const rl::emulator::Request& request, std::int64_t free) {
  if (request.instruction != rl::emulator::Instruction::read || request.id > 6) return {};
  const int position = 100 * request.id + 7;
  rl::emulator::Bytes data(request.parameters.at(1), 0);
  data.at(0) = static_cast<std::uint8_t>(position >> 8);
  data.at(1) = static_cast<std::uint8_t>(position & 0xFF);
  const std::int64_t start = std::max(request.arrived, free) + 20'000;
  return {{request.id, rl::emulator::status_packet(request.id, 0, data), start}};
}

}  // namespace

TEST_CASE("no late, damaged, doubled or noisy reply is taken for another one") {
  sim::WavingLine arm(7);
  sim::strike(arm, 0.1);
  const sim::Soak found = sim::soak(arm, 200, 20'000, kAlways);
  CHECK(found.struck >= 20'000);
  CHECK(found.fresh > 20'000);
  CHECK(found.telling > found.fresh / 2);
  CHECK(found.wrong == 0);
}

TEST_CASE("where answers miss a short period's end fewer motors are asked together: none grows stale") {
  for (const double rate : {600.0, 700.0, 800.0}) {
    sim::WavingLine arm(11);
    arm.hesitates = 500 * rl::kMicrosecond;
    const sim::Soak found = sim::soak(arm, rate, kAlways, 20'000);
    CHECK(found.fresh > 30'000);
    CHECK(found.wrong == 0);
    CHECK(found.oldest_ns < 50 * rl::kMillisecond);
  }
}

TEST_CASE("the check of the soak sees a value of another cycle") {
  sim::WavingLine arm(7);
  arm.line.cycle(rl::kSecond, kBudget);
  const int old = arm.line.chain().joints()[0].raw;
  CHECK(arm.line.gave(0, old));
  arm.line.cycle(rl::kSecond + 500 * rl::kMillisecond, kBudget);
  CHECK(!arm.line.gave(0, old));
}

TEST_CASE("a line that loses one reply in a hundred never lets a joint grow stale") {
  sim::WavingLine arm(3);
  arm.line.faults.set("drop", {{"rate", 0.01}});
  const sim::Soak found = sim::soak(arm, 50, kAlways, 20'000);
  CHECK(found.struck > 900);
  CHECK(found.wrong == 0);
  CHECK(found.oldest_ns < 100 * rl::kMillisecond);
}

TEST_CASE("a lost reply costs its own motor one more question in the same cycle") {
  sim::WavingLine arm(1);
  for (int k = 0; k < 100; ++k) {
    const std::int64_t now = rl::kSecond + k * kPeriod;
    if (k % 10 == 5) arm.line.faults.set("drop", {{"rate", 1.0}, {"count", 1.0}});
    arm.line.cycle(now, kBudget);
    for (const rl::JointState& joint : arm.line.chain().joints()) CHECK(joint.fresh);
  }
  CHECK(arm.line.statistics().dropped == 10);
}

TEST_CASE(
    "one bad reply costs its cycle 3 ms at most; what comes before the last reply, half a millisecond") {
  for (const char* const kind : {"drop", "corrupt"}) {
    for (double id = 1; id <= 6; ++id) {
      for (const double rate : {50.0, 100.0, 200.0}) {
        sim::WavingLine arm(5);
        const auto period = static_cast<std::int64_t>(1e9 / rate);
        std::int64_t now = rl::kSecond;
        const auto cycle = [&] {
          const std::int64_t took = arm.line.cycle(now, rl::read_budget(period)) - now;
          now += period;
          return took;
        };
        for (int k = 0; k < 200; ++k) cycle();  // the adapter is known by then
        for (int k = 0; k < 10; ++k) {
          std::int64_t usual = 0;
          for (int sound = 0; sound < 9; ++sound) usual = cycle();
          arm.line.faults.set(kind, {{"rate", 1.0}, {"count", 1.0}, {"id", id}});
          const std::int64_t extra = cycle() - usual;
          CHECK(extra <= (id == 6 ? 3 * rl::kMillisecond : rl::kMillisecond / 2));
          const bool room = id < 6 || rate < 200;
          for (const rl::JointState& joint : arm.line.chain().joints()) CHECK((joint.fresh || !room));
        }
        CHECK(arm.line.statistics().dropped + arm.line.statistics().corrupted == 10);
      }
    }
  }
}

TEST_CASE("an adapter that becomes slower is followed, and a motor that was silent then is heard again") {
  for (const double late_ms : {3.0, 5.0, 8.0}) {
    sim::WavingLine arm(1);
    std::int64_t now = rl::kSecond;
    const auto cycle = [&] {
      arm.line.cycle(now, kBudget);
      now += kPeriod;
      return arm.line.chain().joints();
    };
    for (int k = 0; k < 200; ++k) cycle();
    arm.line.faults.set("late", {{"rate", 1.0}, {"ms", late_ms}});
    arm.line.faults.set("drop", {{"rate", 1.0}, {"id", 3.0}});
    for (int k = 0; k < 10; ++k) {
      const auto joints = cycle();
      for (std::size_t j = 0; j < 6; ++j) CHECK((joints[j].fresh || joints[j].skipped) == (j != 2));
    }
    arm.line.faults.set("drop", {{"rate", 0.0}});
    const std::int64_t back = now;
    while (!cycle()[2].fresh && now < back + 2 * rl::kSecond) continue;
    CHECK(now - back <= 250 * rl::kMillisecond);
    for (int k = 0; k < 100; ++k) {
      for (const rl::JointState& joint : cycle()) CHECK(joint.fresh);
    }
  }
}

TEST_CASE("where this host wakes up late in the midst of an answer, no motor is taken for silent") {
  sim::WavingLine arm(1);
  arm.line.faults.set("late", {{"rate", 1.0}, {"ms", 5.0}});
  for (int k = 0; k < 50; ++k) {
    // Nothing is looked at until some of the replies are there.
    const std::int64_t blind = 5'900 * rl::kMicrosecond;
    arm.line.cycle(rl::kSecond + k * kPeriod, kBudget, blind);
    for (const rl::JointState& joint : arm.line.chain().joints()) CHECK(joint.fresh);
  }
}

TEST_CASE("a silent motor costs the others nothing") {
  for (double id = 1; id <= 6; ++id) {
    sim::WavingLine arm(1);
    const auto silent = static_cast<std::size_t>(id) - 1;
    arm.line.faults.set("drop", {{"rate", 1.0}, {"id", id}});
    for (int k = 0; k < 200; ++k) {
      arm.line.cycle(rl::kSecond + k * kPeriod, kBudget);
      for (std::size_t j = 0; j < rl::emulator::kJoints; ++j)
        CHECK(arm.line.chain().joints()[j].fresh == (j != silent));
    }
  }
}

TEST_CASE("a motor that was silent for a while is heard again") {
  for (const double rate : {50.0, 200.0, 490.0, 600.0, 760.0, 1000.0}) {
    for (const int silent_ms : {15, 60, 90, 150, 300, 500, 900}) {
      sim::WavingLine arm(1);
      const auto period = static_cast<std::int64_t>(1e9 / rate);
      const std::int64_t begin = rl::kSecond;
      const std::int64_t back = begin + silent_ms * rl::kMillisecond;
      arm.line.faults.set("drop", {{"rate", 1.0}, {"id", 3.0}});
      std::int64_t now = begin;
      for (; now < back; now += period) arm.line.cycle(now, rl::read_budget(period));
      CHECK(!arm.line.chain().joints()[2].fresh);
      arm.line.faults.set("drop", {{"rate", 0.0}});
      while (!arm.line.chain().joints()[2].fresh && now < back + rl::kSecond) {
        arm.line.cycle(now, rl::read_budget(period));
        now += period;
      }
      CHECK(now - back <= 250 * rl::kMillisecond);
    }
  }
}

TEST_CASE("a whole line that was silent for a while is heard again") {
  for (const double rate : {50.0, 200.0, 490.0, 600.0, 760.0, 1000.0}) {
    for (const int silent_ms : {25, 60, 150, 300, 450, 2000}) {
      sim::WavingLine arm(1);
      const auto period = static_cast<std::int64_t>(1e9 / rate);
      const std::int64_t back = rl::kSecond + silent_ms * rl::kMillisecond;
      std::int64_t now = rl::kSecond / 2;  // it is known by then
      for (; now < rl::kSecond; now += period) arm.line.cycle(now, rl::read_budget(period));
      arm.line.faults.set("drop", {{"rate", 1.0}});
      for (; now < back; now += period) arm.line.cycle(now, rl::read_budget(period));
      arm.line.faults.set("drop", {{"rate", 0.0}});
      const auto heard = [&] {
        const auto joints = arm.line.chain().joints();
        return std::all_of(joints.begin(), joints.end(),
                           [&](const rl::JointState& j) { return j.captured > back; });
      };
      while (!heard() && now < back + rl::kSecond) {
        arm.line.cycle(now, rl::read_budget(period));
        now += period;
      }
      CHECK(now - back <= 250 * rl::kMillisecond);
    }
  }
}

TEST_CASE("temperature, voltage and load are read at every rate at which there is time for them") {
  for (const double rate : {10.0, 50.0, 200.0, 320.0, 400.0, 700.0, 1000.0}) {
    sim::WavingLine arm(1);
    const auto period = static_cast<std::int64_t>(1e9 / rate);
    for (std::int64_t now = rl::kSecond; now < 2 * rl::kSecond; now += period)
      arm.line.cycle(now, rl::read_budget(period));
    for (const rl::JointState& joint : arm.line.chain().joints()) {
      CHECK(joint.temperature > 0);
      CHECK(joint.voltage > 0);
    }
  }
}

TEST_CASE("where a period has no room for all motors they are read in turn, and none is taken for silent") {
  for (const double rate : {400.0, 700.0, 1000.0}) {
    sim::WavingLine arm(1);
    const auto period = static_cast<std::int64_t>(1e9 / rate);
    std::int64_t oldest = 0;
    std::size_t skipped = 0;
    for (std::int64_t now = rl::kSecond; now < 2 * rl::kSecond; now += period) {
      const std::int64_t end = arm.line.cycle(now, rl::read_budget(period));
      for (const rl::JointState& joint : arm.line.chain().joints()) {
        CHECK((joint.fresh || joint.skipped));
        skipped += joint.skipped ? 1 : 0;
        if (now > rl::kSecond + 20 * rl::kMillisecond) oldest = std::max(oldest, end - joint.captured);
      }
    }
    CHECK((skipped > 0) == (rate > 500));
    CHECK(oldest < 20 * rl::kMillisecond);
  }
}

TEST_CASE("a motor that is silent is found so also where they are read in turn") {
  sim::WavingLine arm(1);
  arm.line.faults.set("drop", {{"rate", 1.0}, {"id", 3.0}});
  std::int64_t asked = 0;
  for (std::int64_t now = rl::kSecond; now < 2 * rl::kSecond; now += rl::kMillisecond) {
    arm.line.cycle(now, rl::read_budget(rl::kMillisecond));
    const auto joints = arm.line.chain().joints();
    CHECK(!joints[2].fresh);
    asked += joints[2].skipped ? 0 : 1;
    CHECK(std::count_if(joints.begin(), joints.end(), [](const rl::JointState& j) { return j.fresh; }) <= 5);
  }
  CHECK(asked > 300);  // once it is known to be silent, a cycle counts as one that it left unanswered
  for (std::size_t j = 0; j < 6; ++j)
    CHECK((arm.line.chain().joints()[j].captured > 2 * rl::kSecond - 30 * rl::kMillisecond) == (j != 2));
}

TEST_CASE("SCS motors are read one by one, their words big-endian") {
  rl::ChainConfig config = sim::six_joints(rl::emulator::Kind::leader);
  config.model = "scs0009";
  for (rl::JointCalibration& joint : config.joints) {
    joint.homing_offset = 0;
    joint.range_min = 10;
    joint.range_max = 1000;
  }
  sim::VirtualLine line(config, scs, 1, [](const auto& p) { return (p.at(5) << 8) | p.at(6); });
  for (int k = 0; k < 50; ++k) {
    line.cycle(rl::kSecond + k * kPeriod, kBudget);
    for (std::size_t j = 0; j < 6; ++j) {
      CHECK(line.chain().joints()[j].fresh);
      CHECK(line.chain().joints()[j].raw == static_cast<int>(100 * (j + 1) + 7));
    }
  }
  line.faults.set("drop", {{"rate", 1.0}, {"id", 3.0}});
  for (int k = 50; k < 100; ++k) {
    line.cycle(rl::kSecond + k * kPeriod, kBudget);
    for (std::size_t j = 0; j < 6; ++j) CHECK(line.chain().joints()[j].fresh == (j != 2));
  }
}
