/// A line of text of bounded length without a pointer: it may lie in memory that several processes share.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace rl {

template <std::size_t Size>
class Text {
 public:
  constexpr Text() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): a label stands where a string stood
  constexpr Text(std::string_view text) noexcept { assign(text); }
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr Text(const char* text) noexcept { assign(text); }

  /// What does not fit is cut.
  constexpr void assign(std::string_view text) noexcept {
    size_ = std::min(text.size(), Size);
    std::copy_n(text.begin(), size_, bytes_.begin());
  }
  /// Bounded whatever the memory holds: another process wrote it.
  [[nodiscard]] constexpr std::string_view view() const noexcept {
    return {bytes_.data(), std::min(size_, Size)};
  }
  [[nodiscard]] std::string string() const { return std::string(view()); }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }

 private:
  std::array<char, Size> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace rl
