#include "rl/trajectory.hpp"

#include <array>

namespace rl {

bool find_interpolation(std::string_view name, Interpolation& out) noexcept {
  constexpr std::array<std::string_view, 3> kNames = {"linear", "cubic", "critically_damped"};
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return false;
  out = static_cast<Interpolation>(found - kNames.begin());
  return true;
}

}  // namespace rl
