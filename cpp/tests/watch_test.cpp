/// What the planner sees of motors that are blocked, hot, badly supplied or started anew: no clock, no bus.
#include <cmath>
#include <memory>

#include "check.hpp"
#include "rl/planner.hpp"

namespace {

using rl::State;

constexpr std::int64_t kPeriod = 20'000'000;
constexpr std::size_t kAxes = 2;

rl::PlannerConfig config() {
  rl::PlannerConfig out;
  rl::PlannerAxis axis;
  axis.limits = {-100, 100, 240, 4000, 100'000};
  axis.soft_speed = 30;
  axis.jump = 5;
  axis.deviation = 20;
  out.axes = {axis, axis};
  out.source = rl::SourceKind::setpoints;
  out.queue.width = kAxes;
  out.queue.keep_last = true;
  out.period = kPeriod;
  out.safety.soft_start = 100'000'000;
  return out;
}

/// A planner that was armed at 0 and is asked for `wanted`; its servos follow at once unless they are
/// blocked.
struct Bench {
  Bench() {
    reading.voltage.fill(120);
    reading.temperature.fill(30);
    see();
    planner.armed(~0ULL, reading, now, true);
    for (int i = 0; i < 30; ++i) tick();
  }
  void see() {
    for (std::size_t k = 0; k < kAxes; ++k) reading.captured[k] = now;
  }
  rl::Plan tick() {
    now += kPeriod;
    requests.beat(now);
    auto* const slot = chunks->front_free();
    slot->observed = now;
    slot->period = kPeriod;
    slot->rows = 1;
    slot->values[0] = static_cast<float>(wanted);
    slot->values[1] = 0;
    chunks->publish();
    for (std::size_t k = 0; k < kAxes; ++k) {
      if (!(blocked && k == 0)) reading.values[k] = last.goal[k];
    }
    see();
    last = planner.plan(reading, now, now + kPeriod);
    return last;
  }
  State run(int ticks) {
    for (int i = 0; i < ticks; ++i) tick();
    return planner.state();
  }
  /// Until the state is left, at most 10 s.
  State leave(State state) {
    for (int i = 0; i < 500 && planner.state() == state; ++i) tick();
    return planner.state();
  }
  void resume() {
    blocked = false;
    for (int i = 0; i < 100 && planner.state() == State::hold; ++i) {
      requests.resume();
      tick();
    }
    leave(State::soft_start);
  }

  rl::Requests requests;
  rl::Tally tally;
  std::unique_ptr<rl::ChunkRing> chunks = std::make_unique<rl::ChunkRing>();
  rl::Planner planner{config(), requests, *chunks, tally};
  rl::Reading reading;
  rl::Plan last;
  std::int64_t now = 1'000'000'000;
  double wanted = 0;
  bool blocked = false;
};

}  // namespace

TEST_CASE("a joint that runs into something is held, its goal comes back, the third time is a fault") {
  Bench bench;
  REQUIRE(bench.planner.state() == State::active);
  for (int turn = 0; turn < 3; ++turn) {
    const double stuck = bench.reading.values[0];
    bench.blocked = true;
    bench.wanted = stuck + (turn % 2 == 0 ? 60 : -60);
    const State after = bench.leave(State::active);
    CHECK(after == (turn < 2 ? State::hold : State::fault));
    CHECK(bench.last.decision.reason == rl::Reason::blocked);
    CHECK(bench.last.decision.joint == 0);
    if (turn == 2) break;
    double before = bench.last.goal[0];
    for (int i = 0; i < 150; ++i) {
      bench.tick();
      CHECK(std::abs(bench.last.goal[0] - before) <= 240 * 0.02 + 1e-9);
      before = bench.last.goal[0];
    }
    CHECK(std::abs(bench.last.goal[0] - stuck) <= 5 + 1e-6);
    bench.wanted = stuck;
    bench.resume();
    REQUIRE(bench.planner.state() == State::active);
  }
}

TEST_CASE("a servo that lags is no obstacle, and a gripper may close on what it holds") {
  Bench bench;
  bench.wanted = 90;  // full speed: the measured pose is followed a tick late, the band reaches back 200 ms
  CHECK(bench.run(100) == State::active);

  Bench grip;
  rl::PlannerConfig open = config();
  open.axes[0].deviation = 0;
  rl::Planner planner(open, grip.requests, *grip.chunks, grip.tally);
  planner.armed(~0ULL, grip.reading, grip.now, true);
  rl::Plan plan;
  for (int i = 0; i < 200; ++i) {
    grip.now += kPeriod;
    grip.requests.beat(grip.now);
    auto* const slot = grip.chunks->front_free();
    slot->observed = grip.now;
    slot->period = kPeriod;
    slot->rows = 1;
    slot->values[0] = -80;
    slot->values[1] = 0;
    grip.chunks->publish();
    grip.see();
    plan = planner.plan(grip.reading, grip.now, grip.now + kPeriod);  // measured: where it was
  }
  CHECK(planner.state() != State::hold);
  CHECK(planner.state() != State::fault);
  CHECK(plan.goal[0] < -70);
}

TEST_CASE("heat takes half the torque first and is a fault then") {
  Bench bench;
  bench.reading.temperature[1] = 66;
  const rl::Plan plan = bench.tick();
  CHECK(plan.torque[0] > 0.99);
  CHECK(plan.derated == 2);
  CHECK(bench.tick().torque[0] < 0);  // written once
  CHECK(bench.planner.state() == State::active);
  bench.reading.temperature[1] = 70;
  bench.tick();
  CHECK(bench.planner.state() == State::fault);
  CHECK(bench.last.decision.reason == rl::Reason::motor_hot);
  CHECK(bench.last.decision.joint == 1);
}

TEST_CASE("a supply that breaks down or runs away is a fault, one that is not known is none") {
  for (const int volts : {90, 140}) {
    Bench bench;
    bench.reading.voltage[0] = static_cast<std::uint8_t>(volts);
    bench.tick();
    CHECK(bench.planner.state() == State::fault);
    CHECK(bench.last.decision.reason == rl::Reason::motor_voltage);
  }
  Bench bench;
  bench.reading.voltage[0] = 0;
  bench.reading.temperature[0] = 0;
  CHECK(bench.run(10) == State::active);
}

TEST_CASE("a motor that started anew is a fault at once") {
  Bench bench;
  bench.reading.rebooted = 1;
  bench.tick();
  CHECK(bench.planner.state() == State::fault);
  CHECK(bench.last.decision.reason == rl::Reason::motor_rebooted);
}

TEST_CASE("an overloaded joint has half its torque until it is resumed") {
  Bench bench;
  bench.reading.alarms[0] = rl::alarm::kOverload;
  const rl::Plan plan = bench.tick();
  CHECK(bench.planner.state() == State::hold);
  CHECK(plan.derated == 1);
  bench.reading.alarms[0] = 0;
  bench.run(20);
  bool restored = false;
  for (int i = 0; i < 100; ++i) {
    bench.requests.resume();
    const rl::Plan next = bench.tick();
    restored = restored || (next.torque[0] > 0.99 && next.derated == 0);
  }
  CHECK(restored);
  CHECK(bench.planner.state() == State::active);
}
