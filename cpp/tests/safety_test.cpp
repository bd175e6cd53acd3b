#include "rl/safety.hpp"

#include <vector>

#include "check.hpp"

namespace {

using rl::Events;
using rl::SafetyMachine;
using rl::State;

constexpr std::int64_t kTick = 20'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

Events calm() {
  Events e;
  e.torque_on = true;
  e.stream_fresh = e.near_setpoint = true;
  return e;
}

/// A machine and its clock.
struct Rig {
  explicit Rig(rl::SafetyConfig config = {}) : machine(config) {}
  rl::Decision tick(const Events& e) {
    now += kTick;
    return machine.step(e, now);
  }
  void to_active() {
    Events e = calm();
    e.arm_passed = true;
    tick(e);
    for (int i = 0; i < 60; ++i) tick(calm());
  }
  SafetyMachine machine;
  std::int64_t now = kSecond;
};

Rig in(State state) {
  Rig rig;
  if (state == State::disarmed) return rig;
  if (state == State::estop) {
    rig.to_active();
    Events e = calm();
    e.estop = true;
    rig.tick(e);
    return rig;
  }
  Events e = calm();
  e.arm_passed = true;
  rig.tick(e);
  if (state == State::soft_start) return rig;
  rig.to_active();
  e = calm();
  if (state == State::hold) e.overload_joint = 1;
  if (state == State::off) {
    e.overload_joint = 1;
    rig.tick(e);
    e = calm();
    e.release = true;
  }
  if (state == State::rest) {  // a source that stayed dead
    e.heartbeat_age = kSecond;
    for (int i = 0; i < 510; ++i) rig.tick(e);
  }
  if (state == State::fault) e.hang_up = true;
  if (state != State::active) rig.tick(e);
  return rig;
}

}  // namespace

TEST_CASE("every state can be reached") {
  for (const State s : {State::disarmed, State::soft_start, State::active, State::hold, State::rest,
                        State::off, State::fault, State::estop}) {
    CHECK(in(s).machine.state() == s);
  }
}

