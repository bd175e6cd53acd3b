/// The planner with its state machine, queue and limits on motors that are only numbers: who is listened to
/// and when, what counts as a fresh source, what random events can never bring about.
#include "rl/planner.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "check.hpp"

namespace {

using rl::State;

constexpr std::int64_t kPeriod = 20'000'000;
constexpr std::int64_t kMs = 1'000'000;
constexpr std::size_t kAxes = 2;
constexpr double kSpeed = 240;
constexpr double kAcceleration = 4000;
constexpr double kJerk = 100'000;
constexpr double kEnd = 100;

rl::PlannerConfig config() {
  rl::PlannerConfig out;
  rl::PlannerAxis axis;
  axis.limits = {-kEnd, kEnd, kSpeed, kAcceleration, kJerk};
  axis.soft_speed = 30;
  axis.jump = 5;
  axis.deviation = 20;
  out.axes = {axis, axis};
  out.source = rl::SourceKind::setpoints;
  out.queue.width = kAxes;
  out.queue.keep_last = true;
  out.period = kPeriod;
  out.safety.soft_start = 100 * kMs;
  return out;
}

/// A megabyte each: taken again instead of made anew for each of a million planners.
struct Ring {
  Ring() {
    if (spare().empty()) spare().push_back(std::make_unique<rl::ChunkRing>());
    chunks = std::move(spare().back());
    spare().pop_back();
  }
  ~Ring() {
    while (chunks->oldest() != nullptr) chunks->consume();
    spare().push_back(std::move(chunks));
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  static std::vector<std::unique_ptr<rl::ChunkRing>>& spare() {
    static std::vector<std::unique_ptr<rl::ChunkRing>> all;
    return all;
  }
  std::unique_ptr<rl::ChunkRing> chunks;
};

/// A planner and everything around it. Motors follow at once unless they are blocked.
struct Stand : Ring {
  explicit Stand(const rl::PlannerConfig& given = config()) : planner(given, requests, *chunks, tally) {
    reading.voltage.fill(120);
    reading.temperature.fill(30);
  }
  void arm(std::uint64_t arms = ~0ULL) {
    reading.values = place;
    planner.armed(arms, reading, now, true);
    if (arms == ~0ULL) last = {};
  }
  bool push(std::int64_t observed, float value) {
    auto* const slot = chunks->front_free();
    if (slot == nullptr) return false;
    slot->observed = observed;
    slot->period = kPeriod;
    slot->rows = 1;
    slot->values[0] = value;
    slot->values[1] = 0;
    chunks->publish();
    return true;
  }
  void say(double value) {
    requests.beat(now);
    push(now, static_cast<float>(value));
  }
  rl::Plan tick() {
    for (std::size_t k = 0; k < kAxes; ++k) {
      if (!(((blocked | last.withheld) >> k) & 1U) && last.write) place[k] = last.goal[k];
      if ((silent >> k) & 1U) continue;
      reading.values[k] = place[k];
      reading.captured[k] = now;
    }
    last = planner.plan(reading, now, now + kPeriod);
    now += kPeriod;
    if (last.release != 0) planner.released(last.release, 0);
    return last;
  }
  State run(int ticks, double value) {
    for (int i = 0; i < ticks; ++i) {
      say(value);
      tick();
    }
    return planner.state();
  }
  void to_active() {
    arm();
    run(30, place[0]);
    REQUIRE(planner.state() == State::active);
  }
  /// `count` ticks in which the source says nothing.
  State wait(int count) {
    for (int i = 0; i < count; ++i) tick();
    return planner.state();
  }

