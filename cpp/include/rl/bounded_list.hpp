/// A list of bounded length without a pointer: it may lie in memory that several processes share.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>

namespace rl {

/// What does not fit is left out; who fills it checks the number first.
template <typename T, std::size_t Most>
class BoundedList {
 public:
  constexpr BoundedList() = default;
  constexpr BoundedList(std::initializer_list<T> items)
      : BoundedList(std::span(items.begin(), items.size())) {}
  constexpr explicit BoundedList(std::span<const T> items) : size_(std::min(items.size(), Most)) {
    std::copy_n(items.begin(), size_, items_.begin());
  }

  constexpr void push_back(const T& item) {
    if (size_ < Most) items_[size_++] = item;
  }
  /// Bounded whatever the memory holds: another process wrote it.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return std::min(size_, Most); }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] constexpr const T& operator[](std::size_t i) const noexcept { return items_[i]; }
  [[nodiscard]] constexpr T& operator[](std::size_t i) noexcept { return items_[i]; }
  [[nodiscard]] constexpr const T* begin() const noexcept { return items_.data(); }
  [[nodiscard]] constexpr const T* end() const noexcept { return items_.data() + size(); }
  [[nodiscard]] constexpr T* begin() noexcept { return items_.data(); }
  [[nodiscard]] constexpr T* end() noexcept { return items_.data() + size(); }

 private:
  std::array<T, Most> items_{};
  std::size_t size_ = 0;
};

}  // namespace rl
