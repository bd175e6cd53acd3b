/// The real loop and the real planner on a bus that is only arithmetic and a clock that only counts.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "check.hpp"
#include "rl/control_loop.hpp"
#include "rl/kinematics.hpp"

namespace {

thread_local bool forbidden = false;
thread_local int allocations = 0;

constexpr std::size_t kAxes = 2;

struct FakeBus {
  explicit FakeBus(rl::Requests& asked) : requests(asked) {}
  rl::Requests& requests;
  std::int64_t clock = 1'000'000'000;
  std::vector<rl::AxisVector> goals;
  std::vector<std::int64_t> times;
  rl::AxisVector measured{};
  std::int64_t stall = 0;   ///< added once to the next read
  std::int64_t asleep = 0;  ///< the machine was suspended for so long in all
  bool mute = false;
  int released = 0;
  std::int64_t script_at = 0;
  void (*script)(FakeBus&, std::int64_t cycle) = nullptr;
  std::int64_t cycle = 0;

  [[nodiscard]] std::int64_t now() const noexcept { return clock; }
  [[nodiscard]] std::int64_t suspended() const noexcept { return asleep; }
  bool sleep_until(std::int64_t deadline) noexcept {
    if (requests.urgent()) return false;
    if (deadline > clock) clock = deadline;
    return true;
  }
  void let_go(std::uint64_t /*limp*/) noexcept {}
  void write_goal(const rl::AxisVector& goal, std::uint64_t /*withheld*/) noexcept {
    forbidden = false;
    goals.push_back(goal);
    times.push_back(clock);
    forbidden = true;
    measured = goal;
  }
  void write_torque(std::size_t /*arm*/, double /*part*/, std::uint64_t /*derated*/) noexcept {}
  void read_state(rl::Reading& reading, std::int64_t /*end*/) noexcept {
    if (script != nullptr) {
      forbidden = false;
      script(*this, cycle);
      forbidden = true;
    }
    ++cycle;
    clock += 1'000'000 + stall;
    stall = 0;
    reading.missing = mute ? 2 : 0;
    for (std::size_t k = 0; k < kAxes; ++k) {
      if (mute && k == 1) continue;
      reading.values[k] = measured[k];
      reading.captured[k] = clock;
    }
  }
  std::uint64_t release(std::uint64_t /*arms*/) noexcept {
    ++released;
    return 0;
  }
  [[nodiscard]] std::uint64_t armable() const noexcept { return ~0ULL; }
  bool arm_requested() noexcept { return requests.take_arm(); }
  void refuse_arm(rl::State /*state*/) noexcept {}
  rl::Arming arm(std::uint64_t /*arms*/, rl::Reading& reading) noexcept {
    clock += 50'000'000;
    for (std::size_t k = 0; k < kAxes; ++k) reading.values[k] = measured[k];
    return rl::Arming::switched_on;
  }
};

struct FakeJournal {
  std::int64_t active = 0;
  std::int64_t skipped = 0;
  std::vector<rl::State> states;
  void publish(const rl::CycleRecord& record, const rl::Reading& /*reading*/,
               const rl::AxisVector& /*written*/, const rl::Plan& plan, std::int64_t missed) noexcept {
    if (record.state == rl::State::active) ++active;
    skipped += missed;
    forbidden = false;
    if (states.empty() || states.back() != plan.decision.state) states.push_back(plan.decision.state);
    forbidden = true;
  }
};

rl::PlannerConfig config(rl::SourceKind source) {
  rl::PlannerConfig out;
  rl::PlannerAxis axis;
  axis.limits = {-100, 100, 240, 4000, 100'000};
  axis.soft_speed = 30;
  axis.jump = 5;
  out.axes = {axis, axis};
  out.source = source;
  out.queue.width = kAxes;
  out.queue.keep_last = source == rl::SourceKind::setpoints;
  return out;
}

/// Everything around one run.
struct Rig {
  explicit Rig(const rl::PlannerConfig& c)
      : planner(c, requests, *ring, tally), bus(requests), period(c.period) {}
  void push(std::int64_t observed, std::size_t rows, float value) {
    auto* slot = ring->front_free();
    if (slot == nullptr) return;
    slot->observed = observed;
    slot->period = period;
    slot->rows = rows;
    std::fill_n(slot->values.begin(), rows * kAxes, value);
    ring->publish();
  }
  int run() {
    rl::ControlLoop loop(bus, planner, journal, period);
    allocations = 0;
    forbidden = true;
    const int code = loop.run();
    forbidden = false;
    return code;
  }
  rl::Requests requests;
  std::unique_ptr<rl::ChunkRing> ring = std::make_unique<rl::ChunkRing>();
  rl::Tally tally;
  rl::Planner planner;
  FakeBus bus;
  FakeJournal journal;
  std::int64_t period;
};

Rig* rig_now = nullptr;

}  // namespace

// The trap: the loop must not allocate.
// Not inlined: the compiler would take the pair for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (forbidden) ++allocations;
  if (void* const p = std::malloc(size)) return p;  // NOLINT(cppcoreguidelines-no-malloc)
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  std::free(p);
}  // NOLINT(cppcoreguidelines-no-malloc)
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}  // NOLINT(cppcoreguidelines-no-malloc)

