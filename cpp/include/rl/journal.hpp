/// What the loop leaves behind: timing histograms, the ring of cycle records, the list of states.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <span>

#include "rl/safety.hpp"

namespace rl {

/// Counts of durations, ns, in bins of 1/64 of an octave: a percentile is exact to 1.6 %.
/// One writer; readers may look at any time (each bin is whole, the set may be a few samples apart).
class Histogram {
 public:
  void add(std::int64_t value) noexcept;
  void clear() noexcept;
  [[nodiscard]] std::uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t max() const noexcept { return max_.load(std::memory_order_relaxed); }
  /// Of 0..1; 0 when empty.
  [[nodiscard]] double quantile(double part) const noexcept;

 private:
  static constexpr unsigned kFine = 6;  // bits below the leading one
  static constexpr std::size_t kBins = (64 - kFine) << kFine;
  static std::size_t bin_of(std::uint64_t value) noexcept;
  static double middle_of(std::size_t bin) noexcept;

  std::array<std::atomic<std::uint32_t>, kBins> bins_{};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::int64_t> max_{0};
};

/// Times are monotonic ns.
struct CycleRecord {
  std::int64_t cycle = 0;
  std::int64_t deadline = 0;
  std::int64_t woke = 0;
  std::int64_t wrote = 0;  ///< stamped directly before the goal's write; 0: none was written
  std::int64_t read = 0;
  std::int64_t done = 0;
  std::int64_t captured = 0;  ///< newest reply of this cycle
  std::uint64_t missing = 0;  ///< bit j: joint j did not answer
  std::uint64_t skipped = 0;  ///< bit j: joint j was not asked
  State state = State::disarmed;
};

/// The last `capacity` cycles, written by the loop, read by anyone.
///
/// Invariant: record i lies in slot i mod capacity; `head_` counts finished records and is stored (release)
/// after their words. A reader's copy of record i is whole when, after copying with acquire, head_ < i +
/// capacity: a word of a newer record in that slot was stored after head_ had reached i + capacity, and the
/// reader would see that.
class RecordRing {
 public:
  using Word = std::atomic<std::uint64_t>;
  static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

  /// `capacity` is a power of two; `words` holds `words_for` zeros, `head` is 0 at first. Both outlive this.
  RecordRing(std::size_t capacity, std::size_t axes, Word* words, Word& head) noexcept
      : capacity_(capacity), stride_(kHead + 3 * axes), words_(words), head_(head) {}
  [[nodiscard]] static constexpr std::size_t words_for(std::size_t capacity, std::size_t axes) noexcept {
    return capacity * (kHead + 3 * axes);
  }

  void push(const CycleRecord& record, std::span<const double> values, std::span<const double> goal,
            std::span<const double> requested) noexcept;
  [[nodiscard]] std::uint64_t head() const noexcept { return head_.load(std::memory_order_acquire); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  /// False when the record is gone or not there yet. The spans hold `axes` elements each.
  [[nodiscard]] bool copy(std::uint64_t index, CycleRecord& record, std::span<double> values,
                          std::span<double> goal, std::span<double> requested) const noexcept;
  /// Takes the memory's page faults now instead of in the loop.
  void touch() noexcept;

 private:
  static constexpr std::size_t kHead = 10;
  std::size_t capacity_;
  std::size_t stride_;
  Word* words_;
  Word& head_;
};

struct StateEvent {
  State state = State::disarmed;
  Reason reason = Reason::none;
  int joint = -1;
  std::int64_t at = 0;
};

/// The first 1,024 changes of state: appended by the loop, `size` is stored after the entry.
class StateLog {
 public:
  void push(const StateEvent& event) noexcept {
    const std::size_t n = size_.load(std::memory_order_relaxed);
    if (n >= events_.size()) return;
    events_[n] = event;
    size_.store(n + 1, std::memory_order_release);
  }
  [[nodiscard]] std::span<const StateEvent> events() const noexcept {
    return {events_.data(), std::min(size_.load(std::memory_order_acquire), events_.size())};
  }

 private:
  std::array<StateEvent, 1024> events_{};
  std::atomic<std::size_t> size_{0};
};

/// The loop's counters: written by the loop alone, read by anyone.
struct JournalBoard {
  std::atomic<std::uint64_t> records{0};  ///< head of the ring
  StateLog states;
  Histogram period_error;
  Histogram wake;
  Histogram read;
  std::atomic<std::uint64_t> cycles{0};
  std::atomic<std::uint64_t> active_cycles{0};
  std::atomic<std::uint64_t> active_writes{0};
  std::atomic<std::uint64_t> misses{0};
  std::atomic<std::uint64_t> late_reads{0};
  std::atomic<std::int64_t> between{0};  ///< ns from one of them to the next, without the time in HOLD: the
                                         ///< sum of the intervals of `period_error`

  /// While in motion; 0 before the second goal.
  [[nodiscard]] double reached_hz() const noexcept {
    const auto seconds = static_cast<double>(between.load(std::memory_order_relaxed)) * 1e-9;
    return seconds > 0 ? static_cast<double>(period_error.count()) / seconds : 0;
  }
  /// In motion, s: each goal holds for a period of `rate` where none followed.
  [[nodiscard]] double active_seconds(double rate) const noexcept {
    const double goals = static_cast<double>(active_writes.load(std::memory_order_relaxed));
    const double last = goals - static_cast<double>(period_error.count());
    return static_cast<double>(between.load(std::memory_order_relaxed)) * 1e-9 + last / rate;
  }
};

}  // namespace rl
