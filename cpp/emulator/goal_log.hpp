#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arm.hpp"

namespace rl::emulator {

using Goals = std::array<std::int32_t, kJoints>;

/// When goals came and which, the newest `kCapacity` of them. Never allocates after its construction.
class GoalLog {
 public:
  static constexpr std::size_t kCapacity = 100'000;

  GoalLog() : times_(kCapacity), rows_(kCapacity) {}

  void push(std::int64_t at, const Goals& goals) {
    times_[written_ % kCapacity] = at;
    rows_[written_ % kCapacity] = goals;
    ++written_;
  }

  /// Oldest first.
  [[nodiscard]] std::vector<std::int64_t> times() const { return ordered(times_); }
  [[nodiscard]] std::vector<Goals> rows() const { return ordered(rows_); }

 private:
  template <typename T>
  [[nodiscard]] std::vector<T> ordered(const std::vector<T>& ring) const {
    const std::size_t count = written_ < kCapacity ? written_ : kCapacity;
    std::vector<T> result;
    result.reserve(count);
    for (std::size_t i = written_ - count; i < written_; ++i) result.push_back(ring[i % kCapacity]);
    return result;
  }

  std::vector<std::int64_t> times_;
  std::vector<Goals> rows_;
  std::size_t written_ = 0;
};

}  // namespace rl::emulator
