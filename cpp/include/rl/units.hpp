/// Raw servo steps to robot units and back.
#pragma once

#include <cstdint>
#include <string>

namespace rl {

enum class UnitMode : std::uint8_t { degrees, range_m100_100, range_0_100 };

/// One joint's calibration: the same numbers and the same formulas as the field's calibration files.
struct JointCalibration {
  std::string name;
  int id = 0;
  int drive_mode = 0;
  int homing_offset = 0;  ///< steps; the servo subtracts it itself
  int range_min = 0;      ///< steps, after the offset
  int range_max = 4095;
  UnitMode mode = UnitMode::degrees;
  int resolution = 4096;  ///< steps of a turn

  /// Degrees: around the middle of the range, not clamped, drive_mode ignored. The other modes are clamped.
  [[nodiscard]] double to_unit(int raw) const noexcept;
  /// Before rounding; finite for finite input.
  [[nodiscard]] double to_steps(double unit) const noexcept;
  /// Truncated toward zero, as the reference does. `unit` must be finite.
  [[nodiscard]] int to_raw(double unit) const noexcept;
  /// The nearest step inside 0..resolution-1: what the loop writes. `unit` must be finite.
  [[nodiscard]] int nearest(double unit) const noexcept;
  /// "" or what is wrong with the numbers.
  [[nodiscard]] std::string problem() const;
};

}  // namespace rl