  rl::Requests requests;
  rl::Tally tally;
  rl::Planner planner;
  rl::Reading reading;
  rl::AxisVector place{};  ///< where the motors are, heard or not
  rl::Plan last;
  std::int64_t now = 1'000'000'000;
  std::uint64_t blocked = 0;
  std::uint64_t silent = 0;
};

}  // namespace

TEST_CASE("after a silence five set points are a fresh stream; four are not, and the gap does not count") {
  for (const int every : {1, 5}) {           // ticks: 50 Hz, 10 Hz
    for (const int gap : {6, 7, 25, 150}) {  // ticks: just past the watchdog, ..., 3 s
      Stand stand;
      stand.to_active();
      for (int i = 0; i < 8 * every; ++i) {  // at its own rate, with signs of life in between
        stand.requests.beat(stand.now);
        if (i % every == 0) stand.push(stand.now, 0);
        stand.tick();
      }
      REQUIRE(stand.planner.state() == State::active);
      REQUIRE(stand.wait(gap) == State::hold);
      int said = 0;
      for (int i = 0; i < 10 * every && stand.planner.state() == State::hold; ++i) {
        stand.requests.beat(stand.now);
        stand.requests.resume();
        if (i % every == 0) {
          stand.push(stand.now, 0);
          ++said;
        }
        stand.tick();
      }
      CHECK(stand.planner.state() == State::soft_start);
      CHECK(said == 5);
    }
  }
}

TEST_CASE("an arm that an e-stop or a fault holds in its soft start is held with its whole torque") {
  for (const bool by_fault : {false, true}) {
    rl::PlannerConfig slow = config();
    slow.safety.soft_start = 1000 * kMs;
    Stand stand(slow);
    stand.arm();
    stand.run(3, 0);
    CHECK(stand.planner.state() == State::soft_start);
    if (by_fault) {
      stand.reading.alarms[0] = rl::alarm::kEncoder;
    } else {
      stand.requests.estop();
    }
    double torque = -1;
    for (int tick = 0; tick < 3; ++tick) {
      const rl::Plan plan = stand.tick();
      CHECK(rl::is_latched(plan.decision.state));
      if (plan.write && plan.torque[0] >= 0) torque = plan.torque[0];
    }
    CHECK(torque == 1);
    CHECK(stand.requests.estopped() == !by_fault);
    stand.reading.alarms[0] = 0;
    for (int tick = 0; tick < 20; ++tick) stand.tick();
    stand.requests.reset();
    stand.tick();
    CHECK(stand.planner.state() == State::disarmed);
    CHECK(!stand.requests.estopped());
  }
}

TEST_CASE("an e-stop is not forgotten by a reset that is refused") {
  Stand stand;
  stand.to_active();
  stand.requests.estop();
  CHECK(stand.requests.estopped());
  stand.tick();
  stand.requests.reset();
  stand.reading.alarms[0] = rl::alarm::kEncoder;
  stand.tick();
  CHECK(stand.planner.state() == State::estop);
  CHECK(stand.requests.estopped());
}

TEST_CASE("a source that falls silent in a hold of another cause begins anew") {
  Stand stand;
  stand.to_active();
  stand.reading.alarms[0] = rl::alarm::kOverload;
  CHECK(stand.run(1, 0) == State::hold);
  stand.reading.alarms[0] = 0;
  CHECK(stand.run(10, 0) == State::hold);
  stand.wait(20);
  stand.requests.resume();
  CHECK(stand.run(4, 0) == State::hold);
  CHECK(stand.run(1, 0) == State::soft_start);
}

TEST_CASE("what is said where nobody listens moves nothing later") {
  for (const State deaf : {State::disarmed, State::rest, State::off, State::fault, State::estop}) {
    Stand stand;
    if (deaf != State::disarmed) stand.to_active();
    if (deaf == State::estop) stand.requests.estop();
    if (deaf == State::fault) stand.reading.rebooted = 1;
    if (deaf == State::rest) {
      stand.requests.stop(rl::StopPolicy::rest);
      stand.place[0] = 1;
      stand.blocked = 1;
    }
    if (deaf == State::off) stand.requests.stop(rl::StopPolicy::off);
    stand.tick();
    stand.reading.rebooted = 0;
    REQUIRE(stand.planner.state() == deaf);
    for (int i = 0; i < 5; ++i) {
      stand.say(20);
      stand.tick();
      CHECK(stand.last.remaining == 0);
    }
    if (deaf == State::rest || deaf == State::off) continue;  // they end, or are armed as from DISARMED
    stand.push(stand.now, 20);                                // and one that lies there when the arm is armed
    stand.requests.reset();
    stand.tick();
    REQUIRE(stand.planner.state() == State::disarmed);
    stand.push(stand.now, 20);
    stand.arm();
    const double stood = stand.place[0];
    for (int i = 0; i < 100; ++i) {  // alive, but it says nothing
      stand.requests.beat(stand.now);
      stand.tick();
      CHECK(stand.last.goal[0] == stood);
    }
    CHECK(stand.planner.state() == State::soft_start);
  }
}

TEST_CASE("fifty illegal set points within any second hold; where nothing moves they only count") {
  const auto refuse = [](Stand& stand, int count) {
    stand.tally.refused[static_cast<std::size_t>(rl::Refusal::not_finite)] +=
        static_cast<std::uint64_t>(count);
  };
  for (const bool active : {false, true}) {
    for (int phase = 0; phase < 60; phase += 7) {
      Stand stand;
      refuse(stand, 200);  // from before
      for (int i = 0; i < 5; ++i) stand.tick();
      CHECK(stand.planner.state() == State::disarmed);
      stand.arm();
      // Where a new second would begin must make no difference.
      REQUIRE(stand.run(active ? 60 + phase : 2, active ? 0 : 90) ==
              (active ? State::active : State::soft_start));
      refuse(stand, 49);
      CHECK(stand.run(45, active ? 0 : 90) != State::hold);
      refuse(stand, 49);
      CHECK(stand.run(1, active ? 0 : 90) == State::hold);
      CHECK(stand.last.decision.reason == rl::Reason::illegal_setpoints);
    }
  }
  Stand slow;
  slow.to_active();
  for (int i = 0; i < 300; ++i) {  // 49 a second
    if (i % 50 != 0) refuse(slow, 1);
    CHECK(slow.run(1, 0) == State::active);
  }
}

TEST_CASE("the goal of a blocked joint comes back in a fault too, whatever else holds the arm in that tick") {
  enum class Also { nothing, stale, overload };
  for (const Also also : {Also::nothing, Also::stale, Also::overload}) {
    for (const State moving : {State::soft_start, State::active}) {
      // Once to learn in which tick the obstacle is seen, then with something else in that very tick.
      int seen = 1000;
      for (const bool again : {false, true}) {
        Stand stand;
        stand.arm();
        stand.run(moving == State::active ? 30 : 3, moving == State::active ? 0 : 90);
        REQUIRE(stand.planner.state() == moving);
        stand.blocked = 1;
        const double stuck = stand.place[0];
        int ticks = 0;
        while (stand.planner.state() == moving && ticks < 300) {
          ++ticks;
          if (again && also == Also::stale && ticks > seen - 6) stand.silent = 2;
          if (again && also == Also::overload && ticks == seen)
            stand.reading.alarms[1] = rl::alarm::kOverload;
          stand.run(1, 90);
        }
        CHECK(ticks == (again ? seen : ticks));
        seen = ticks;
        CHECK(stand.planner.state() == (moving == State::active ? State::hold : State::fault));
        stand.reading.alarms[1] = 0;
        stand.run(150, 90);
        CHECK(std::abs(stand.last.goal[0] - stuck) <= 5 + 1e-6);
        CHECK(std::abs(stand.last.goal[0]) < kEnd);
      }
    }
  }
}

TEST_CASE("the supply is measured against what each bus had at connect, not at the newest arming") {
  auto two = config();
  two.axes[1].arm = 1;
  for (const bool sags : {false, true}) {
    Stand stand(two);
    stand.reading.voltage[1] = 74;  // 12 V and 7.4 V side by side
    stand.wait(3);
    stand.to_active();
    stand.requests.estop();
    stand.tick();
    if (sags) stand.reading.voltage[1] = 58;
    stand.wait(5);
    stand.requests.reset();
    stand.tick();
    REQUIRE((stand.planner.state() == State::disarmed) == !sags);  // the cause is not gone
    if (!sags) CHECK((stand.arm(), stand.run(30, 0)) == State::active);
  }
  Stand armed_low;
  armed_low.wait(3);
  armed_low.reading.voltage.fill(90);
  armed_low.arm();
  CHECK(armed_low.run(2, 0) == State::fault);
  CHECK(armed_low.last.decision.reason == rl::Reason::motor_voltage);
}

TEST_CASE("one bus of two that is silent is lost after half a second") {
  for (const bool apart : {false, true}) {
    auto two = config();
    two.axes[1].arm = apart ? 1 : 0;
    Stand stand(two);
    stand.to_active();
    stand.silent = stand.reading.missing = 2;
    int ticks = 0;
    while (stand.planner.state() != State::fault && ticks < 100) {
      stand.run(1, 0);
      ++ticks;
    }
    CHECK(stand.last.decision.reason == (apart ? rl::Reason::bus_lost : rl::Reason::motor_mute));
    CHECK(ticks >= (apart ? 25 : 50));
    CHECK(ticks <= (apart ? 27 : 52));
  }
}

namespace {

/// Two arms of one joint each, both active.
struct Pair : Stand {
  static rl::PlannerConfig two() {
    auto out = config();
    out.axes[1].arm = 1;
    return out;
  }
  explicit Pair(const rl::PlannerConfig& given = two()) : Stand(given) { to_active(); }
  [[nodiscard]] State state(std::size_t arm) const { return last.arms[arm].state; }
  /// Both at `value`, far from their rest pose.
  void drive(double value) {
    for (int i = 0; i < 100; ++i) {
      requests.beat(now);
      if (auto* const slot = chunks->front_free()) {
        slot->observed = now;
        slot->period = kPeriod;
        slot->rows = 1;
        slot->values[0] = slot->values[1] = static_cast<float>(value);
        chunks->publish();
      }
      tick();
    }
    REQUIRE(std::abs(place[1] - value) < 1);
  }
};

}  // namespace

TEST_CASE("a fault of one arm holds the other, which rests and lets go when asked; its own torque stays") {
  Pair pair;
  pair.drive(40);
  pair.reading.rebooted = 2;
  pair.run(1, 40);
  pair.reading.rebooted = 0;
  CHECK(pair.planner.state() == State::fault);
  CHECK(pair.state(1) == State::fault);
  CHECK(pair.state(0) == State::hold);
  CHECK(pair.last.arms[0].reason == rl::Reason::coupled);
  CHECK(pair.last.decision.joint == 1);
  pair.requests.resume();
  pair.run(50, 40);
  CHECK(pair.state(0) == State::hold);  // not as long as the other one is in FAULT
  pair.requests.stop(rl::StopPolicy::rest);
  std::uint64_t released = 0;
  for (int i = 0; i < 400 && !pair.last.decision.ended; ++i) {
    pair.run(1, 40);
    released |= pair.last.release;
    if (!pair.last.decision.ended) CHECK(pair.state(1) == State::fault);
  }
  CHECK(pair.last.decision.ended);
  CHECK(pair.last.decision.exit_code == 1);
  CHECK(released == 1);
  CHECK(std::abs(pair.place[0]) < 2);
  CHECK(pair.place[1] == 40);
}

TEST_CASE("a second stop also lets go of the arm that is in FAULT while the other one rests") {
  Pair pair;
  pair.drive(80);
  pair.reading.rebooted = 2;
  pair.run(1, 80);
  pair.reading.rebooted = 0;
  pair.requests.stop(rl::StopPolicy::rest);
  pair.run(20, 80);
  REQUIRE(pair.state(0) == State::rest);
  CHECK(!pair.last.decision.ended);
  pair.requests.stop(rl::StopPolicy::rest);
  std::uint64_t released = 0;
  for (int i = 0; i < 100 && !pair.last.decision.ended; ++i) {
    pair.run(1, 80);
    released |= pair.last.release;
  }
  CHECK(released == 3);
  CHECK(pair.last.decision.ended);
  CHECK(pair.place[0] > 10);  // braked, not laid down
}

TEST_CASE("a cause of HOLD in one arm holds the other; neither holds the other once it is gone") {
  Pair pair;
  pair.reading.alarms[1] = rl::alarm::kOverload;
  pair.run(1, 0);
  CHECK(pair.state(1) == State::hold);
  CHECK(pair.state(0) == State::hold);
  CHECK(pair.last.decision.reason == rl::Reason::overload);
  pair.requests.resume();
  CHECK(pair.run(10, 0) == State::hold);  // there still
  pair.reading.alarms[1] = 0;
  pair.requests.resume();
  pair.run(40, 0);
  CHECK(pair.state(0) == State::active);
  CHECK(pair.state(1) == State::active);
}

TEST_CASE("an arm that is told to hold does so in its next tick and goes on when it is resumed") {
  Stand stand;
  stand.to_active();
  stand.requests.hold();
  CHECK(stand.run(1, 0) == State::hold);
  CHECK(stand.last.decision.reason == rl::Reason::coupled);
  CHECK(stand.run(20, 0) == State::hold);
  stand.requests.hold();  // in HOLD it changes nothing, and is not kept
  stand.run(1, 0);
  stand.requests.resume();
  stand.run(3, 0);
  CHECK(stand.run(30, 0) == State::active);
}

TEST_CASE("a dead source lays down the arm that can move while the other one stays in FAULT") {
  auto two = Pair::two();
  two.safety.hold_to_rest = 200 * kMs;
  Pair pair(two);
  pair.drive(30);
  pair.reading.rebooted = 2;
  pair.run(1, 30);
  pair.reading.rebooted = 0;
  pair.wait(200);
  CHECK(pair.state(1) == State::fault);
  CHECK(pair.state(0) == State::off);
  CHECK(pair.planner.state() == State::fault);
}

TEST_CASE("a reset while a stop is under way lets go of nothing; after it the arms can be armed again") {
  Pair pair;
  pair.drive(80);
  pair.reading.rebooted = 2;
  pair.run(1, 80);
  pair.reading.rebooted = 0;
  pair.requests.stop(rl::StopPolicy::rest);
  pair.run(20, 80);
  REQUIRE(pair.state(0) == State::rest);
  pair.requests.reset();
  pair.run(2, 80);
  CHECK(pair.state(1) == State::fault);
  CHECK(pair.last.release == 0);

  Pair dropped;  // a fault on the way to rest drops the stop of its own arm
  dropped.drive(80);
  dropped.requests.stop(rl::StopPolicy::rest);
  dropped.run(20, 80);
  dropped.reading.rebooted = 2;
  dropped.run(1, 80);
  dropped.reading.rebooted = 0;
  dropped.run(400, 80);
  CHECK(dropped.state(0) == State::off);
  CHECK(dropped.state(1) == State::fault);
  CHECK(!dropped.last.decision.ended);
  dropped.requests.reset();
  dropped.run(1, 80);
  CHECK(dropped.state(1) == State::disarmed);
  CHECK(dropped.planner.may_arm() == 3);
}

TEST_CASE("an arm that is to be let go stops the one that moves") {
  Pair pair;
  pair.drive(30);
  pair.requests.estop();
  pair.run(30, 30);
  pair.requests.reset();
  pair.run(1, 30);
  pair.arm(1);
  pair.run(30, 30);
  CHECK(pair.state(0) == State::active);
  CHECK(pair.state(1) == State::disarmed);
  pair.requests.release();
  std::uint64_t released = 0;
  for (int i = 0; i < 30; ++i) {
    pair.run(1, 30);
    released |= pair.last.release;
  }
  CHECK(released == 2);
  CHECK(pair.state(0) == State::hold);
  CHECK(pair.state(1) == State::off);
}

TEST_CASE("what was planned when the port went is where the plan stays") {
  Stand stand;
  stand.to_active();
  stand.run(20, 40);  // on the way
  stand.reading.hang_up = 1;
  const double goal = stand.last.goal[0];
  CHECK(goal > 1);
  stand.run(50, 40);
  CHECK(stand.last.goal[0] == goal);
  CHECK(!stand.last.write);
}

TEST_CASE("an emergency stop is one of all arms, a reset too; each is armed where it stands") {
  Pair pair;
  pair.drive(20);
  pair.requests.estop();
  pair.run(1, 20);
  CHECK(pair.state(0) == State::estop);
  CHECK(pair.state(1) == State::estop);
  CHECK(pair.planner.may_arm() == 0);
  pair.requests.reset();
  pair.run(1, 20);
  CHECK(pair.planner.state() == State::disarmed);
  CHECK(pair.planner.may_arm() == 3);
  pair.arm();
  pair.run(30, 20);
  pair.reading.hang_up = 1;
  pair.run(20, 20);
  CHECK(pair.state(0) == State::fault);
  CHECK(pair.state(1) == State::hold);
  CHECK(pair.planner.may_arm() == 0);  // reset first
  pair.reading.hang_up = 0;
  pair.run(5, 20);
  CHECK((pair.last.withheld & 1U) != 0);  // its motors stand at the last goal that they got
  pair.requests.reset();
  pair.run(1, 20);
  CHECK(pair.state(0) == State::disarmed);
  CHECK(pair.state(1) == State::hold);
  CHECK(pair.planner.may_arm() == 1);  // the other one has not been let go
  pair.arm(1);
  pair.requests.resume();
  for (int i = 0; i < 60; ++i) {
    pair.requests.resume();
    pair.run(1, 20);
  }
  CHECK(pair.state(0) == State::active);
  CHECK(pair.state(1) == State::active);
}

TEST_CASE("a reset waits until what an emergency stop brakes has come to rest") {
  for (const bool again : {false, true}) {
    Stand stand;
    stand.to_active();
    for (int i = 0; i < 18; ++i) stand.run(1, 4.0 * i);  // 200 deg/s
    stand.requests.estop();
    stand.run(1, 72);
    stand.requests.reset();
    double goal = stand.last.goal[0];
    CHECK(stand.run(1, 160) == State::estop);
    CHECK(stand.last.write);
    CHECK(stand.last.goal[0] > goal + 0.5);  // it still brakes
    if (again) stand.requests.estop();       // and this one is not reset
    for (int i = 0; i < 20 && stand.planner.state() == State::estop; ++i) {
      goal = stand.last.goal[0];
      stand.run(1, 160);
    }
    CHECK(stand.planner.state() == (again ? State::estop : State::disarmed));
    if (again) continue;
    stand.run(10, 160);
    stand.requests.estop();
    stand.run(1, 160);
    CHECK(stand.last.write);
    CHECK(stand.last.goal[0] == goal);
  }
}

TEST_CASE("an arm that has come to rest is let go once the other one stands") {
  auto two = Pair::two();
  two.axes[1].rest = 60;
  Pair pair(two);
  pair.drive(58);
  pair.requests.stop(rl::StopPolicy::rest);
  bool waited = false;
  std::uint64_t released = 0;
  for (int i = 0; i < 400 && !pair.last.decision.ended; ++i) {
    pair.run(1, 58);
    waited = waited || (pair.state(1) == State::off && pair.state(0) == State::rest);
    if (pair.state(0) == State::rest) CHECK(pair.last.release == 0);
    released |= pair.last.release;
  }
  CHECK(waited);
  CHECK(released == 3);
  CHECK(pair.last.decision.exit_code == 0);
}

TEST_CASE("an arm that is blocked on its way to rest does not keep the other one from it") {
  auto two = Pair::two();
  two.axes[1].deviation = 0;  // seen by its lack of progress
  Pair pair(two);
  pair.drive(60);
  pair.requests.stop(rl::StopPolicy::rest);
  pair.blocked = 2;
  for (int i = 0; i < 600 && !pair.last.decision.ended; ++i) pair.run(1, 60);
  CHECK(pair.last.decision.ended);
  CHECK(std::abs(pair.place[0]) < 2);
  CHECK(pair.place[1] > 50);
}

TEST_CASE("warmth and a low supply are warned of, and remembered") {
  Stand stand;
  stand.to_active();
  stand.reading.temperature[1] = 60;
  stand.reading.voltage[0] = 107;
  CHECK(stand.run(3, 0) == State::active);
  CHECK(stand.last.warm == 2);
  CHECK(stand.last.low_voltage == 1);
  stand.reading.temperature[1] = 59;
  stand.reading.voltage[0] = 108;
  CHECK(stand.run(3, 0) == State::active);
  CHECK((stand.last.warm | stand.last.low_voltage) == 0);
  CHECK(stand.tally.warm.load() == 2);
  CHECK(stand.tally.low_voltage.load() == 1);
}

TEST_CASE("a target that breaks a limit by itself is told from one that servo steps make rough") {
  const rl::AxisLimits limits{-kEnd, kEnd, kSpeed, kAcceleration, kJerk};
  const double dt = 0.02;
  const auto asks = [&](std::vector<double> newest_first) {
    return rl::asks_too_much(newest_first, limits, dt);
  };
  CHECK(asks({kEnd + 1e-6}));
  CHECK(!asks({kEnd}));
  CHECK(asks({4.9, 0}));
  CHECK(!asks({4.7, 0}));
  CHECK(asks({2, 0, 0}));        // 5,000 deg/s^2
  CHECK(!asks({1.5, 0, 0}));     // 3,750
  CHECK(asks({1.5, 0, 0, 0}));   // from none in one tick: 187,500 deg/s^3
  CHECK(!asks({0.7, 0, 0, 0}));  // 87,500
  CHECK(asks({std::nan("")}));
  std::vector<double> slow(4);
  for (int start = 0; start < 400; ++start) {  // 7 deg/s, rounded to steps, at 200 Hz
    for (std::size_t i = 0; i < slow.size(); ++i) {
      constexpr double kStep = 360.0 / 4096;
      slow[i] = std::round((start - static_cast<double>(i)) * 7 * 0.005 / kStep) * kStep;
    }
    CHECK(!rl::asks_too_much(slow, limits, 0.005));
  }
}

TEST_CASE("steps of the source count as limited, a smooth one does not") {
  Stand rough;
  rough.to_active();
  const std::uint64_t before = rough.tally.followed.load();
  for (int i = 0; i < 100; ++i) rough.run(1, i / 5 % 2 == 0 ? 0 : 2.5);  // 6,250 deg/s^2
  CHECK(rough.tally.followed.load() - before == 100);
  CHECK(rough.tally.clamped.load() > 30);
  Stand smooth;
  smooth.to_active();
  for (int i = 0; i < 200; ++i) smooth.run(1, 20 * (1 - std::cos(i * 0.05)));
  CHECK(smooth.tally.clamped.load() == 0);
}

namespace {

/// A stand that is driven by chance, and what its goals have been.
struct Chance : Stand {
  explicit Chance(const rl::PlannerConfig& given)
      : Stand(given), arm_of{given.axes[0].arm, given.axes[1].arm}, arms(given.arms()) {
    last.arms = {{}, {}};
  }
  std::array<std::size_t, kAxes> arm_of;
  std::size_t arms;
  std::array<double, kAxes> goal{}, velocity{}, acceleration{}, first{};
  std::array<bool, kAxes> moving{};            ///< its arm had a goal in the last tick
  std::array<std::int64_t, kAxes> armed_at{};  ///< 0: nothing was written since
  std::array<bool, kAxes> torque{};            ///< of an arm
  std::array<bool, kAxes> cut_off{};           ///< its port was gone
  int since_estop = -1;
  std::array<bool, kAxes> asked{};  ///< an arm's reset, since its state is latched

