#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>

#include "wire.hpp"

/// What goes wrong on the way of a reply to the host. Everything is drawn from seeded generators, one for
/// each kind, so that switching one fault on does not change when another one strikes.
namespace rl::emulator {

using Fields = std::map<std::string, double>;

/// What the faults do to one reply packet.
struct Fate {
  bool dropped = false;
  bool corrupted = false;
  std::size_t noise = 0;     ///< bytes of noise that were put before it
  std::int64_t late_ns = 0;  ///< held back by the adapter
  bool duplicated = false;
  std::size_t split = 0;  ///< bytes that come at once, the rest `split_ns` later; 0: in one piece
  std::int64_t split_ns = 0;
};

class Faults {
 public:
  explicit Faults(std::uint64_t seed);

  /// Sets a fault on replies: drop, corrupt, duplicate (rate), noise (rate; inside 1: within the packet
  /// instead of before it), late, split (rate, ms; most_ms: drawn evenly from ms to most_ms). Optional
  /// fields: `id`, strike only this motor; `count`, strike at most so many replies. Rate 0 ends it. False
  /// when `kind` is another one. std::invalid_argument when a field is missing, unknown or out of range.
  bool set(const std::string& kind, const Fields& fields);

  /// Decides about one reply and damages `packet` accordingly.
  Fate strike(std::uint8_t id, Bytes& packet);

 private:
  struct Fault {
    std::mt19937_64 random;
    double rate = 0.0;
    std::optional<std::uint8_t> id;
    std::int64_t left = -1;  // replies that it may still strike; negative: no end
    double ms = 0.0, most_ms = 0.0;
    bool inside = false;

    explicit Fault(std::uint64_t seed) : random(seed) {}
    [[nodiscard]] bool strikes(std::uint8_t servo);
    [[nodiscard]] std::uint64_t below(std::uint64_t bound) { return random() % bound; }
    [[nodiscard]] double part() { return static_cast<double>(random() >> 11) * 0x1.0p-53; }
    [[nodiscard]] std::int64_t wait_ns();
  };

  [[nodiscard]] Fault* named(const std::string& kind);

  Fault drop_, corrupt_, noise_, late_, duplicate_, split_;
};

/// Checks the fields of a fault: all of `needed`, any of `optional`, nothing else, every one finite.
/// std::invalid_argument names the fault and the field.
void check_fields(const std::string& kind, const Fields& fields, std::initializer_list<const char*> needed,
                  std::initializer_list<const char*> optional = {});

/// A field's value inside [low, high]; std::invalid_argument otherwise.
[[nodiscard]] double field(const std::string& kind, const Fields& fields, const char* name, double low,
                           double high);

}  // namespace rl::emulator
