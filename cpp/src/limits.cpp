#include "rl/limits.hpp"

#include <algorithm>
#include <cmath>

namespace rl {
namespace {

constexpr double kMore = 1 + 1e-9;
constexpr double kServoStep = 360.0 / 4096;  // deg
constexpr double kHair = 1e-9;               // rounding of sums; far below a servo step
constexpr int kMostSteps = 100'000;
constexpr int kHalvings = 40;
constexpr double kTurning = 0.25;    // of the distance that a critically damped approach has at its speed
constexpr int kCoarseHalvings = 24;  // of 8,000 deg/s^2: 0.0005

/// The largest rate at which an error may shrink so that, slowed by `brake` each tick, it ends at zero
/// exactly.
double approach_rate(double error, double brake, double dt) noexcept {
  const double tick = brake * dt * dt;
  return std::min(error / dt, brake * dt / 2 * (std::sqrt(1 + 8 * error / tick) - 1));
}

/// A motion seen so that "up" is the direction of the limit in question.
struct Upward {
  double position, velocity, acceleration, high, speed;
};

/// Highest position reached when everything is done to stop, beginning with the next tick.
double stop_position(Upward m, const AxisLimits& limits, double dt) noexcept {
  for (int i = 0; i < kMostSteps && m.velocity > 0; ++i) {
    const double least = limits.jerk > 0 ? m.acceleration - limits.jerk * dt : -limits.acceleration;
    m.acceleration = std::max(-limits.acceleration, least);
    m.velocity += m.acceleration * dt;
    if (m.velocity > 0) m.position += m.velocity * dt;
  }
  return m.position;
}

/// An upper bound of `stop_position` without stepping: good enough far from the limit.
double stop_bound(const Upward& m, const AxisLimits& limits, double dt) noexcept {
  const double up = std::max(m.acceleration, 0.0);
  double peak = m.velocity;
  double ramp = dt;
  if (limits.jerk > 0) {
    ramp += (up + limits.acceleration) / limits.jerk + dt;
    peak += up * up / (2 * limits.jerk) + up * dt;
  }
  peak = std::max(peak, 0.0);
  return m.position + peak * ramp + peak * peak / (2 * limits.acceleration) + peak * dt;
}

/// Highest speed reached when the acceleration is taken away as fast as the jerk allows.
double peak_speed(const Upward& m, const AxisLimits& limits, double dt) noexcept {
  if (limits.jerk <= 0 || m.acceleration <= 0) return m.velocity;
  const double step = limits.jerk * dt;
  const double n = std::floor(m.acceleration / step);
  return m.velocity + dt * (n * m.acceleration - step * n * (n + 1) / 2);
}

/// Whether the next tick may have this acceleration: afterwards speed and position can still be kept.
bool allowed(const Upward& now, double acceleration, const AxisLimits& limits, double dt) noexcept {
  Upward next = now;
  next.acceleration = acceleration;
  next.velocity += acceleration * dt;
  next.position += next.velocity * dt;
  if (peak_speed(next, limits, dt) > now.speed + kHair) return false;
  if (next.position > now.high + kHair) return false;
  if (next.velocity <= 0 && acceleration <= 0) return true;
  if (stop_bound(next, limits, dt) <= now.high) return true;
  // An upward acceleration with no upward speed yet still has to be taken away.
  if (next.velocity <= 0) next.velocity = kHair;
  return stop_position(next, limits, dt) <= now.high + kHair;
}

/// The largest allowed acceleration of [least, most]; `least` when none is: braking as hard as may be.
double largest_allowed(const Upward& now, double least, double most, const AxisLimits& limits,
                       double dt) noexcept {
  if (allowed(now, most, limits, dt)) return most;
  if (!allowed(now, least, limits, dt)) return least;
  double good = least;
  double bad = most;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (good + bad) / 2;
    (allowed(now, middle, limits, dt) ? good : bad) = middle;
  }
  return good;
}

/// The tick that comes closest to the wished acceleration within every limit.
Motion advance(const Motion& now, double wish, const AxisLimits& limits, double dt) noexcept {
  const double change =
      limits.jerk > 0 ? limits.jerk * dt : 2 * limits.acceleration + std::abs(now.acceleration);
  double least = std::max(-limits.acceleration, now.acceleration - change);
  double most = std::min(limits.acceleration, now.acceleration + change);
  if (least > most)
    least = most = now.acceleration > 0 ? now.acceleration - change : now.acceleration + change;
  // Outside the position limits (armed there) the wall moves inward with the arm.
  const double high = std::max(limits.high, now.position);
  const double low = std::min(limits.low, now.position);
  const Upward up{now.position, now.velocity, now.acceleration, high, limits.speed};
  const Upward down{-now.position, -now.velocity, -now.acceleration, -low, limits.speed};
  const double top = largest_allowed(up, least, most, limits, dt);
  const double bottom = -largest_allowed(down, -most, -least, limits, dt);
  // A range too short to stop in: stopping from the present velocity comes first.
  const double chosen = top < bottom ? (now.velocity > 0 ? top : bottom) : std::clamp(wish, bottom, top);
  Motion next;
  next.acceleration = chosen;
  next.velocity = now.velocity + chosen * dt;
  next.position = now.position + next.velocity * dt;
  return next;
}

/// The acceleration that brings the velocity to `wanted` and lets it stay there.
double toward_velocity(double velocity, double wanted, const AxisLimits& limits, double dt) noexcept {
  const double error = wanted - velocity;
  if (limits.jerk <= 0) return error / dt;
  const double rate = approach_rate(std::abs(error), limits.jerk, dt);
  return std::copysign(rate, error);
}

/// How much the acceleration may change in one tick.
double change_per_tick(const AxisLimits& limits, double dt) noexcept {
  return limits.jerk > 0 ? limits.jerk * dt : HUGE_VAL;
}

/// Whether a motion that has this acceleration in the next tick, and is then brought to rest with none left,
/// stays below 0. Positions and velocities are relative to a target that stands there.
bool stays_below(Upward m, double acceleration, const AxisLimits& limits, double dt) noexcept {
  const double change = change_per_tick(limits, dt);
  for (int i = 0; i < kMostSteps; ++i) {
    m.acceleration = acceleration;
    m.velocity += acceleration * dt;
    m.position += m.velocity * dt;
    if (m.position > kHair) return false;
    if (m.velocity <= 0 && m.acceleration <= 0) return true;
    const double wish = toward_velocity(m.velocity, 0, limits, dt);
    acceleration = std::clamp(wish, std::max(-limits.acceleration, m.acceleration - change),
                              std::min(limits.acceleration, m.acceleration + change));
  }
  return true;
}

/// The acceleration nearest to `wish` with which a target ahead is not passed: `error` is its distance,
/// `along` its velocity. The wish itself where it will be passed anyhow.
double without_passing(const Motion& now, double wish, double error, double along, const AxisLimits& limits,
                       double dt) noexcept {
  if (error == 0) return wish;
  const double side = std::copysign(1.0, error);
  const Upward up{-std::abs(error), (now.velocity - along) * side, now.acceleration * side, 0, 0};
  const double change = change_per_tick(limits, dt);
  double good = std::max(-limits.acceleration, up.acceleration - change);
  double bad = std::clamp(wish * side, good, std::min(limits.acceleration, up.acceleration + change));
  if (stays_below(up, bad, limits, dt) || !stays_below(up, good, limits, dt)) return wish;
  for (int i = 0; i < kCoarseHalvings; ++i) {
    const double middle = (good + bad) / 2;
    (stays_below(up, middle, limits, dt) ? good : bad) = middle;
  }
  return good * side;
}

}  // namespace

