/// Words that stand for the values of an enumeration, in their order.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace rl {

template <typename Enum, std::size_t Count>
[[nodiscard]] bool find_name(const std::array<std::string_view, Count>& names, std::string_view name,
                             Enum& out) noexcept {
  const auto* const found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return false;
  out = static_cast<Enum>(found - names.begin());
  return true;
}

}  // namespace rl
