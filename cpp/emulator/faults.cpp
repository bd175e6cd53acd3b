#include "faults.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace rl::emulator {

namespace {
constexpr double kLongestMs = 60'000.0;
constexpr std::uint64_t kMostNoise = 8;

[[noreturn]] void refuse(const std::string& kind, const std::string& what) {
  throw std::invalid_argument("emulator: fault '" + kind + "': " + what);
}

bool contains(std::initializer_list<const char*> names, const std::string& name) {
  return std::any_of(names.begin(), names.end(), [&](const char* known) { return name == known; });
}
}  // namespace

void check_fields(const std::string& kind, const Fields& fields, std::initializer_list<const char*> needed,
                  std::initializer_list<const char*> optional) {
  for (const char* name : needed) {
    if (!fields.contains(name)) refuse(kind, std::string("needs ") + name);
  }
  for (const auto& [name, value] : fields) {
    if (!contains(needed, name) && !contains(optional, name)) refuse(kind, "has no field '" + name + "'");
    if (!std::isfinite(value)) refuse(kind, name + " is not finite");
  }
}

double field(const std::string& kind, const Fields& fields, const char* name, double low, double high) {
  const double value = fields.at(name);
  if (!(value >= low && value <= high)) {
    refuse(kind, std::string(name) + " is outside " + std::to_string(low) + " .. " + std::to_string(high));
  }
  return value;
}

Faults::Faults(std::uint64_t seed)
    : drop_(4 * seed), corrupt_(4 * seed + 1), noise_(4 * seed + 2), late_(4 * seed + 3) {}

bool Faults::set(const std::string& kind, const Fields& fields) {
  Fault* fault = kind == "drop"      ? &drop_
                 : kind == "corrupt" ? &corrupt_
                 : kind == "noise"   ? &noise_
                 : kind == "late"    ? &late_
                                     : nullptr;
  if (fault == nullptr) return false;
  if (fault == &late_) {
    check_fields(kind, fields, {"rate", "ms"}, {"id", "count"});
    late_ms_ = field(kind, fields, "ms", 0.0, kLongestMs);
  } else {
    check_fields(kind, fields, {"rate"}, {"id", "count"});
  }
  fault->rate = field(kind, fields, "rate", 0.0, 1.0);
  fault->id.reset();
  if (fields.contains("id")) fault->id = static_cast<std::uint8_t>(field(kind, fields, "id", 0.0, 253.0));
  fault->left = -1;
  if (fields.contains("count")) {
    fault->left = static_cast<std::int64_t>(field(kind, fields, "count", 0.0, 1e9));
  }
  return true;
}

bool Faults::Fault::strikes(std::uint8_t servo) {
  if (rate <= 0.0 || left == 0 || (id && *id != servo)) return false;
  const double draw = static_cast<double>(random() >> 11) * 0x1.0p-53;
  if (draw >= rate) return false;
  if (left > 0) --left;
  return true;
}

Fate Faults::strike(std::uint8_t id, Bytes& packet) {
  Fate fate;
  fate.dropped = drop_.strikes(id);
  if (corrupt_.strikes(id)) {
    fate.corrupted = true;
    const std::size_t where = static_cast<std::size_t>(corrupt_.below(packet.size()));
    packet[where] = static_cast<std::uint8_t>(packet[where] ^ (1 + corrupt_.below(255)));
  }
  if (noise_.strikes(id)) {
    fate.noise = static_cast<std::size_t>(1 + noise_.below(kMostNoise));
    Bytes noise(fate.noise);
    for (std::uint8_t& byte : noise) byte = static_cast<std::uint8_t>(noise_.below(256));
    packet.insert(packet.begin(), noise.begin(), noise.end());
  }
  if (late_.strikes(id)) fate.late_ns = static_cast<std::int64_t>(late_ms_ * 1e6);
  return fate;
}

}  // namespace rl::emulator