Motion follow(const Motion& now, double target, double previous_target, const AxisLimits& limits,
              double dt) noexcept {
  if (!std::isfinite(target) || !std::isfinite(previous_target)) return brake(now, limits, dt);
  const double aim = std::clamp(target, limits.low, limits.high);
  const double previous = std::clamp(previous_target, limits.low, limits.high);
  const double along = (aim - previous) / dt;
  const double direct = (aim - now.position) / dt;
  const double change = (direct - now.velocity) / dt;
  // Exactly onto the target, when the target is caught: its own velocity is then the next one as well.
  const double reach =
      limits.jerk > 0 ? std::min(limits.acceleration, limits.jerk * dt) : limits.acceleration;
  if (std::abs(direct - along) <= 0.5 * reach * dt && std::abs(change) <= limits.acceleration) {
    return advance(now, change, limits, dt);
  }
  const double error = previous - now.position;
  const double bounded = std::clamp(along, -limits.speed, limits.speed);
  const double legal = std::clamp(bounded + error / dt, -limits.speed, limits.speed);
  const double wish = toward_velocity(now.velocity, legal, limits, dt);
  return advance(now, without_passing(now, wish, error, bounded, limits, dt), limits, dt);
}

Motion damp(const Motion& now, double target, double previous_target, double rate, const AxisLimits& limits,
            double dt) noexcept {
  if (!std::isfinite(target) || !std::isfinite(previous_target)) return brake(now, limits, dt);
  // The three differences of the goal as state: gains that put all poles of the sampled motion at p.
  const double q = -std::expm1(-rate * dt);  // 1 - p, exact also where it is tiny
  const double of_acceleration = q * (3 - 3 * q + q * q);
  const double of_velocity = q * q * (3 - 2 * q);
  const double of_error = q * q * q;

  const double aim = std::clamp(target, limits.low, limits.high);
  const double along = (aim - std::clamp(previous_target, limits.low, limits.high)) / dt;
  const double lead = along * dt * (3 - 2 * q) / q;  // what a steady motion would lag behind
  const double error = now.position - (aim - along * dt) - lead;
  const double wish = now.acceleration - (of_error * error / dt + of_velocity * now.velocity) / dt -
                      of_acceleration * now.acceleration;

  const double left = aim - along * dt - now.position;
  // A target that turns round is passed on a round way; one that is approached is not.
  if (std::abs(left) < kTurning * std::abs(now.velocity - along) / rate)
    return advance(now, wish, limits, dt);
  const double bounded = std::clamp(along, -limits.speed, limits.speed);
  return advance(now, without_passing(now, wish, left, bounded, limits, dt), limits, dt);
}

Motion brake(const Motion& now, const AxisLimits& limits, double dt) noexcept {
  return advance(now, toward_velocity(now.velocity, 0, limits, dt), limits, dt);
}

bool asks_too_much(std::span<const double> targets, const AxisLimits& limits, double dt) noexcept {
  const auto t = [targets](std::size_t i) { return targets[i]; };
  if (!(t(0) >= limits.low && t(0) <= limits.high)) return true;
  if (targets.size() > 1 && !(std::abs(t(0) - t(1)) <= limits.speed * dt * kMore)) return true;
  // Each target is rounded by half a step; the differences weigh them 1 2 1 and 1 3 3 1.
  const double bend = targets.size() > 2 ? t(0) - 2 * t(1) + t(2) : 0;
  if (!(std::abs(bend) <= limits.acceleration * dt * dt * kMore + 2 * kServoStep)) return true;
  if (targets.size() < 4 || limits.jerk <= 0) return false;
  const double jolt = t(0) - 3 * t(1) + 3 * t(2) - t(3);
  return !(std::abs(jolt) <= limits.jerk * dt * dt * dt * kMore + 4 * kServoStep);
}

}  // namespace rl
