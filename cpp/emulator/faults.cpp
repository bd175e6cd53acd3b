#include "faults.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
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
    std::array<char, 64> bounds{};
    std::snprintf(bounds.data(), bounds.size(), " is outside %g .. %g", low, high);
    refuse(kind, name + std::string(bounds.data()));
  }
  return value;
}

Faults::Faults(std::uint64_t seed)
    : drop_(4 * seed),
      corrupt_(4 * seed + 1),
      noise_(4 * seed + 2),
      late_(4 * seed + 3),
      duplicate_(~(4 * seed)),
      split_(~(4 * seed + 1)) {}

Faults::Fault* Faults::named(const std::string& kind) {
  if (kind == "drop") return &drop_;
  if (kind == "corrupt") return &corrupt_;
  if (kind == "noise") return &noise_;
  if (kind == "late") return &late_;
  if (kind == "duplicate") return &duplicate_;
  if (kind == "split") return &split_;
  return nullptr;
}

bool Faults::set(const std::string& kind, const Fields& fields) {
  Fault* fault = named(kind);
  if (fault == nullptr) return false;
  const bool waits = fault == &late_ || fault == &split_;
  const bool ended = fields.contains("rate") && fields.at("rate") == 0.0;
  if (waits && ended) {
    check_fields(kind, fields, {"rate"}, {"ms", "most_ms", "id", "count"});
  } else if (waits) {
    check_fields(kind, fields, {"rate", "ms"}, {"most_ms", "id", "count"});
  } else if (fault == &noise_) {
    check_fields(kind, fields, {"rate"}, {"inside", "id", "count"});
  } else {
    check_fields(kind, fields, {"rate"}, {"id", "count"});
  }
  const auto optional = [&](const char* name, double low, double high, double otherwise) {
    return fields.contains(name) ? field(kind, fields, name, low, high) : otherwise;
  };
  const double rate = field(kind, fields, "rate", 0.0, 1.0);
  const double ms = optional("ms", 0.0, kLongestMs, 0.0);
  const double most_ms = optional("most_ms", ms, kLongestMs, ms);
  const bool inside = optional("inside", 0.0, 1.0, 0.0) != 0.0;
  const auto id = static_cast<int>(optional("id", 0.0, 253.0, -1.0));
  const auto left = static_cast<std::int64_t>(optional("count", 0.0, 1e9, -1.0));
  fault->rate = rate;  // from here on nothing is refused: a wrong call has changed nothing
  fault->ms = ms;
  fault->most_ms = most_ms;
  fault->inside = inside;
  fault->left = left;
  fault->id.reset();
  if (id >= 0) fault->id = static_cast<std::uint8_t>(id);
  return true;
}

bool Faults::Fault::strikes(std::uint8_t servo) {
  if (rate <= 0.0 || left == 0 || (id && *id != servo)) return false;
  if (part() >= rate) return false;
  if (left > 0) --left;
  return true;
}

std::int64_t Faults::Fault::wait_ns() {
  return static_cast<std::int64_t>((ms + (most_ms > ms ? (most_ms - ms) * part() : 0.0)) * 1e6);
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
    const std::size_t where =
        noise_.inside ? static_cast<std::size_t>(1 + noise_.below(packet.size() - 1)) : 0;
    packet.insert(packet.begin() + static_cast<std::ptrdiff_t>(where), noise.begin(), noise.end());
  }
  if (late_.strikes(id)) fate.late_ns = late_.wait_ns();
  fate.duplicated = duplicate_.strikes(id);
  if (split_.strikes(id)) {
    fate.split = static_cast<std::size_t>(1 + split_.below(packet.size() - 1));
    fate.split_ns = split_.wait_ns();
  }
  return fate;
}

}  // namespace rl::emulator
