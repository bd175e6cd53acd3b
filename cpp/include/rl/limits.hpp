/// What a goal may do from one tick to the next, as pure functions. Nothing reaches a servo without them.
#pragma once

#include <span>
#include <vector>

namespace rl {

/// Robot units, seconds. `jerk` 0: not limited.
struct AxisLimits {
  double low = 0;
  double high = 0;
  double speed = 0;
  double acceleration = 0;
  double jerk = 0;
};

/// Where the goal is and how it moves: differences of goals over `dt`, not of measurements.
struct Motion {
  double position = 0;
  double velocity = 0;
  double acceleration = 0;
};

/// One tick toward `target`, which stood at `previous_target` a tick ago. The result keeps every limit, and
/// from it the arm can still stop before the position limit (counting its present acceleration). A motion
/// that begins outside the position limits may only go inward. Non-finite targets leave the motion braking.
[[nodiscard]] Motion follow(const Motion& now, double target, double previous_target,
                            const AxisLimits& limits, double dt) noexcept;

/// The same, smoothed: a critically damped motion (three equal poles at `rate`, 1/s) that does not overshoot
/// a target at rest and does not lag behind one that moves evenly.
[[nodiscard]] Motion damp(const Motion& now, double target, double previous_target, double rate,
                          const AxisLimits& limits, double dt) noexcept;

/// One tick of deceleration to rest along the present velocity, within the same limits.
[[nodiscard]] Motion brake(const Motion& now, const AxisLimits& limits, double dt) noexcept;

/// Whether a target breaks a limit by itself. `targets`: the newest first, at least one; up to three that
/// came before it, a tick apart, tell of speed, acceleration and jerk. What rounding to servo steps explains
/// is no breach of the latter two.
[[nodiscard]] bool asks_too_much(std::span<const double> targets, const AxisLimits& limits,
                                 double dt) noexcept;

}  // namespace rl
