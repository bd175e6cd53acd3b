/// The state machine alone against random events; planner_test.cpp has the planner around it.
#include <random>

#include "check.hpp"
#include "rl/safety.hpp"

namespace {

using rl::Events;
using rl::State;

constexpr std::int64_t kTick = 20'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

}  // namespace

TEST_CASE("random events never break the invariants") {
  std::mt19937 random(2026);  // NOLINT(cert-msc51-cpp)
  const auto one_in = [&random](unsigned n) { return random() % n == 0; };
  int armed = 0;
  const int sequences = check::sequences(4000);
  for (int sequence = 0; sequence < sequences; ++sequence) {
    rl::SafetyMachine machine({});
    std::int64_t now = kSecond;
    bool latched = false;
    bool asked = false;  // for a reset, since it is latched
    bool torque = false;
    auto closing = rl::Closing::no;
    for (int step = 0; step < 120; ++step) {
      const State before = machine.state();
      Events e;
      e.torque_on = torque;
      e.arm_passed = one_in(4) && (before == State::disarmed || before == State::off);
      e.near_setpoint = !one_in(3);
      e.stream_fresh = !one_in(3);
      e.at_rest = !one_in(4);
      e.estop = one_in(60);
      e.reset = one_in(10);
      e.resume = one_in(6);
      e.release = one_in(80);
      e.stop_requests = one_in(50) ? 1 : 0;
      e.heartbeat_age = one_in(15) ? kSecond : 0;
      e.starved_for = one_in(30) ? 2 * kSecond : 0;
      e.stale_joint = one_in(40) ? 0 : -1;
      e.mute_joint = one_in(100) ? 0 : -1;
      e.hang_up = one_in(150);
      e.overload_joint = one_in(60) ? 3 : -1;
      e.blocked_joint = one_in(60) ? 1 : -1;
      e.overload_for = e.overload_joint >= 0 && one_in(4) ? 2 * kSecond : 0;
      e.fault_joint = one_in(120) ? 2 : -1;
      e.bus_lost = one_in(150);
      e.overrun = one_in(50);
      e.illegal_burst = one_in(50);
      e.coupled = one_in(50);
      e.duration_over = one_in(400);
      if (one_in(400)) closing = one_in(4) ? rl::Closing::at_once : rl::Closing::orderly;
      e.closing = closing;
      e.rest_reached = one_in(5);
      e.rest_stuck_for = one_in(40) ? 2 * kSecond : 0;
      e.released = one_in(3);
      now += static_cast<std::int64_t>(random() % 5) * kTick * 5;
      if (e.arm_passed) torque = true;
      const rl::Decision d = machine.step(e, now += kTick);
      if (d.ended) break;
      // Latched: only reset leads out, only to DISARMED, and only what stands.
      asked = latched && (asked || e.reset) && !e.estop;
      if (latched && !asked) CHECK(d.state == State::fault || d.state == State::estop);
      const bool cause = e.hang_up || e.bus_lost || e.mute_joint >= 0 || e.fault_joint >= 0;
      if (latched && cause) CHECK(d.state == State::fault || d.state == State::estop);
      if (before == State::soft_start || before == State::active) {
        if (cause && !e.estop) CHECK(d.state == State::fault);
        const bool held = e.overrun || e.stale_joint >= 0 || e.overload_joint >= 0;
        if (held) CHECK(d.state != State::soft_start && d.state != State::active && d.state != State::rest);
        if (e.illegal_burst || e.coupled) CHECK(d.state != State::soft_start && d.state != State::active);
      }
      if (latched && d.state == State::disarmed) CHECK((e.at_rest || !e.torque_on));
      if (latched && asked) CHECK(d.state == before || d.state == State::disarmed || d.state == State::estop);
      if (before == State::disarmed) {
        CHECK(d.state == State::disarmed || d.state == State::estop || d.state == State::off ||
              (d.state == State::soft_start && e.arm_passed));
      }
      if (d.state == State::active) CHECK(before == State::active || before == State::soft_start);
      if (d.state == State::soft_start && before != State::soft_start) ++armed;
      if (e.estop) CHECK(d.state == State::estop);
      latched = d.state == State::fault || d.state == State::estop;
      if (d.state == State::off) torque = false;
    }
  }
  CHECK(armed > sequences / 4);
}
