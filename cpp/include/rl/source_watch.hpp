/// How the source of set points behaves: whether they come steadily, whether too many of them are illegal.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace rl {

/// Five set points within 200 ms, or within six periods of a source that is slower than that.
class SteadyWatch {
 public:
  static constexpr std::size_t kEnough = 5;
  static constexpr std::int64_t kWindow = 200'000'000;  ///< ns
  static constexpr std::int64_t kPeriods = 6;

  void clear() noexcept { count_ = 0; }
  void arrived(std::int64_t at) noexcept { times_[count_++ % kEnough] = at; }
  [[nodiscard]] bool steady(std::int64_t now) const noexcept {
    if (count_ < kEnough) return false;
    return now - nth(0) <= std::max(kWindow, kPeriods * period());
  }

 private:
  /// The n-th of the last five, the oldest first.
  [[nodiscard]] std::int64_t nth(std::size_t n) const noexcept { return times_[(count_ + n) % kEnough]; }
  /// The lower middle of the last four: one silence between them is no period.
  [[nodiscard]] std::int64_t period() const noexcept {
    std::array<std::int64_t, kEnough - 1> gaps{};
    for (std::size_t n = 0; n < gaps.size(); ++n) gaps[n] = nth(n + 1) - nth(n);
    std::sort(gaps.begin(), gaps.end());
    return gaps[(gaps.size() - 1) / 2];
  }

  std::array<std::int64_t, kEnough> times_{};
  std::size_t count_ = 0;
};

/// Fifty within any second.
class BurstWatch {
 public:
  static constexpr std::uint64_t kMost = 50;
  static constexpr std::int64_t kWindow = 1'000'000'000;  ///< ns

  /// `total`: of all that there were so far. Those do not count.
  void begin(std::uint64_t total) noexcept {
    total_ = total;
    count_ = 0;
  }
  [[nodiscard]] bool burst(std::uint64_t total, std::int64_t now) noexcept {
    const std::uint64_t fresh = std::min(total - total_, kMost);
    total_ = total;
    for (std::uint64_t i = 0; i < fresh; ++i) times_[count_++ % kMost] = now;
    return count_ >= kMost && now - times_[count_ % kMost] < kWindow;
  }

 private:
  std::array<std::int64_t, kMost> times_{};
  std::uint64_t count_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace rl
