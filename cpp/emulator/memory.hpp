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
constexpr std::size_t model = 3;
constexpr std::size_t id = 5;
constexpr std::size_t return_delay = 7;
constexpr std::size_t response_level = 8;
constexpr std::size_t min_limit = 9;
constexpr std::size_t max_limit = 11;
constexpr std::size_t max_temperature = 13;
constexpr std::size_t max_voltage = 14;
constexpr std::size_t min_voltage = 15;
constexpr std::size_t max_torque = 16;
constexpr std::size_t phase = 18;
constexpr std::size_t p_gain = 21;
constexpr std::size_t protection_current = 28;
constexpr std::size_t homing_offset = 31;
constexpr std::size_t mode = 33;
constexpr std::size_t overload_torque = 36;
constexpr std::size_t torque_enable = 40;
constexpr std::size_t acceleration = 41;
constexpr std::size_t goal_position = 42;
constexpr std::size_t goal_velocity = 46;
constexpr std::size_t torque_limit = 48;
constexpr std::size_t lock = 55;
constexpr std::size_t present_position = 56;
constexpr std::size_t present_velocity = 58;
constexpr std::size_t present_load = 60;
constexpr std::size_t voltage = 62;
constexpr std::size_t temperature = 63;
constexpr std::size_t async_flag = 64;
constexpr std::size_t status = 65;
constexpr std::size_t moving = 66;
constexpr std::size_t goal_copy = 67;
constexpr std::size_t current = 69;
constexpr std::size_t max_acceleration = 85;
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
