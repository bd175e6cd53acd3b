/// Register tables as data. Nothing above the bus knows an address, a byte order or a sign bit.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "rl/packet.hpp"

namespace rl {

constexpr std::uint8_t kUnsigned = 0xFF;

struct Register {
  std::string_view name;
  std::uint8_t address = 0;
  std::uint8_t size = 1;              ///< bytes
  std::uint8_t sign_bit = kUnsigned;  ///< sign-magnitude, or kUnsigned
  bool writable = false;
};

struct Model {
  std::string_view name;
  std::uint16_t number = 0;
  int resolution = 4096;  ///< steps of a turn (of the range on SCS)
  WordOrder order = WordOrder::little;
  bool sync_read = true;
  std::uint8_t lock = 55;  ///< 1: EEPROM closed
  std::span<const Register> registers;

  [[nodiscard]] const Register* find(std::string_view register_name) const noexcept {
    for (const Register& r : registers) {
      if (r.name == register_name) return &r;
    }
    return nullptr;
  }
};

/// nullptr when there is no such model.
[[nodiscard]] const Model* find_model(std::string_view name) noexcept;
/// "" when no model has that number.
[[nodiscard]] std::string_view model_name(std::uint16_t number) noexcept;

/// Addresses that every table here shares.
namespace at {
constexpr std::uint8_t kModel = 3;
constexpr std::uint8_t kId = 5;
constexpr std::uint8_t kReturnDelay = 7;
constexpr std::uint8_t kMinPosition = 9;
constexpr std::uint8_t kMaxPosition = 11;
constexpr std::uint8_t kMaxTorque = 16;
constexpr std::uint8_t kPhase = 18;
constexpr std::uint8_t kHomingOffset = 31;
constexpr std::uint8_t kMode = 33;
constexpr std::uint8_t kTorqueEnable = 40;
constexpr std::uint8_t kGoalPosition = 42;
constexpr std::uint8_t kTorqueLimit = 48;
constexpr std::uint8_t kPresentPosition = 56;
constexpr std::uint8_t kFirstRam = 40;
constexpr std::uint8_t kFirstFactory = 80;
}  // namespace at

constexpr std::uint8_t kPositionSign = 15;
constexpr std::uint8_t kOffsetSign = 11;

/// The status byte of a Feetech servo has the order of the alarms already; both families of the table.
[[nodiscard]] constexpr std::uint8_t alarms_of(std::uint8_t status) noexcept { return status; }

/// What a joint's registers should hold besides its calibration.
struct Setting {
  std::string_view name;
  int value = 0;
  bool follower_only = false;
  bool gripper_only = false;
};

/// As the field sets SO-101 arms up: quick replies, full acceleration, soft gains, a gripper that cannot
/// burn.
[[nodiscard]] std::span<const Setting> arm_settings() noexcept;

}  // namespace rl