  void estop() {
    requests.estop();
    if (planner.state() != State::estop) since_estop = 0;  // else it has been stopped already
  }
  [[nodiscard]] bool writes(std::size_t arm, const rl::Plan& plan) const {
    for (std::size_t k = 0; k < kAxes; ++k) {
      if (arm_of[k] == arm && plan.write && !((plan.withheld >> k) & 1U)) return true;
    }
    return false;
  }
};

/// What may never be, whatever happened before.
void look_at_invariants(Chance& it, const rl::Plan& plan, const rl::Plan& before, bool reset) {
  for (std::size_t arm = 0; arm < it.arms; ++arm) {
    const State state = plan.arms[arm].state;
    const State was = before.arms[arm].state;
    if (state == State::disarmed || state == State::off) CHECK(!it.writes(arm, plan));
    const bool latched = was == State::fault || was == State::estop;
    it.asked[arm] = latched && (it.asked[arm] || reset);
    if (latched && !it.asked[arm]) CHECK(state == State::fault || state == State::estop);
    if (latched) CHECK(state != State::soft_start && state != State::active);
    if (state == State::active) CHECK(was == State::active || was == State::soft_start);
    const bool other = it.arms > 1 && (plan.arms[1 - arm].state == State::fault);
    const bool armed_now = was == State::disarmed || was == State::off;  // held from its next tick on
    if (other && !armed_now) CHECK(state != State::soft_start && state != State::active);
    const bool still = it.arm_of[0] == it.arm_of[1] ? it.silent == 3 : ((it.silent >> arm) & 1U) != 0;
    const bool able = it.torque[arm] && !it.cut_off[arm] && plan.limp == 0 && !still;
    if (it.since_estop == 0 && able && !plan.decision.ended) CHECK(it.writes(arm, plan));
    if (it.cut_off[arm]) CHECK(!it.writes(arm, plan));
  }
  const double dt = static_cast<double>(kPeriod) * 1e-9;
  for (std::size_t k = 0; k < kAxes; ++k) {
    const std::size_t arm = it.arm_of[k];
    if (!it.torque[arm] || it.cut_off[arm] || !rl::has_torque(plan.arms[arm].state)) {
      it.moving[k] = false;
      it.velocity[k] = it.acceleration[k] = 0;
      continue;
    }
    const double goal = plan.goal[k];
    CHECK(std::isfinite(goal));
    if (it.armed_at[k] != 0) CHECK(goal == it.first[k]);  // the measured pose comes first
    // What was not written for a while goes on where it stood.
    const bool written = plan.write && !((plan.withheld >> k) & 1U);
    if (written && !it.moving[k] && it.armed_at[k] == 0) CHECK(std::abs(goal - it.goal[k]) < 1e-6);
    const double wall = std::max(kEnd, std::abs(it.goal[k]));
    if (it.moving[k]) CHECK(std::abs(goal) <= wall + 1e-6);
    const double velocity = it.moving[k] ? (goal - it.goal[k]) / dt : 0;
    const double acceleration = it.moving[k] ? (velocity - it.velocity[k]) / dt : 0;
    CHECK(std::abs(velocity) <= kSpeed * (1 + 1e-6));
    CHECK(std::abs(acceleration) <= kAcceleration * (1 + 1e-6));
    CHECK(std::abs(acceleration - it.acceleration[k]) <= kJerk * dt * (1 + 1e-6));
    it.goal[k] = goal;
    it.velocity[k] = velocity;
    it.acceleration[k] = acceleration;
    it.armed_at[k] = 0;
    it.moving[k] = true;
  }
}

/// One source, one arm, twice: the second one is also told what is illegal, and its stale positions are other
/// ones. Both have to do the same.
struct Twins {
  Chance clean, dirty;
  std::mt19937& random;
  bool reset = false;
  float wanted = 0;
  float speed = 0;
  std::int64_t said = 0;

