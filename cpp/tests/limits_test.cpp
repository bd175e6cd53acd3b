#include "rl/limits.hpp"

#include <cmath>
#include <limits>
#include <random>

#include "check.hpp"

namespace {

constexpr double kSlack = 1e-6;

struct Worst {
  double position = 0, speed = 0, acceleration = 0, jerk = 0;
};

void judge(const rl::Motion& before, const rl::Motion& after, const rl::AxisLimits& l, double dt,
           Worst& worst) {
  worst.position = std::max({worst.position, after.position - l.high, l.low - after.position});
  const double v = (after.position - before.position) / dt;
  worst.speed = std::max(worst.speed, std::abs(v) - l.speed);
  const double a = (v - before.velocity) / dt;
  worst.acceleration = std::max(worst.acceleration, std::abs(a) - l.acceleration);
  if (l.jerk > 0) worst.jerk = std::max(worst.jerk, std::abs(a - before.acceleration) / dt - l.jerk);
}

/// A target as hostile as they come.
double adversary(std::mt19937& random, int turn, double before) {
  std::uniform_real_distribution<double> wide(-400, 400);
  switch ((turn / 40) % 6) {
    case 0:
      return wide(random);
    case 1:
      return (turn / 2) % 2 == 0 ? 95.0 : -95.0;  // a square wave
    case 2:
      return before + wide(random) / 40;
    case 3:
      return turn % 7 == 0 ? std::numeric_limits<double>::quiet_NaN() : 1e30;
    case 4:
      return turn % 5 == 0 ? std::numeric_limits<double>::infinity() : -1e30;
    default:
      return 80 + 30 * std::sin(turn * 0.3);
  }
}

}  // namespace

TEST_CASE("no goal breaks a limit, whatever is asked") {
  std::mt19937 random(3);  // NOLINT(cert-msc51-cpp)
  for (const double rate : {10.0, 50.0, 200.0, 1000.0}) {
    for (const double jerk : {0.0, 100'000.0, 20'000.0}) {
      const rl::AxisLimits limits{-90, 90, 240, 4000, jerk};
      const double dt = 1 / rate;
      rl::Motion m;
      Worst worst;
      double target = 0;
      double before = 0;
      for (int turn = 0; turn < 20'000; ++turn) {
        before = target;
        target = adversary(random, turn, std::isfinite(target) ? target : 0);
        const rl::Motion next =
            turn % 500 > 450 ? rl::brake(m, limits, dt) : rl::follow(m, target, before, limits, dt);
        judge(m, next, limits, dt, worst);
        m = next;
      }
      CHECK(worst.position <= kSlack);
      CHECK(worst.speed <= kSlack);
      CHECK(worst.acceleration <= 4000 * kSlack);
      CHECK(worst.jerk <= std::max(1.0, jerk) * 1e-4);
    }
  }
}