TEST_CASE("kinematics: tool, Jacobian and inverse allocate nothing") {
  const rl::Chain& chain = rl::so101_chain();
  std::array<double, rl::kMostChainJoints> q{}, low{}, high{};
  std::array<double, 6 * rl::kMostChainJoints> jacobian{};
  for (std::size_t k = 0; k < chain.size(); ++k) {
    q[k] = 0.3 - 0.1 * static_cast<double>(k);
    low[k] = chain.low(k);
    high[k] = chain.high(k);
  }
  const std::size_t n = chain.size();
  rl::Pose target = chain.pose({q.data(), n});
  target.position[0] += 0.01;
  allocations = 0;
  forbidden = true;
  chain.jacobian({q.data(), n}, {jacobian.data(), 6 * n});
  const rl::Reach reach = chain.solve(target, {q.data(), n}, {low.data(), n}, {high.data(), n});
  forbidden = false;
  CHECK(reach.reached(1e-4, 0.01));
  CHECK(allocations == 0);
}

TEST_CASE("a session: armed at the measured pose, the asked number of cycles, rest, off, no allocation") {
  auto c = config(rl::SourceKind::chunks);
  c.active_cycles = 100;
  Rig rig(c);
  rig_now = &rig;
  rig.bus.measured = {12.5, -3};
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 3) bus.requests.arm();
    bus.requests.beat(bus.clock);
    if (cycle % 5 == 0) rig_now->push(bus.clock, 50, 10);
  };
  CHECK(rig.run() == 0);
  CHECK(allocations == 0);
  CHECK(rig.journal.active == 100);
  CHECK(rig.bus.released == 1);
  REQUIRE(!rig.bus.goals.empty());
  CHECK(rig.bus.goals[0][0] == 12.5);
  CHECK(rig.bus.goals[0][1] == -3);
  const std::vector<rl::State> want = {rl::State::disarmed, rl::State::soft_start, rl::State::active,
                                       rl::State::rest, rl::State::off};
  CHECK(rig.journal.states == want);
  for (std::size_t i = 1; i < rig.bus.times.size(); ++i)
    CHECK(rig.bus.times[i] - rig.bus.times[i - 1] == rig.period);
}

TEST_CASE("a stall skips deadlines and keeps the grid") {
  auto c = config(rl::SourceKind::setpoints);
  c.active_cycles = 60;
  Rig rig(c);
  rig_now = &rig;
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 1) bus.requests.arm();
    bus.requests.beat(bus.clock);
    rig_now->push(bus.clock, 1, 1);
    if (cycle == 90) bus.stall = 70'000'000;
  };
  CHECK(rig.run() == 0);
  CHECK(rig.journal.skipped == 3);
  const std::int64_t first = rig.bus.times[0];
  for (const std::int64_t t : rig.bus.times) CHECK((t - first) % rig.period == 0);
}

