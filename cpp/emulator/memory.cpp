#include "memory.hpp"

#include <algorithm>
#include <cstdlib>

namespace rl::emulator {

namespace {

/// Bytes 0..39 as they leave the factory: typical values, id 1.
constexpr std::array<std::uint8_t, kStoredSize> kFactory{
    3,    10,                // firmware 3.10
    0,                       // little-endian
    0x09, 0x03,              // model 777
    1,    0,                 // id, 1 Mbit/s
    250,  1,                 // return delay 500 us, answers everything
    0,    0,    0xFF, 0x0F,  // position limits 0..4095
    70,   140,  40,          // hottest, highest and lowest voltage
    0xE8, 0x03,              // full torque
    12,   44,   47,          // phase, unloading, LED
    32,   32,   0,           // P, D, I
    16,   0,                 // startup force
    1,    1,                 // dead zones
    0xFE, 0x01,              // protection current 510
    1,                       // resolution
    0,    0,                 // homing offset
    0,                       // position mode
    20,   200,  80,          // protective torque, time, overload
    10,   200,  10,
};

constexpr bool read_only(std::size_t address) {
  return address < reg::kId || (address >= reg::kPresentPosition && address < 80);
}

}  // namespace

std::uint16_t to_sign_magnitude(int value, int sign_bit) {
  const int largest = (1 << sign_bit) - 1;
  const int magnitude = std::min(std::abs(value), largest);
  return static_cast<std::uint16_t>(magnitude | (value < 0 ? 1 << sign_bit : 0));
}

int from_sign_magnitude(std::uint16_t word, int sign_bit) {
  const int magnitude = word & ((1 << sign_bit) - 1);
  return (word >> sign_bit) & 1 ? -magnitude : magnitude;
}

Memory::Memory(std::uint8_t id) : stored_(kFactory) {
  stored_[reg::kId] = id;
  power_on();
}

std::uint16_t Memory::word(std::size_t address) const {
  return static_cast<std::uint16_t>(working_.at(address) | (working_.at(address + 1) << 8));
}

std::span<const std::uint8_t> Memory::bytes(std::size_t address, std::size_t count) const {
  return std::span(working_).subspan(address, count);
}

std::size_t Memory::write(std::size_t address, std::span<const std::uint8_t> data) {
  const bool open = working_[reg::kLock] == 0;
  std::size_t stored = 0;
  for (std::size_t i = 0; i < data.size(); ++i, ++address) {
    if (read_only(address)) continue;
    working_.at(address) = data[i];
    if (address < kStoredSize && open) {
      stored_[address] = data[i];
      ++stored;
    }
  }
  return stored;
}

void Memory::place(std::size_t address, std::span<const std::uint8_t> data) {
  for (const std::uint8_t value : data) place_byte(address++, value);
}

void Memory::place_byte(std::size_t address, std::uint8_t value) {
  working_.at(address) = value;
  if (address < kStoredSize) stored_[address] = value;
}

void Memory::place_word(std::size_t address, std::uint16_t value) {
  place_byte(address, static_cast<std::uint8_t>(value & 0xFF));
  place_byte(address + 1, static_cast<std::uint8_t>(value >> 8));
}

void Memory::power_on() {
  working_.fill(0);
  std::copy(stored_.begin(), stored_.end(), working_.begin());
  working_[reg::kTorqueLimit] = stored_[reg::kMaxTorque];
  working_[reg::kTorqueLimit + 1] = stored_[reg::kMaxTorque + 1];
  working_[reg::kLock] = 1;
  working_[reg::kVoltage] = 120;
  working_[reg::kTemperature] = 30;
  working_[reg::kMaxAcceleration] = 254;
}

void Memory::restore_factory() {
  const std::uint8_t id = working_[reg::kId];
  stored_ = kFactory;
  stored_[reg::kId] = id;
  std::copy(stored_.begin(), stored_.end(), working_.begin());
}

}  // namespace rl::emulator