TEST_CASE("the table of transitions, one event at a time") {
  using S = State;
  struct Row {
    const char* event;
    void (*set)(Events&);
    S want[8];  // in the order of the states
  };
  // disarmed, soft_start, active, hold, rest, off, fault, estop
  const Row rows[] = {
      {"nothing",
       [](Events&) {},
       {S::disarmed, S::soft_start, S::active, S::hold, S::rest, S::off, S::fault, S::estop}},
      {"arm",
       [](Events& e) { e.arm_passed = true; },
       {S::soft_start, S::soft_start, S::active, S::hold, S::rest, S::soft_start, S::fault, S::estop}},
      {"heartbeat",
       [](Events& e) { e.heartbeat_age = 101'000'000; },
       {S::disarmed, S::hold, S::hold, S::hold, S::rest, S::off, S::fault, S::estop}},
      {"starved 1 s",
       [](Events& e) { e.starved_for = kSecond + 1; },
       {S::disarmed, S::soft_start, S::hold, S::hold, S::rest, S::off, S::fault, S::estop}},
      {"stale",
       [](Events& e) { e.stale_joint = 2; },
       {S::disarmed, S::hold, S::hold, S::hold, S::hold, S::off, S::fault, S::estop}},
      {"blocked",
       [](Events& e) { e.blocked_joint = 2; },
       {S::disarmed, S::fault, S::hold, S::hold, S::hold, S::off, S::fault, S::estop}},
      {"too hot",
       [](Events& e) {
         e.fault_joint = 2;
         e.fault_reason = rl::Reason::motor_hot;
       },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"mute",
       [](Events& e) { e.mute_joint = 2; },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"hang-up",
       [](Events& e) { e.hang_up = true; },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"overload",
       [](Events& e) { e.overload_joint = 0; },
       {S::disarmed, S::hold, S::hold, S::hold, S::hold, S::off, S::fault, S::estop}},
      {"overload 1 s",
       [](Events& e) {
         e.overload_joint = 0;
         e.overload_for = kSecond + 1;
       },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"overrun",
       [](Events& e) { e.overrun = true; },
       {S::disarmed, S::hold, S::hold, S::hold, S::hold, S::off, S::fault, S::estop}},
      {"illegal setpoints, 50 in a second",
       [](Events& e) { e.illegal_burst = true; },
       {S::disarmed, S::hold, S::hold, S::hold, S::rest, S::off, S::fault, S::estop}},
      {"another arm has to stop",
       [](Events& e) { e.coupled = true; },
       {S::disarmed, S::hold, S::hold, S::hold, S::rest, S::off, S::fault, S::estop}},
      {"resume while another arm has to stop",
       [](Events& e) { e.resume = e.coupled = true; },
       {S::disarmed, S::hold, S::hold, S::hold, S::rest, S::off, S::fault, S::estop}},
      {"stop while another arm has to stop",
       [](Events& e) {
         e.coupled = true;
         e.stop_requests = 1;
       },
       {S::off, S::rest, S::rest, S::rest, S::rest, S::off, S::fault, S::estop}},
      {"bus lost",
       [](Events& e) { e.bus_lost = true; },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"reboot",
       [](Events& e) {
         e.fault_joint = 1;
         e.fault_reason = rl::Reason::motor_rebooted;
       },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"resume",
       [](Events& e) { e.resume = true; },
       {S::disarmed, S::soft_start, S::active, S::soft_start, S::rest, S::off, S::fault, S::estop}},
      {"resume without a fresh stream",
       [](Events& e) {
         e.resume = true;
         e.stream_fresh = false;
       },
       {S::disarmed, S::soft_start, S::active, S::hold, S::rest, S::off, S::fault, S::estop}},
      {"resume and stop",
       [](Events& e) {
         e.resume = true;
         e.stop_requests = 1;
       },
       {S::off, S::rest, S::rest, S::rest, S::rest, S::off, S::fault, S::estop}},
      {"rest pose reached",
       [](Events& e) { e.rest_reached = true; },
       {S::disarmed, S::soft_start, S::active, S::hold, S::off, S::off, S::fault, S::estop}},
      {"rest blocked",
       [](Events& e) { e.rest_stuck_for = 1'600'000'000; },
       {S::disarmed, S::soft_start, S::active, S::hold, S::hold, S::off, S::fault, S::estop}},
      {"duration over",
       [](Events& e) { e.duration_over = true; },
       {S::off, S::rest, S::rest, S::rest, S::rest, S::off, S::fault, S::estop}},
      {"closing",
       [](Events& e) { e.closing = rl::Closing::orderly; },
       {S::off, S::rest, S::rest, S::rest, S::rest, S::off, S::fault, S::estop}},
      {"reset while the cause stays",
       [](Events& e) { e.reset = e.hang_up = true; },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"e-stop",
       [](Events& e) { e.estop = true; },
       {S::estop, S::estop, S::estop, S::estop, S::estop, S::estop, S::estop, S::estop}},
      {"reset",
       [](Events& e) { e.reset = true; },
       {S::disarmed, S::soft_start, S::active, S::hold, S::rest, S::off, S::disarmed, S::disarmed}},
      {"release",
       [](Events& e) { e.release = true; },
       {S::off, S::soft_start, S::active, S::off, S::off, S::off, S::fault, S::estop}},
      {"stop",
       [](Events& e) { e.stop_requests = 1; },
       {S::off, S::rest, S::rest, S::rest, S::rest, S::off, S::fault, S::estop}},
      {"two stops",
       [](Events& e) { e.stop_requests = 2; },
       {S::off, S::off, S::off, S::off, S::off, S::off, S::fault, S::estop}},
      {"e-stop beats reset and arm",
       [](Events& e) { e.estop = e.reset = e.arm_passed = true; },
       {S::estop, S::estop, S::estop, S::estop, S::estop, S::estop, S::estop, S::estop}},
  };
  // "soft start finished" is the way of `in` to ACTIVE.
  for (const Row& row : rows) {
    for (int s = 0; s < rl::kStates; ++s) {
      Rig rig = in(static_cast<State>(s));
      Events e = calm();
      row.set(e);
      const State got = rig.tick(e).state;
      if (!CHECK(got == row.want[s])) {
        std::fprintf(stderr, "  %s in %s gives %s, wanted %s\n", row.event,
                     rl::to_string(static_cast<State>(s)), rl::to_string(got), rl::to_string(row.want[s]));
      }
    }
  }
}

TEST_CASE("an e-stop that is to let go does so in its own tick, and only where there is torque") {
  rl::SafetyConfig config;
  config.estop_off = true;
  for (const bool torque : {true, false}) {
    rl::SafetyMachine machine(config);
    Events e = calm();
    e.torque_on = torque;
    e.arm_passed = torque;
    machine.step(e, kSecond);
    e.arm_passed = false;
    e.estop = true;
    const rl::Decision d = machine.step(e, kSecond + 20'000'000);
    CHECK(d.state == State::estop);
    CHECK(d.release_now == torque);
    e.estop = false;
    e.released = true;
    e.torque_on = false;
    CHECK(!machine.step(e, kSecond + 40'000'000).release_now);
  }
}

/// What happens in two ticks or more: a script of events, then the state that it ends in.
TEST_CASE("the table of transitions, events that need a past") {
  using S = State;
  struct Row {
    const char* event;
    void (*play)(Rig&);
    S want[8];
  };
  const auto plain = [](void (*set)(Events&)) {
    Events e = calm();
    set(e);
    return e;
  };
  static const Events kStop = plain([](Events& e) { e.stop_requests = 1; });
  static const Events kBlocked = plain([](Events& e) { e.blocked_joint = 1; });
  static const Events kStuck = plain([](Events& e) { e.rest_stuck_for = 1'600'000'000; });
  static const Events kStale = plain([](Events& e) { e.stale_joint = 0; });
  static const Events kGone = plain([](Events& e) { e.hang_up = true; });
  static const Events kReset = plain([](Events& e) { e.reset = true; });
  // disarmed, soft_start, active, hold, rest, off, fault, estop
  const Row rows[] = {
      {"rest blocked, and a second later",
       [](Rig& rig) {
         rig.tick(kStuck);
         for (int i = 0; i < 50; ++i) rig.tick(calm());
       },
       {S::disarmed, S::active, S::active, S::hold, S::off, S::off, S::fault, S::estop}},
      {"t_rest over",
       [](Rig& rig) {
         for (int i = 0; i < 460; ++i) rig.tick(calm());
       },
       {S::disarmed, S::active, S::active, S::hold, S::off, S::off, S::fault, S::estop}},
      {"held for longer than t_rest",
       [](Rig& rig) {
         for (int i = 0; i < 460; ++i) rig.tick(kStale);
       },
       {S::disarmed, S::hold, S::hold, S::hold, S::off, S::off, S::fault, S::estop}},
      {"a stop, and held for longer than t_rest",
       [](Rig& rig) {
         Events both = kStale;
         both.stop_requests = 1;
         for (int i = 0; i < 460; ++i) rig.tick(i == 0 ? both : kStale);
       },
       {S::off, S::off, S::off, S::off, S::off, S::off, S::fault, S::estop}},
      {"the third obstacle in ten seconds",
       [](Rig& rig) {
         for (int turn = 0; turn < 3; ++turn) {
           rig.tick(kBlocked);
           Events on = calm();
           on.resume = turn < 2;
           for (int i = 0; i < 10; ++i) rig.tick(on);
         }
       },  // REST: the first one's HOLD is resumed, two more follow in ACTIVE
       {S::disarmed, S::fault, S::fault, S::hold, S::fault, S::off, S::fault, S::estop}},
      {"the port gone and back",
       [](Rig& rig) {
         rig.tick(kGone);
         for (int i = 0; i < 20; ++i) rig.tick(calm());
       },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"the port gone, a reset",
       [](Rig& rig) {
         Events both = kGone;
         rig.tick(both);
         both.reset = true;
         rig.tick(both);
       },
       {S::disarmed, S::fault, S::fault, S::fault, S::fault, S::off, S::fault, S::estop}},
      {"the port gone and back, a reset",
       [](Rig& rig) {
         rig.tick(kGone);
         rig.tick(calm());
         rig.tick(kReset);
       },
       {S::disarmed, S::disarmed, S::disarmed, S::disarmed, S::disarmed, S::off, S::disarmed, S::disarmed}},
      {"two stops, a second apart",
       [](Rig& rig) {
         rig.tick(kStop);
         for (int i = 0; i < 50; ++i) rig.tick(calm());
         rig.tick(kStop);
       },
       {S::off, S::off, S::off, S::off, S::off, S::off, S::fault, S::estop}},
      {"two stops, three seconds apart",
       [](Rig& rig) {
         rig.tick(kStop);
         for (int i = 0; i < 150; ++i) rig.tick(calm());
         rig.tick(kStop);
       },
       {S::off, S::rest, S::rest, S::rest, S::rest, S::off, S::fault, S::estop}},
  };
  for (const Row& row : rows) {
    for (int s = 0; s < rl::kStates; ++s) {
      Rig rig = in(static_cast<State>(s));
      row.play(rig);
      const State got = rig.machine.state();
      if (!CHECK(got == row.want[s])) {
        std::fprintf(stderr, "  %s from %s gives %s, wanted %s\n", row.event,
                     rl::to_string(static_cast<State>(s)), rl::to_string(got), rl::to_string(row.want[s]));
      }
    }
  }
}

TEST_CASE("a stop ends what has no torque, and a latched state with torque left on; two of them let go") {
  for (const bool torque : {false, true}) {
    for (const State s : {State::disarmed, State::off, State::fault, State::estop}) {
      Rig rig = in(s);
      const bool latched = s == State::fault || s == State::estop;
      Events e = calm();
      e.released = true;  // what was asked before is done
      e.torque_on = torque;
      e.stop_requests = 1;
      rl::Decision d = rig.tick(e);
      const bool released_first = s == State::disarmed && torque;
      CHECK(d.ended == !released_first);
      CHECK(d.release_now == released_first);
      if (d.ended) CHECK(d.exit_code == (latched || torque ? 1 : 0));

      if (!latched || !torque) continue;
      Rig twice = in(s);
      e.released = false;
      e.stop_requests = 2;
      d = twice.tick(e);
      CHECK(d.state == s);
      CHECK(d.release_now);
      CHECK(!d.ended);
      e.stop_requests = 0;
      e.released = true;
      d = twice.tick(e);
      CHECK(d.ended);
      CHECK(d.exit_code == 1);
    }
  }
}

TEST_CASE("a hold that came from rest is left for off when the time of the rest move is over") {
  Rig rig = in(State::rest);
  const std::int64_t began = rig.now;
  Events e = calm();
  e.stale_joint = 1;
  CHECK(rig.tick(e).state == State::hold);
  while (rig.machine.state() == State::hold && rig.now - began < 20 * kSecond) rig.tick(e);
  CHECK(rig.machine.state() == State::off);
  CHECK(rig.now - began > 9 * kSecond - 20 * kTick);
  CHECK(rig.now - began < 9 * kSecond + 20 * kTick);
}

TEST_CASE("an obstacle counts also where a joint is stale in the same tick") {
  Rig rig = in(State::active);
  for (int turn = 0; turn < 3; ++turn) {
    Events e = calm();
    e.blocked_joint = 1;
    e.stale_joint = 0;
    CHECK(rig.tick(e).state == (turn < 2 ? State::hold : State::fault));
    e = calm();
    e.resume = true;
    for (int i = 0; i < 5; ++i) rig.tick(e);
  }
}

TEST_CASE("a resume is for the hold that it was asked in") {
  Rig rig = in(State::active);
  Events e = calm();
  e.resume = true;
  rig.tick(e);  // in ACTIVE it says nothing
  e = calm();
  e.overload_joint = 1;
  CHECK(rig.tick(e).state == State::hold);
  for (int i = 0; i < 20; ++i) CHECK(rig.tick(calm()).state == State::hold);

  Rig again = in(State::hold);
  e = calm();
  e.resume = true;
  CHECK(again.tick(e).state == State::soft_start);
  again.tick(e);  // asked for once more on the way
  e = calm();
  e.heartbeat_age = kSecond;
  CHECK(again.tick(e).state == State::hold);
  for (int i = 0; i < 20; ++i) CHECK(again.tick(calm()).state == State::hold);  // the source speaks again
}

TEST_CASE("hold is left by resume with a fresh stream and nothing else") {
  Rig rig = in(State::hold);
  for (int i = 0; i < 20; ++i) CHECK(rig.tick(calm()).state == State::hold);
  Events e = calm();
  e.resume = true;
  e.stream_fresh = false;
  CHECK(rig.tick(e).state == State::hold);
  CHECK(rig.tick(calm()).state == State::soft_start);
  CHECK(rig.machine.ramp(rig.now) == 1);  // torque was there: no second ramp
  CHECK(rig.tick(calm()).state == State::active);
}

TEST_CASE("a dead source ends in the rest pose after ten seconds") {
  Rig rig = in(State::active);
  Events e = calm();
  e.heartbeat_age = 200'000'000;
  CHECK(rig.tick(e).state == State::hold);
  int ticks = 0;
  while (rig.tick(e).state == State::hold && ticks < 2000) ++ticks;
  CHECK(rig.machine.state() == State::rest);
  CHECK(ticks >= 499);
  CHECK(ticks <= 502);
}

TEST_CASE("without a second hand an arm is held, not resumed, and laid down on a stop or by a dead source") {
  for (const bool asked : {true, false}) {
    Rig rig;
    rig.to_active();
    Events alone = calm();
    alone.unguarded = true;
    CHECK(rig.tick(alone).state == State::hold);
    Events resume = alone;
    resume.resume = true;
    rig.tick(resume);
    for (int i = 0; i < 1000; ++i) CHECK(rig.tick(alone).state == State::hold);
    Events last = alone;
    if (asked) {
      last.stop_requests = 1;
      CHECK(rig.tick(last).state == State::rest);
    } else {
      last.heartbeat_age = kSecond;
      for (int i = 0; i < 502; ++i) rig.tick(last);
      CHECK(rig.machine.state() == State::rest);
    }
    CHECK(rig.tick(alone).state == State::rest);
  }
}

TEST_CASE("a blocked rest move holds one second and then lets go") {
  Rig rig = in(State::rest);
  Events e = calm();
  e.rest_stuck_for = 1'600'000'000;
  CHECK(rig.tick(e).state == State::hold);
  for (int i = 0; i < 49; ++i) CHECK(rig.tick(calm()).state == State::hold);
  CHECK(rig.tick(calm()).state == State::off);
}

namespace {

Rig without_rest_pose() {
  rl::SafetyConfig config;
  config.has_rest_pose = false;
  Rig rig(config);
  rig.to_active();
  return rig;
}

}  // namespace

TEST_CASE("without a rest pose a stop ends in hold with torque and exit code 1") {
  Rig rig = without_rest_pose();
  Events e = calm();
  e.stop_requests = 1;
  const rl::Decision d = rig.tick(e);
  CHECK(d.state == State::hold);
  rl::Decision last = d;
  for (; !last.ended && rig.now < 10 * kSecond; last = rig.tick(calm())) {
    CHECK(last.state == State::hold);
    CHECK(!last.release_now);
  }
  CHECK(last.ended);
  CHECK(last.exit_code == 1);
}

TEST_CASE("without a rest pose, too, a second request to stop within two seconds lets go") {
  for (const bool soon : {true, false}) {
    Rig rig = without_rest_pose();
    Events e = calm();
    e.stop_requests = 1;
    rl::Decision d = rig.tick(e);
    const std::int64_t asked = rig.now;
    const std::int64_t again = (soon ? 1900 : 2100) * 1'000'000LL;
    while (!d.ended && rig.now + kTick - asked <= again) d = rig.tick(calm());
    CHECK(d.ended == !soon);
    if (d.ended) continue;
    d = rig.tick(e);
    for (int i = 0; i < 5 && d.state != State::off; ++i) d = rig.tick(calm());
    CHECK(d.state == State::off);
  }
}

TEST_CASE("a stop without a rest pose waits until torque has come to its full limit") {
  rl::SafetyConfig config;
  config.has_rest_pose = false;
  config.soft_start = 5 * kSecond;  // longer than a second request would be waited for
  Rig rig(config);
  Events e = calm();
  e.arm_passed = true;
  rig.tick(e);
  const std::int64_t armed = rig.now;
  e = calm();
  e.stop_requests = 1;
  rl::Decision d = rig.tick(e);
  CHECK(d.state == State::hold);
  CHECK(d.ramp_torque);
  while (!d.ended && rig.now - armed < 10 * kSecond) d = rig.tick(calm());
  CHECK(d.ended);
  CHECK(rig.now - armed > config.soft_start + 100'000'000);
  CHECK(rig.now - armed < config.soft_start + 200'000'000);
}

TEST_CASE("closing carries out the stop policy and lets nothing go where torque is to stay") {
  Events e = calm();
  e.closing = rl::Closing::orderly;
  for (const State latched : {State::fault, State::estop}) {
    rl::SafetyConfig config;
    config.stop_policy = rl::StopPolicy::off;
    Rig rig(config);
    rig.to_active();
    Events cause = calm();
    (latched == State::fault ? cause.hang_up : cause.estop) = true;
    CHECK(rig.tick(cause).state == latched);
    const rl::Decision d = rig.tick(e);
    CHECK(d.ended);
    CHECK(d.exit_code == 1);
    CHECK(!d.release_now);
  }
  Rig active = in(State::active);
  for (int i = 0; i < 20; ++i) CHECK(active.tick(e).state == State::rest);  // no escalation by repetition
  e.rest_reached = true;
  CHECK(active.tick(e).state == State::off);
  e.released = true;
  e.torque_on = false;
  CHECK(active.tick(e).exit_code == 0);
  CHECK(active.tick(e).ended);
}

TEST_CASE("closing ends at once where the stop policy did not") {
  rl::SafetyConfig config;
  config.has_rest_pose = false;
  Rig rig(config);
  rig.to_active();
  Events e = calm();
  e.closing = rl::Closing::orderly;
  e.overrun = true;
  for (int i = 0; i < 600; ++i) CHECK(!rig.tick(e).ended);
  e.closing = rl::Closing::at_once;
  const rl::Decision d = rig.tick(e);
  CHECK(d.ended);
  CHECK(d.exit_code == 1);
  CHECK(!d.release_now);
}

TEST_CASE("the time of an earlier rest move does not count against the next one") {
  Rig rig = in(State::rest);
  Events e = calm();
  e.stale_joint = 1;
  CHECK(rig.tick(e).state == State::hold);
  e = calm();
  e.resume = true;
  CHECK(rig.tick(e).state == State::soft_start);
  for (int i = 0; i < 500; ++i) rig.tick(calm());
  CHECK(rig.machine.state() == State::active);
  e = calm();
  e.heartbeat_age = kSecond;
  for (int i = 0; i < 510; ++i) rig.tick(e);
  CHECK(rig.machine.state() == State::rest);
}

TEST_CASE("a duration that is over carries out the stop policy, whichever it is") {
  for (const auto policy : {rl::StopPolicy::rest, rl::StopPolicy::hold, rl::StopPolicy::off}) {
    rl::SafetyConfig config;
    config.stop_policy = policy;
    Rig rig(config);
    rig.to_active();
    Events e = calm();
    e.duration_over = true;
    const State got = rig.tick(e).state;
    if (policy == rl::StopPolicy::rest) CHECK(got == State::rest);
    if (policy == rl::StopPolicy::hold) CHECK(got == State::hold);
    if (policy == rl::StopPolicy::off) CHECK(got == State::off);
  }
}

TEST_CASE("off waits until the arm is braked and the release done") {
  Rig rig = in(State::active);
  Events e = calm();
  e.at_rest = false;
  e.stop_requests = 2;
  CHECK(rig.tick(e).state == State::hold);
  e.stop_requests = 0;
  CHECK(rig.tick(e).state == State::hold);
  e.at_rest = true;
  const rl::Decision d = rig.tick(e);
  CHECK(d.state == State::off);
  CHECK(d.release_now);
  CHECK(!d.ended);
  e.released = true;
  e.torque_on = false;
  const rl::Decision last = rig.tick(e);
  CHECK(last.ended);
  CHECK(last.exit_code == 0);
}

TEST_CASE("an e-stop on the way to rest is told as one and drops the end of the duration") {
  for (const bool stop : {false, true}) {
    Rig rig = in(State::active);
    Events over = calm();
    over.duration_over = true;
    rig.tick(over);
    CHECK(rig.machine.state() == State::rest);
    Events event = over;
    (stop ? event.estop : event.hang_up) = true;
    rig.tick(event);
    const State latched = stop ? State::estop : State::fault;
    for (int i = 0; i < 200; ++i) {
      const auto decision = rig.tick(over);
      CHECK(decision.state == latched);
      CHECK(decision.reason == (stop ? rl::Reason::estop : rl::Reason::hang_up));
      CHECK(!decision.ended);
    }
  }
}