TEST_CASE("a silent source leads to hold within 120 ms and the goal stays") {
  auto c = config(rl::SourceKind::setpoints);
  Rig rig(c);
  rig_now = &rig;
  static std::int64_t last_beat = 0;
  static std::int64_t held_at = 0;
  held_at = 0;
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 1) bus.requests.arm();
    if (cycle < 200) {
      last_beat = bus.clock;
      bus.requests.beat(bus.clock);
      rig_now->push(bus.clock, 1, static_cast<float>(20 * std::sin(static_cast<double>(cycle) * 0.1)));
    }
    if (held_at == 0 && cycle > 100 && rig_now->planner.state() == rl::State::hold) held_at = bus.clock;
    if (cycle == 300) bus.requests.stop(rl::StopPolicy::off);
  };
  CHECK(rig.run() == 0);
  CHECK(held_at - last_beat <= 140'000'000);  // seen at the tick after the decision
  const auto& goals = rig.bus.goals;
  CHECK(goals[goals.size() - 1][0] == goals[goals.size() - 50][0]);
}

TEST_CASE("an e-stop is on the wire before the next deadline and stays latched") {
  auto c = config(rl::SourceKind::setpoints);
  Rig rig(c);
  rig_now = &rig;
  static std::int64_t stopped = 0;
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 1) bus.requests.arm();
    bus.requests.beat(bus.clock);
    rig_now->push(bus.clock, 1, static_cast<float>(cycle % 50));
    if (cycle == 150) {
      bus.requests.estop();
      stopped = bus.clock;
    }
    if (cycle == 170) bus.requests.arm();
    if (cycle == 180) bus.requests.resume();
    if (cycle == 200) bus.requests.stop(rl::StopPolicy::rest);
  };
  CHECK(rig.run() == 1);
  CHECK(rig.journal.states.back() == rl::State::estop);
  std::int64_t next = 0;
  for (const std::int64_t t : rig.bus.times) {
    if (t > stopped && next == 0) next = t;
  }
  CHECK(next - stopped <= 40'000'000);
  CHECK(rig.bus.released == 0);
}

TEST_CASE("a set point from before an emergency stop moves nothing after it") {
  auto c = config(rl::SourceKind::setpoints);
  Rig rig(c);
  rig_now = &rig;
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 1 || cycle == 170) bus.requests.arm();
    bus.requests.beat(bus.clock);
    if (cycle < 150) rig_now->push(bus.clock, 1, 40);
    if (cycle == 150) bus.requests.estop();
    if (cycle == 165) {
      bus.requests.reset();
      bus.measured = {5, 5};  // moved by hand
    }
    if (cycle == 300) bus.requests.stop(rl::StopPolicy::off);
  };
  CHECK(rig.run() == 0);
  CHECK(rig.journal.states.back() == rl::State::off);
  REQUIRE(!rig.bus.goals.empty());
  CHECK(rig.bus.goals.back()[0] == 5);
}

TEST_CASE("a rest pose beyond the limits is reached at the limit") {
  auto c = config(rl::SourceKind::setpoints);
  for (auto& axis : c.axes) axis.rest = 104;
  Rig rig(c);
  rig_now = &rig;
  rig.bus.measured = {95, 95};
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 1) bus.requests.arm();
    bus.requests.beat(bus.clock);
    rig_now->push(bus.clock, 1, 95);
    if (cycle == 100) bus.requests.stop(rl::StopPolicy::rest);
  };
  CHECK(rig.run() == 0);
  const std::vector<rl::State> want = {rl::State::disarmed, rl::State::soft_start, rl::State::active,
                                       rl::State::rest, rl::State::off};
  CHECK(rig.journal.states == want);
}

TEST_CASE("a request to arm that was withdrawn is never taken") {
  rl::Requests requests;
  requests.arm();
  CHECK(requests.withdraw_arm());
  CHECK(!requests.take_arm());
  requests.arm();
  CHECK(requests.take_arm());
  CHECK(!requests.withdraw_arm());
  CHECK(!requests.take_arm());
}

