/// Interpolation between timed actions, pure.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace rl {

/// `critically_damped`: straight lines between the knots, smoothed on the way to the limits (limits.hpp).
enum class Interpolation : std::uint8_t { linear, cubic, critically_damped };
[[nodiscard]] bool find_interpolation(std::string_view name, Interpolation& out) noexcept;

/// A value and when it is due, ns.
struct Knot {
  std::int64_t time = 0;
  double value = 0;
};

[[nodiscard]] inline double seconds_between(std::int64_t from, std::int64_t to) noexcept {
  return static_cast<double>(to - from) * 1e-9;
}

[[nodiscard]] inline double secant(const Knot& a, const Knot& b) noexcept {
  return (b.value - a.value) / seconds_between(a.time, b.time);
}

/// Slope at the middle of three knots, limited so that the curve stays monotone where the knots are
/// (Fritsch and Carlson 1980).
[[nodiscard]] inline double monotone_slope(const Knot& a, const Knot& b, const Knot& c) noexcept {
  const double before = secant(a, b);
  const double after = secant(b, c);
  if (before * after <= 0) return 0;
  const double h0 = seconds_between(a.time, b.time);
  const double h1 = seconds_between(b.time, c.time);
  const double mean = (h1 * before + h0 * after) / (h0 + h1);
  const double most = 3 * std::min(std::abs(before), std::abs(after));
  return std::clamp(mean, -most, most);
}

[[nodiscard]] inline double linear(const Knot& a, const Knot& b, std::int64_t at) noexcept {
  const double s = static_cast<double>(at - a.time) / static_cast<double>(b.time - a.time);
  return a.value + s * (b.value - a.value);
}

/// Cubic Hermite between two knots with slopes in units per second.
[[nodiscard]] inline double hermite(const Knot& a, double slope_a, const Knot& b, double slope_b,
                                    std::int64_t at) noexcept {
  const double h = seconds_between(a.time, b.time);
  const double s = seconds_between(a.time, at) / h;
  const double s2 = s * s;
  const double s3 = s2 * s;
  return (2 * s3 - 3 * s2 + 1) * a.value + (s3 - 2 * s2 + s) * h * slope_a + (3 * s2 - 2 * s3) * b.value +
         (s3 - s2) * h * slope_b;
}

}  // namespace rl