TEST_CASE("a setpoint that keeps the limits is met exactly") {
  const rl::AxisLimits limits{-100, 100, 240, 4000, 100'000};
  const double dt = 0.02;
  rl::Motion m;
  double before = 0;
  double farthest = 0;
  for (int turn = 1; turn < 500; ++turn) {
    const double t = turn * dt;
    const double target = 40 * std::sin(2 * t) * std::min(1.0, t);
    m = rl::follow(m, target, before, limits, dt);
    before = target;
    farthest = std::max(farthest, std::abs(m.position - target));
  }
  CHECK(farthest < 1e-6);
}

TEST_CASE("a target is reached soon and not passed, be it near or far") {
  for (const double rate : {10.0, 50.0, 200.0, 1000.0}) {
    for (const double jerk : {0.0, 100'000.0}) {
      for (const double step : {0.5, 5.0, 30.0, 150.0}) {
        const rl::AxisLimits limits{-170, 170, 240, 4000, jerk};
        const double dt = 1 / rate;
        rl::Motion m;
        double highest = 0;
        // v/A and A/J for each change of speed, doubled for coarse ticks
        const double time = step / 240 + 2 * (0.06 + 0.08) + 4 * dt;
        for (int turn = 0; turn < static_cast<int>(time * rate); ++turn) {
          m = rl::follow(m, step, step, limits, dt);
          highest = std::max(highest, m.position);
        }
        CHECK(std::abs(m.position - step) < 0.01);
        CHECK(highest < step + 1e-6);
      }
    }
  }
}

TEST_CASE("a moving target is caught without passing it") {
  for (const double rate : {50.0, 200.0, 1000.0}) {
    const rl::AxisLimits limits{-170, 170, 240, 4000, 100'000};
    const double dt = 1 / rate;
    rl::Motion m;
    double ahead = 0;
    double target = 20;
    double left = 0;
    for (int turn = 0; turn < static_cast<int>(0.5 * rate); ++turn) {
      const double before = target;
      target += 100 * dt;
      m = rl::follow(m, target, before, limits, dt);
      ahead = std::max(ahead, m.position - target);
      left = target - m.position;
    }
    CHECK(ahead < 1e-6);
    CHECK(left < 1e-6);
  }
}

TEST_CASE("the critically damped way keeps every limit, whatever is asked") {
  std::mt19937 random(5);  // NOLINT(cert-msc51-cpp)
  for (const double rate : {10.0, 50.0, 1000.0}) {
    for (const double damping : {5e-4, 20.0, 90.0, 3000.0}) {  // the first: a row an hour
      const rl::AxisLimits limits{-90, 90, 240, 4000, 100'000};
      const double dt = 1 / rate;
      rl::Motion m;
      Worst worst;
      double target = 0;
      for (int turn = 0; turn < 10'000; ++turn) {
        const double before = target;
        target = adversary(random, turn, std::isfinite(target) ? target : 0);
        const rl::Motion next = rl::damp(m, target, before, damping, limits, dt);
        judge(m, next, limits, dt, worst);
        m = next;
      }
      CHECK(worst.position <= kSlack);
      CHECK(worst.speed <= kSlack);
      CHECK(worst.acceleration <= 4000 * kSlack);
      CHECK(worst.jerk <= 100'000 * 1e-4);
    }
  }
}

TEST_CASE("from rest the critically damped way is the textbook's, without overshoot") {
  // x = r - r (1 + wt + (wt)^2 / 2) exp(-wt): three equal poles, limits out of reach
  const rl::AxisLimits limits{-1e6, 1e6, 1e6, 1e9, 1e13};
  const double w = 20;
  const double dt = 1e-4;
  rl::Motion m;
  double farthest = 0;
  double highest = 0;
  for (int turn = 1; turn < 10'000; ++turn) {
    m = rl::damp(m, 10, 10, w, limits, dt);
    const double wt = w * turn * dt;
    farthest = std::max(farthest, std::abs(m.position - 10 * (1 - (1 + wt + wt * wt / 2) * std::exp(-wt))));
    highest = std::max(highest, m.position);
    if (wt >= 7.6) CHECK(std::abs(m.position - 10) <= 0.2);  // 2 % after 7.5 / w
  }
  CHECK(farthest < 0.01);
  CHECK(highest <= 10 + 1e-9);
}

TEST_CASE(
    "the critically damped way does not overshoot within the limits and does not lag behind a steady "
    "target") {
  for (const double rate : {10.0, 50.0, 200.0}) {
    for (const double step : {0.5, 5.0, 30.0, 150.0}) {
      const rl::AxisLimits limits{-170, 170, 240, 4000, 100'000};
      rl::Motion m;
      double highest = 0;
      for (int turn = 0; turn < static_cast<int>(4 * rate); ++turn) {
        m = rl::damp(m, step, step, 90, limits, 1 / rate);
        highest = std::max(highest, m.position);
      }
      CHECK(std::abs(m.position - step) < 0.01);
      CHECK(highest <= step + std::max(0.1, 0.02 * step));
    }
  }
  const rl::AxisLimits limits{-170, 170, 240, 4000, 100'000};
  rl::Motion m;
  double target = 0;
  for (int turn = 0; turn < 100; ++turn) {
    const double before = target;
    target += 100 * 0.02;
    m = rl::damp(m, target, before, 60, limits, 0.02);
    if (target > 160) break;
  }
  CHECK(std::abs(m.position - target) < 1e-3);
  CHECK(std::abs(m.velocity - 100) < 1e-3);
}

TEST_CASE("the critically damped way rounds a corner that a straight line has") {
  const rl::AxisLimits limits{-170, 170, 240, 1e6, 0};
  double plain = 0;
  double smooth = 0;
  for (const bool damped : {false, true}) {
    rl::Motion m;
    double target = 0;
    double sharpest = 0;
    for (int turn = 0; turn < 200; ++turn) {
      const double before = target;
      target += turn < 100 ? 0.5 : -0.5;  // 100 deg/s up, then down, at 200 Hz
      const rl::Motion next = damped ? rl::damp(m, target, before, 50, limits, 0.005)
                                     : rl::follow(m, target, before, limits, 0.005);
      if (turn > 50) sharpest = std::max(sharpest, std::abs(next.acceleration));
      m = next;
    }
    (damped ? smooth : plain) = sharpest;
  }
  CHECK(plain > 39'000);
  CHECK(smooth < 0.4 * plain);
}

TEST_CASE("braking ends at rest within the time that the limits ask") {
  const rl::AxisLimits limits{-1000, 1000, 240, 4000, 100'000};
  const double dt = 0.02;
  rl::Motion m{0, 240, 0};
  int ticks = 0;
  while (std::abs(m.velocity) > 1e-9 && ticks < 100) {
    m = rl::brake(m, limits, dt);
    ++ticks;
  }
  CHECK(ticks * dt <= 0.16 + 1e-9);
}

TEST_CASE("an arm that begins outside its range only goes inward") {
  const rl::AxisLimits limits{-90, 90, 30, 4000, 100'000};
  rl::Motion m{95, 0, 0};
  double before = m.position;
  for (int turn = 0; turn < 100; ++turn) {
    m = rl::follow(m, turn < 20 ? 120 : 80, 80, limits, 0.02);
    CHECK(m.position <= std::max(90.0, before) + kSlack);
    before = m.position;
  }
  CHECK(std::abs(m.position - 80) < 0.1);
}
