/// Sees that a joint does not go where its goals go: something is in the way, or it has no torque.
///
/// The measured position is compared with the band of the goals of the last 200 ms, not with the newest goal:
/// a servo lags its goals by more than a fast motion's distance, and still stays inside that band.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "rl/action_queue.hpp"

namespace rl {

class ObstacleWatch {
 public:
  static constexpr std::int64_t kBand = 200'000'000;      ///< ns of goals
  static constexpr std::int64_t kPatience = 300'000'000;  ///< ns outside the band

  ObstacleWatch(std::size_t axes, std::int64_t period)
      : axes_(axes),
        rows_(static_cast<std::size_t>(kBand / std::max<std::int64_t>(period, 1)) + 2),
        goals_(rows_ * axes) {}

  /// Goals begin anew, at a pose.
  void begin(std::span<const double> pose) noexcept {
    for (std::size_t row = 0; row < rows_; ++row)
      std::copy_n(pose.begin(), axes_, goals_.begin() + static_cast<std::ptrdiff_t>(row * axes_));
    outside_since_.fill(0);
  }
  void push(std::span<const double> goal) noexcept {
    std::copy_n(goal.begin(), axes_, goals_.begin() + static_cast<std::ptrdiff_t>(next_ * axes_));
    next_ = (next_ + 1) % rows_;
  }
  /// True once `measured` has been more than `far` outside the band of its axis for long enough. 0: not
  /// watched.
  [[nodiscard]] bool blocked(std::size_t axis, double measured, double far, std::int64_t now) noexcept {
    if (far <= 0) return false;
    double low = goals_[axis];
    double high = low;
    for (std::size_t row = 1; row < rows_; ++row) {
      const double goal = goals_[row * axes_ + axis];
      low = std::min(low, goal);
      high = std::max(high, goal);
    }
    const bool outside = measured < low - far || measured > high + far;
    if (!outside) outside_since_[axis] = 0;
    if (outside && outside_since_[axis] == 0) outside_since_[axis] = now;
    return outside && now - outside_since_[axis] >= kPatience;
  }

 private:
  std::size_t axes_;
  std::size_t rows_;
  std::vector<double> goals_;
  std::size_t next_ = 0;
  std::array<std::int64_t, kMostAxes> outside_since_{};
};

}  // namespace rl
