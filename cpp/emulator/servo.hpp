#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "memory.hpp"
#include "wire.hpp"

namespace rl::emulator {

/// What a servo did with a request that was meant for it.
struct Outcome {
  bool understood = false;       ///< else it stays silent
  std::uint8_t answers_as = 0;   ///< its id when the request came; an id write answers under the old one
  Bytes parameters;              ///< of the reply
  std::size_t stored_bytes = 0;  ///< bytes that went into the EEPROM: slow
};

/// One STS3215: memory, protocol answers, and a body that moves.
///
/// The body is a first-order lag behind an inner set point, which runs to the goal with limited speed and
/// acceleration. Positions are steps in the frame of the Present_Position register (offset already applied).
/// Position mode only: in any other mode, and without torque, the body keeps its pose.
class Servo {
 public:
  Servo(std::uint8_t id, double lag_s);

  [[nodiscard]] std::uint8_t id() const { return memory_.byte(reg::kId); }
  [[nodiscard]] const Memory& memory() const { return memory_; }
  [[nodiscard]] std::uint8_t status() const;  ///< bits of the status byte
  [[nodiscard]] int position() const;         ///< Present_Position, steps
  [[nodiscard]] bool answers_writes() const { return memory_.byte(reg::kResponseLevel) != 0; }
  [[nodiscard]] std::int64_t return_delay_ns() const;
  [[nodiscard]] unsigned rate() const;  ///< bit/s at which it listens and speaks; 0: an unknown code

  /// True while it starts up after a reboot: it hears nothing.
  [[nodiscard]] bool booting(std::int64_t now) const { return now < booted_at_; }

  void advance(std::int64_t now);  ///< moves the body to `now` (monotonic ns)
  /// A hand moves the body to a place of the encoder (no offset applied): steps, steps per second.
  void carry(double actual, double velocity);
  void set_overload(bool on) { overload_ = on; }
  void place(std::size_t address, std::span<const std::uint8_t> data);  ///< sets registers past every rule

  [[nodiscard]] Outcome read(std::size_t address, std::size_t count);
  [[nodiscard]] Outcome write(std::size_t address, std::span<const std::uint8_t> data);
  [[nodiscard]] Outcome hold_write(std::size_t address, std::span<const std::uint8_t> data);
  [[nodiscard]] Outcome act();
  [[nodiscard]] Outcome restore_factory();
  void reboot(std::int64_t now);

 private:
  [[nodiscard]] Outcome done() const { return {true, id(), {}, 0}; }
  [[nodiscard]] bool driven() const;
  [[nodiscard]] double target() const;
  [[nodiscard]] double top_speed() const;
  [[nodiscard]] double top_acceleration() const;
  [[nodiscard]] int offset() const;
  void step(double seconds, double goal);
  void rest();
  void reframe(int old_offset);
  void take_middle();
  void refresh();

  Memory memory_;
  double lag_s_;
  double position_ = 2047.0;
  double velocity_ = 0.0;
  double set_point_ = 2047.0;
  double set_speed_ = 0.0;
  std::int64_t now_ = 0;
  std::int64_t booted_at_ = 0;
  bool overload_ = false;
  std::uint8_t forced_status_ = 0;
  std::optional<std::pair<std::size_t, Bytes>> held_;
};

}  // namespace rl::emulator
