/// How the loop and the rest of the process meet: no lock, no wait, no allocation. Invariants stand with each
/// class.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace rl {

/// Newest value from one writer to any number of readers; the writer never waits.
///
/// Invariant: `version_` is odd exactly while the words are being written. A reader that sees the same even
/// version before and after its copy has copied one value, whole. Proof sketch: a word of a newer value is
/// read with acquire from a release store, which comes after the odd version was stored; the second look at
/// the version must then see the change. One writer only: two writers could both make the version even while
/// the words are mixed. No fences: ThreadSanitizer does not model them, and these orders need none.
template <typename T>
class Seqlock {
  static_assert(std::is_trivially_copyable_v<T>, "the value is copied word by word");
  static constexpr std::size_t kWords = (sizeof(T) + 7) / 8;

 public:
  void store(const T& value) noexcept {
    // Even, also where a writer was killed in the midst of it: who takes its place makes the value whole
    // again.
    const std::uint32_t version = version_.load(std::memory_order_relaxed) & ~1U;
    version_.store(version + 1, std::memory_order_relaxed);
    const auto* const bytes = reinterpret_cast<const std::byte*>(&value);
    for (std::size_t i = 0; i < kWords; ++i) {
      std::uint64_t word = 0;
      const std::size_t left = sizeof(T) - 8 * i;
      std::memcpy(&word, bytes + 8 * i, left < 8 ? left : 8);
      words_[i].store(word, std::memory_order_release);
    }
    version_.store(version + 2, std::memory_order_release);
  }

  /// True and a whole value, or false when the writer was busy.
  [[nodiscard]] bool try_load(T& out) const noexcept {
    const std::uint32_t before = version_.load(std::memory_order_acquire);
    if ((before & 1U) != 0) return false;
    auto* const bytes = reinterpret_cast<std::byte*>(&out);
    for (std::size_t i = 0; i < kWords; ++i) {
      const std::uint64_t word = words_[i].load(std::memory_order_acquire);
      const std::size_t left = sizeof(T) - 8 * i;
      std::memcpy(bytes + 8 * i, &word, left < 8 ? left : 8);
    }
    return version_.load(std::memory_order_relaxed) == before;
  }

  /// For readers that may spin: the writer is busy for a microsecond.
  void load(T& out) const noexcept {
    while (!try_load(out)) {
    }
  }

 private:
  alignas(64) std::atomic<std::uint32_t> version_{0};
  alignas(64) std::array<std::atomic<std::uint64_t>, kWords> words_{};
};

/// Fixed slots from one producer to one consumer.
///
/// Invariant: `head_` is written by the producer alone, `tail_` by the consumer alone; both only grow. A slot
/// is the producer's until `head_` passes it (release) and the consumer's until `tail_` does (release).
/// The capacity is a power of two, so that the indices may wrap.
template <typename Slot, std::size_t Capacity>
class SpscRing {
  static_assert((Capacity & (Capacity - 1)) == 0);
  static constexpr std::size_t kMask = Capacity - 1;

 public:
  /// The slot to fill, or nullptr when the ring is full. Producer only.
  [[nodiscard]] Slot* front_free() noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == Capacity) return nullptr;
    return &slots_[head & kMask];
  }
  void publish() noexcept {
    head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  /// The oldest slot, or nullptr when the ring is empty. Consumer only.
  [[nodiscard]] Slot* oldest() noexcept {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (head_.load(std::memory_order_acquire) == tail) return nullptr;
    return &slots_[tail & kMask];
  }
  void consume() noexcept {
    tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

 private:
  std::array<Slot, Capacity> slots_{};
  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
};

}  // namespace rl
