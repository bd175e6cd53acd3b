#include "rl/units.hpp"

#include <algorithm>
#include <cmath>

namespace rl {
namespace {

constexpr int kLargestOffset = 2047;  // sign bit 11

/// The reference divides by it, so 360 degrees are 4095 steps of 4096.
double last_step(const JointCalibration& joint) noexcept { return static_cast<double>(joint.resolution - 1); }

}  // namespace

// The order of operations is the reference's, so that the results are equal in every bit.
double JointCalibration::to_unit(int raw) const noexcept {
  const double low = range_min;
  const double high = range_max;
  if (mode == UnitMode::degrees) {
    const double middle = (low + high) / 2.0;
    return (static_cast<double>(raw) - middle) * 360.0 / last_step(*this);
  }
  const double bounded = std::clamp(static_cast<double>(raw), low, high);
  if (mode == UnitMode::range_m100_100) {
    const double norm = (bounded - low) / (high - low) * 200.0 - 100.0;
    return drive_mode != 0 ? -norm : norm;
  }
  const double norm = (bounded - low) / (high - low) * 100.0;
  return drive_mode != 0 ? 100.0 - norm : norm;
}

double JointCalibration::to_steps(double unit) const noexcept {
  const double low = range_min;
  const double high = range_max;
  if (mode == UnitMode::degrees) {
    const double middle = (low + high) / 2.0;
    return unit * last_step(*this) / 360.0 + middle;
  }
  if (mode == UnitMode::range_m100_100) {
    const double turned = std::clamp(drive_mode != 0 ? -unit : unit, -100.0, 100.0);
    return (turned + 100.0) / 200.0 * (high - low) + low;
  }
  const double turned = std::clamp(drive_mode != 0 ? 100.0 - unit : unit, 0.0, 100.0);
  return turned / 100.0 * (high - low) + low;
}

int JointCalibration::to_raw(double unit) const noexcept {
  constexpr double kFar = 2e9;  // beyond any servo; keeps the conversion defined
  return static_cast<int>(std::clamp(to_steps(unit), -kFar, kFar));
}

int JointCalibration::nearest(double unit) const noexcept {
  return static_cast<int>(std::lround(std::clamp(to_steps(unit), 0.0, last_step(*this))));
}

std::string JointCalibration::problem() const {
  if (id < 0 || id > 253) return "id " + std::to_string(id) + " is not in 0..253";
  if (range_min >= range_max) {
    return "range_min " + std::to_string(range_min) + " is not below range_max " + std::to_string(range_max);
  }
  if (range_min < 0 || range_max >= resolution)
    return "its range leaves 0.." + std::to_string(resolution - 1);
  if (homing_offset < -kLargestOffset || homing_offset > kLargestOffset) {
    return "homing_offset " + std::to_string(homing_offset) + " is not in -2047..2047";
  }
  if (drive_mode != 0 && drive_mode != 1) return "drive_mode is neither 0 nor 1";
  return "";
}

}  // namespace rl