TEST_CASE("a silent joint is held after 100 ms and a fault after a second") {
  auto c = config(rl::SourceKind::setpoints);
  Rig rig(c);
  rig_now = &rig;
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 1) bus.requests.arm();
    bus.requests.beat(bus.clock);
    rig_now->push(bus.clock, 1, 3);
    if (cycle == 100) bus.mute = true;
    if (cycle == 200) bus.requests.stop(rl::StopPolicy::rest);
  };
  CHECK(rig.run() == 1);
  const std::vector<rl::State> want = {rl::State::disarmed, rl::State::soft_start, rl::State::active,
                                       rl::State::hold, rl::State::fault};
  CHECK(rig.journal.states == want);
}

TEST_CASE("starvation decelerates inside active and holds after a second") {
  auto c = config(rl::SourceKind::chunks);
  Rig rig(c);
  rig_now = &rig;
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 1) bus.requests.arm();
    bus.requests.beat(bus.clock);
    if (cycle < 120 && cycle % 5 == 0) rig_now->push(bus.clock, 10, 4);
    if (cycle == 300) bus.requests.stop(rl::StopPolicy::rest);
  };
  CHECK(rig.run() == 0);
  CHECK(rig.tally.starved.load() >= 45);
  CHECK(rig.tally.starved.load() <= 55);
}

TEST_CASE("a process that was stopped for three seconds holds; no motor is blamed for it") {
  auto c = config(rl::SourceKind::setpoints);
  Rig rig(c);
  rig_now = &rig;
  rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
    if (cycle == 1) bus.requests.arm();
    bus.requests.beat(bus.clock);
    rig_now->push(bus.clock, 1, 3);
    if (cycle == 100) bus.stall = 3'000'000'000;
    bus.mute = cycle == 100;
    if (cycle == 120) bus.requests.stop(rl::StopPolicy::off);
  };
  CHECK(rig.run() == 0);
  const std::vector<rl::State> want = {rl::State::disarmed, rl::State::soft_start, rl::State::active,
                                       rl::State::hold, rl::State::off};
  CHECK(rig.journal.states == want);
}

TEST_CASE("a machine that was suspended holds, and its goals go on without a burst") {
  for (const bool asleep : {false, true}) {
    auto c = config(rl::SourceKind::setpoints);
    Rig rig(c);
    rig_now = &rig;
    static bool sleeps = false;
    static std::int64_t woke = 0;
    sleeps = asleep;
    rig.bus.script = [](FakeBus& bus, std::int64_t cycle) {
      if (cycle == 1) bus.requests.arm();
      bus.requests.beat(bus.clock);
      rig_now->push(bus.clock, 1, static_cast<float>(20 * std::sin(static_cast<double>(cycle) * 0.1)));
      if (cycle < 150) bus.asleep += 1'000'000;  // the two clocks need not agree to the millisecond
      if (cycle == 150) {
        bus.asleep += sleeps ? 3'600'000'000'000 : 0;
        woke = bus.clock;
      }
      if (cycle == 200) bus.requests.stop(rl::StopPolicy::off);
    };
    CHECK(rig.run() == 0);
    std::vector<rl::State> want = {rl::State::disarmed, rl::State::soft_start, rl::State::active};
    if (asleep) want.push_back(rl::State::hold);
    want.push_back(rl::State::off);
    if (!asleep)
      rig.journal.states.erase(
          std::remove(rig.journal.states.begin(), rig.journal.states.end(), rl::State::hold),
          rig.journal.states.end());
    CHECK(rig.journal.states == want);
    const auto& goals = rig.bus.goals;
    for (std::size_t i = 1; i < goals.size(); ++i) {
      CHECK(std::abs(goals[i][0] - goals[i - 1][0]) <= 240 * 0.02 + 1e-9);
      if (asleep && rig.bus.times[i] > woke + 300'000'000) CHECK(goals[i][0] == goals[i - 1][0]);
    }
  }
}
