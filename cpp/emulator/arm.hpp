#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

/// What the two emulated arms are: joints, calibration, units, and the path of the waving leader.
namespace rl::emulator {

constexpr std::size_t kJoints = 6;

enum class Kind : std::uint8_t { follower, leader };
enum class Unit : std::uint8_t { degrees, range_m100_100, range_0_100 };

/// std::invalid_argument for a name that is none of so101-follower, so101-leader.
[[nodiscard]] Kind kind_named(const std::string& name);
/// std::invalid_argument for a name that is none of degrees, range_m100_100, range_0_100.
[[nodiscard]] Unit unit_named(const std::string& name);
[[nodiscard]] const char* name_of(Unit unit);

/// One joint's calibration as its servo's registers 31, 9 and 11 hold it. Positions are steps after the
/// offset.
struct Joint {
  const char* name;
  std::uint8_t id;
  int homing_offset;
  int range_min;
  int range_max;

  /// Degrees: 360/4095 a step from the middle of the range, not clamped; ranges: clamped.
  [[nodiscard]] double to_unit(double steps, Unit unit) const;
  [[nodiscard]] double from_degrees(double degrees) const;
  [[nodiscard]] double from_percent(double percent) const;
};

using Joints = std::array<Joint, kJoints>;
using Pose = std::array<double, kJoints>;  ///< body degrees, gripper percent; or steps where said

/// Leader and follower differ in offsets and middles but not in spans, so that equal poses are equal in every
/// unit.
[[nodiscard]] const Joints& joints_of(Kind kind);

/// The unit in which a joint counts when the body counts in `body`: the gripper is always in percent.
[[nodiscard]] Unit unit_of(std::size_t joint, Unit body);

/// A closed path of period `kWavePeriodS`, along which the leader moves by itself. Pan and lift go in
/// quadrature, so a pose alone tells its phase. It starts at rest on the path and reaches its pace within
/// `kWaveRampS`; at most 40 degrees (or percent) per second.
constexpr double kWavePeriodS = 4.0;
constexpr double kWaveRampS = 1.0;

/// Body degrees and gripper percent at `seconds` after the start; before it, the start pose.
[[nodiscard]] Pose wave_pose(double seconds);

/// The pose in steps of these joints, not rounded.
[[nodiscard]] Pose to_steps(const Joints& joints, const Pose& pose);

}  // namespace rl::emulator
