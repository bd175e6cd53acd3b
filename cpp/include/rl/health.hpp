/// What a motor says of itself, and how much is too much for it, whatever the bus behind which it sits: each
/// chain turns its own servos' words into these.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace rl {

/// Bits of what is wrong with a motor.
namespace alarm {
constexpr std::uint8_t kVoltage = 1;
constexpr std::uint8_t kEncoder = 2;
constexpr std::uint8_t kHeat = 4;
constexpr std::uint8_t kCurrent = 8;
constexpr std::uint8_t kAngle = 16;
constexpr std::uint8_t kOverload = 32;

constexpr std::uint8_t kFault = kEncoder | kHeat | kCurrent;  ///< the arm does not go on
constexpr std::uint8_t kBurning = kHeat | kCurrent;           ///< the motor is to have no torque
}  // namespace alarm

[[nodiscard]] constexpr std::string_view alarm_name(unsigned bit) noexcept {
  constexpr std::array<std::string_view, 6> kNames = {"voltage",     "encoder", "overheat",
                                                      "overcurrent", "angle",   "overload"};
  return bit < kNames.size() ? kNames[bit] : "undefined";
}

// Degrees C.
constexpr int kWarm = 60;    ///< a warning; not armed above
constexpr int kDerate = 65;  ///< half the torque
constexpr int kTooHot = 70;  ///< a fault

// % of what the motors of one bus have at rest.
constexpr int kLeastSupply = 80;  ///< a fault below
constexpr int kLowSupply = 90;    ///< a warning below
constexpr int kMostSupply = 115;  ///< a fault above

[[nodiscard]] constexpr bool bad_supply(int volts, int nominal) noexcept {
  return volts * 100 < nominal * kLeastSupply || volts * 100 > nominal * kMostSupply;
}

/// Half the torque is enough for a joint that is overloaded or nearly too hot.
[[nodiscard]] constexpr bool wants_less_torque(std::uint8_t alarms, std::uint8_t temperature) noexcept {
  return (alarms & alarm::kOverload) != 0 || temperature >= kDerate;
}

}  // namespace rl
