#include "arm.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace rl::emulator {

namespace {

constexpr Joints kFollower{{
    {"shoulder_pan", 1, -412, 781, 3330},
    {"shoulder_lift", 2, 913, 868, 3223},
    {"elbow_flex", 3, -655, 941, 3150},
    {"wrist_flex", 4, 128, 934, 3169},
    {"wrist_roll", 5, 1460, 0, 4095},
    {"gripper", 6, -1088, 1421, 2790},
}};

constexpr Joints kLeader{{
    {"shoulder_pan", 1, 377, 770, 3319},
    {"shoulder_lift", 2, -1240, 892, 3247},
    {"elbow_flex", 3, 1015, 925, 3134},
    {"wrist_flex", 4, -214, 921, 3156},
    {"wrist_roll", 5, -733, 0, 4095},
    {"gripper", 6, 602, 1342, 2711},
}};

/// middle + amplitude * sin(phase + lead)
struct Swing {
  double middle, amplitude, lead;
};

constexpr double kQuarter = 0.5 * std::numbers::pi;
constexpr std::array<Swing, kJoints> kSwings{{
    {0.0, 25.0, 0.0},
    {-30.0, 25.0, -kQuarter},
    {30.0, 15.0, 0.8},
    {20.0, 10.0, 2.1},
    {0.0, 15.0, -0.5},
    {35.0, 20.0, -kQuarter},
}};

/// Seconds along the path: the pace grows from 0 to 1 as 6u^5 - 15u^4 + 10u^3 over the ramp.
double path_time(double seconds) {
  if (seconds <= 0.0) return 0.0;
  const double u = seconds / kWaveRampS;
  if (u >= 1.0) return seconds - 0.5 * kWaveRampS;
  return kWaveRampS * u * u * u * u * (u * u - 3.0 * u + 2.5);
}

}  // namespace

Kind kind_named(const std::string& name) {
  if (name == "so101-follower") return Kind::follower;
  if (name == "so101-leader") return Kind::leader;
  throw std::invalid_argument("emulator: there is no kind '" + name +
                              "'; use so101-follower or so101-leader");
}

Unit unit_named(const std::string& name) {
  for (const Unit unit : {Unit::degrees, Unit::range_m100_100, Unit::range_0_100}) {
    if (name == name_of(unit)) return unit;
  }
  throw std::invalid_argument("emulator: there is no mode '" + name +
                              "'; use degrees, range_m100_100 or range_0_100");
}

const char* name_of(Unit unit) {
  switch (unit) {
    case Unit::degrees:
      return "degrees";
    case Unit::range_m100_100:
      return "range_m100_100";
    case Unit::range_0_100:
      return "range_0_100";
  }
  return "";
}

double Joint::to_unit(double steps, Unit unit) const {
  if (unit == Unit::degrees) return (steps - (range_min + range_max) / 2.0) * 360.0 / 4095.0;
  const double inside = std::clamp<double>(steps, range_min, range_max);
  const double part = (inside - range_min) / (range_max - range_min);
  return unit == Unit::range_0_100 ? part * 100.0 : part * 200.0 - 100.0;
}

double Joint::from_degrees(double degrees) const {
  return degrees * 4095.0 / 360.0 + (range_min + range_max) / 2.0;
}

double Joint::from_percent(double percent) const {
  return percent / 100.0 * (range_max - range_min) + range_min;
}

const Joints& joints_of(Kind kind) { return kind == Kind::follower ? kFollower : kLeader; }

Unit unit_of(std::size_t joint, Unit body) { return joint + 1 == kJoints ? Unit::range_0_100 : body; }

Pose wave_pose(double seconds) {
  const double phase = 2.0 * std::numbers::pi * path_time(seconds) / kWavePeriodS;
  Pose pose{};
  for (std::size_t j = 0; j < kJoints; ++j) {
    pose[j] = kSwings[j].middle + kSwings[j].amplitude * std::sin(phase + kSwings[j].lead);
  }
  return pose;
}

Pose to_steps(const Joints& joints, const Pose& pose) {
  Pose steps{};
  for (std::size_t j = 0; j < kJoints; ++j) {
    const bool gripper = j + 1 == kJoints;
    steps[j] = gripper ? joints[j].from_percent(pose[j]) : joints[j].from_degrees(pose[j]);
  }
  return steps;
}

}  // namespace rl::emulator
