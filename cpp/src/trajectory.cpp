#include "rl/trajectory.hpp"

#include <array>

#include "rl/names.hpp"

namespace rl {

bool find_interpolation(std::string_view name, Interpolation& out) noexcept {
  constexpr std::array<std::string_view, 3> kNames = {"linear", "cubic", "critically_damped"};
  return find_name(kNames, name, out);
}

}  // namespace rl
