#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

/// The memory of one STS3215: addresses, factory values, and what survives a loss of power.
namespace rl::emulator {

constexpr std::size_t kMemorySize = 128;
constexpr std::size_t kStoredSize = 40;  ///< addresses below are EEPROM

namespace reg {
constexpr std::size_t kModel = 3;
constexpr std::size_t kId = 5;
constexpr std::size_t kBaud = 6;
constexpr std::size_t kReturnDelay = 7;
constexpr std::size_t kResponseLevel = 8;
constexpr std::size_t kMinLimit = 9;
constexpr std::size_t kMaxLimit = 11;
constexpr std::size_t kMaxTemperature = 13;
constexpr std::size_t kMaxVoltage = 14;
constexpr std::size_t kMinVoltage = 15;
constexpr std::size_t kMaxTorque = 16;
constexpr std::size_t kPhase = 18;
constexpr std::size_t kPGain = 21;
constexpr std::size_t kProtectionCurrent = 28;
constexpr std::size_t kHomingOffset = 31;
constexpr std::size_t kMode = 33;
constexpr std::size_t kOverloadTorque = 36;
constexpr std::size_t kTorqueEnable = 40;
constexpr std::size_t kAcceleration = 41;
constexpr std::size_t kGoalPosition = 42;
constexpr std::size_t kGoalVelocity = 46;
constexpr std::size_t kTorqueLimit = 48;
constexpr std::size_t kLock = 55;
constexpr std::size_t kPresentPosition = 56;
constexpr std::size_t kPresentVelocity = 58;
constexpr std::size_t kPresentLoad = 60;
constexpr std::size_t kVoltage = 62;
constexpr std::size_t kTemperature = 63;
constexpr std::size_t kAsyncFlag = 64;
constexpr std::size_t kStatus = 65;
constexpr std::size_t kMoving = 66;
constexpr std::size_t kGoalCopy = 67;
constexpr std::size_t kCurrent = 69;
constexpr std::size_t kMaxAcceleration = 85;
}  // namespace reg

constexpr int kHomingSign = 11;    ///< sign bits of the sign-magnitude registers
constexpr int kPositionSign = 15;  ///< also velocity
constexpr int kLoadSign = 10;

/// |value| with `sign_bit` set when negative; the magnitude is cut to what fits below the bit.
[[nodiscard]] std::uint16_t to_sign_magnitude(int value, int sign_bit);
[[nodiscard]] int from_sign_magnitude(std::uint16_t word, int sign_bit);

/// Working values, their stored copies (EEPROM) and the lock between them.
class Memory {
 public:
  /// Factory values of model 777, firmware 3.10, under the given id.
  explicit Memory(std::uint8_t id);

  [[nodiscard]] std::uint8_t byte(std::size_t address) const { return working_.at(address); }
  [[nodiscard]] std::uint16_t word(std::size_t address) const;  ///< little-endian
  [[nodiscard]] std::span<const std::uint8_t> bytes(std::size_t address, std::size_t count) const;
  [[nodiscard]] std::span<const std::uint8_t> all() const { return working_; }

  /// A write from the bus: read-only bytes stay; EEPROM bytes are stored only while the lock register is 0.
  /// Returns the number of bytes that went into the EEPROM.
  std::size_t write(std::size_t address, std::span<const std::uint8_t> data);

  /// Sets bytes whatever the lock says, and stores those below 40: the factory and the tests do this.
  void place(std::size_t address, std::span<const std::uint8_t> data);
  void place_byte(std::size_t address, std::uint8_t value);
  void place_word(std::size_t address, std::uint16_t value);

  void power_on();         ///< stored values become the working ones, RAM its power-on values
  void restore_factory();  ///< EEPROM to factory values; the id stays

 private:
  std::array<std::uint8_t, kMemorySize> working_{};
  std::array<std::uint8_t, kStoredSize> stored_{};
};

}  // namespace rl::emulator