  Twins(std::mt19937& chance, const rl::PlannerConfig& given) : clean(given), dirty(given), random(chance) {}
  unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }
  bool one_in(unsigned n) { return below(n) == 0; }

  void source() {
    if (one_in(8)) speed = static_cast<float>(below(200)) / 20 - 5;
    wanted += speed;
    if (one_in(20)) wanted = static_cast<float>(below(400)) - 200;
    const bool mute = one_in(12);
    for (Chance* it : {&clean, &dirty}) {
      if (!mute) it->say(wanted);
    }
    if (!mute) said = clean.now;
    if (one_in(3)) {
      const bool old = one_in(2);
      dirty.push(old ? dirty.now - 700 * kMs : dirty.now + 1,
                 old ? 90 : std::numeric_limits<float>::quiet_NaN());
    }
    if (one_in(9) && said != 0) dirty.push(said - 1, -90);  // before the newest
  }
  void requests() {
    const std::array<unsigned, 6> what = {below(90), below(12), below(8), below(90), below(70), below(200)};
    reset = what[1] == 0;
    for (Chance* it : {&clean, &dirty}) {
      if (it->since_estop >= 0) ++it->since_estop;
      if (what[0] == 0) it->estop();
      if (reset) it->requests.reset();
      if (what[2] == 0) it->requests.resume();
      if (what[3] == 0) it->requests.release();
      if (what[4] == 0) it->requests.stop(rl::StopPolicy::rest);
      if (what[5] == 0) it->planner.overrun();
    }
  }
  void motors() {
    const unsigned event = below(400);
    const unsigned k = below(static_cast<unsigned>(kAxes));
    const std::uint64_t ports = 1 + below(3);
    for (Chance* it : {&clean, &dirty}) {
      it->reading.rebooted = event == 0 ? 1 : 0;
      it->reading.hang_up = event == 1 ? ports : 0;
      for (std::size_t arm = 0; arm < it->arms; ++arm)
        it->cut_off[arm] = it->cut_off[arm] || ((it->reading.hang_up >> arm) & 1U) != 0;
      it->reading.alarms[k] = event < 6 && event > 1 ? rl::alarm::kOverload : std::uint8_t{0};
      if (event >= 10 && event < 16) it->silent ^= 1ULL << k;
      if (event >= 20 && event < 24) it->blocked ^= 1ULL << k;
      it->reading.missing = it->silent;
      it->reading.temperature[k] = event == 30 ? 71 : 30;
      for (std::size_t j = 0; j < kAxes; ++j) {
        const bool stale = it->now - it->reading.captured[j] > 100 * kMs;
        if (stale && ((it->silent >> j) & 1U)) it->reading.values[j] = it == &clean ? 77 : -1e6;
      }
    }
  }
  void arm() {
    const std::uint64_t arms = clean.planner.may_arm();
    CHECK(arms == dirty.planner.may_arm());
    if (!one_in(4) || arms == 0) return;
    const double at = static_cast<double>(below(240)) - 120;
    const bool elsewhere = !clean.torque[0] || one_in(2);
    for (Chance* it : {&clean, &dirty}) {
      it->silent = it->blocked = it->reading.missing = 0;
      for (std::size_t k = 0; k < kAxes; ++k) {
        if (!((arms >> it->arm_of[k]) & 1U)) continue;
        it->place[k] = k == 0 && elsewhere ? at : it->goal[k];
        it->first[k] = it->place[k];
        it->armed_at[k] = it->now;
        it->moving[k] = false;
        it->torque[it->arm_of[k]] = true;
        it->cut_off[it->arm_of[k]] = false;
      }
      it->arm(arms);
    }
  }
  /// False when the loop has ended.
  bool step() {
    arm();
    source();
    requests();
    motors();
    const int failures = check::failures();
    const std::array<rl::Plan, 2> before = {clean.last, dirty.last};
    const rl::Plan a = clean.tick();
    const rl::Plan b = dirty.tick();
    for (std::size_t arm = 0; arm < clean.arms; ++arm) CHECK(a.arms[arm].state == b.arms[arm].state);
    CHECK(a.write == b.write);
    for (std::size_t k = 0; k < kAxes; ++k) {
      if (clean.writes(clean.arm_of[k], a)) CHECK(a.goal[k] == b.goal[k]);
    }
    look_at_invariants(dirty, b, before[1], reset);
    look_at_invariants(clean, a, before[0], reset);
    for (std::size_t arm = 0; arm < clean.arms; ++arm) {
      if ((a.release >> arm) & 1U) clean.torque[arm] = dirty.torque[arm] = false;
    }
    return !a.decision.ended && check::failures() == failures;
  }
};

}  // namespace

TEST_CASE("random events around the planner never break the invariants") {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp)
  const int sequences = check::sequences(20'000);
  std::array<int, rl::kStates> seen{};
  for (int sequence = 0; sequence < sequences; ++sequence) {
    const int failures = check::failures();
    auto given = config();
    given.axes[1].arm = static_cast<std::uint8_t>(sequence % 2);  // one arm, two arms
    Twins twins(random, given);
    for (int tick = 0; tick < 100 && twins.step(); ++tick)
      ++seen[static_cast<std::size_t>(twins.clean.planner.state())];
    if (check::failures() != failures) {
      std::fprintf(stderr, "  in sequence %d\n", sequence);
      return;
    }
  }
  for (const int ticks : seen) CHECK(ticks > sequences / 2);
}
