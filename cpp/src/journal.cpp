#include "rl/journal.hpp"

#include <algorithm>

namespace rl {

std::size_t Histogram::bin_of(std::uint64_t value) noexcept {
  if (value < (1ULL << kFine)) return value;
  const auto octave = static_cast<unsigned>(std::bit_width(value)) - 1 - kFine;
  return ((static_cast<std::size_t>(octave) + 1) << kFine) +
         static_cast<std::size_t>((value >> octave) - (1ULL << kFine));
}

double Histogram::middle_of(std::size_t bin) noexcept {
  if (bin < (1ULL << kFine)) return static_cast<double>(bin);
  const std::size_t octave = (bin >> kFine) - 1;
  const std::size_t within = bin & ((1ULL << kFine) - 1);
  const double width = static_cast<double>(1ULL << octave);
  return (static_cast<double>((1ULL << kFine) + within) + 0.5) * width;
}

void Histogram::add(std::int64_t value) noexcept {
  const std::int64_t bounded = std::max<std::int64_t>(value, 0);
  std::atomic<std::uint32_t>& bin = bins_[std::min(bin_of(static_cast<std::uint64_t>(bounded)), kBins - 1)];
  bin.store(bin.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // one writer
  count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (bounded > max_.load(std::memory_order_relaxed)) max_.store(bounded, std::memory_order_relaxed);
}

void Histogram::clear() noexcept {
  for (auto& bin : bins_) bin.store(0, std::memory_order_relaxed);
  count_.store(0, std::memory_order_relaxed);
  max_.store(0, std::memory_order_relaxed);
}

double Histogram::quantile(double part) const noexcept {
  std::uint64_t total = 0;
  for (const auto& bin : bins_) total += bin.load(std::memory_order_relaxed);
  if (total == 0) return 0;
  const double wanted = part * static_cast<double>(total);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBins; ++i) {
    seen += bins_[i].load(std::memory_order_relaxed);
    if (seen > 0 && static_cast<double>(seen) >= wanted) {
      return std::min(middle_of(i), static_cast<double>(max()));
    }
  }
  return static_cast<double>(max());
}

void RecordRing::touch() noexcept {
  constexpr std::size_t kPage = 4096 / sizeof(std::uint64_t);
  for (std::size_t i = 0; i < capacity_ * stride_; i += kPage) words_[i].store(0, std::memory_order_relaxed);
}

void RecordRing::push(const CycleRecord& record, std::span<const double> values, std::span<const double> goal,
                      std::span<const double> requested) noexcept {
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  auto* word = &words_[(head & (capacity_ - 1)) * stride_];
  const auto put = [&word](std::uint64_t value) { (word++)->store(value, std::memory_order_release); };
  const std::array<std::int64_t, kHead> fields = {record.cycle,
                                                  record.deadline,
                                                  record.woke,
                                                  record.wrote,
                                                  record.read,
                                                  record.done,
                                                  record.captured,
                                                  static_cast<std::int64_t>(record.missing),
                                                  static_cast<std::int64_t>(record.skipped),
                                                  static_cast<std::int64_t>(record.state)};
  for (const std::int64_t field : fields) put(static_cast<std::uint64_t>(field));
  for (const std::span<const double> part : {values, goal, requested}) {
    for (const double v : part) put(std::bit_cast<std::uint64_t>(v));
  }
  head_.store(head + 1, std::memory_order_release);
}

bool RecordRing::copy(std::uint64_t index, CycleRecord& record, std::span<double> values,
                      std::span<double> goal, std::span<double> requested) const noexcept {
  const std::uint64_t head = head_.load(std::memory_order_acquire);
  if (index >= head || head >= index + capacity_) return false;
  const auto* word = &words_[(index & (capacity_ - 1)) * stride_];
  const auto take = [&word] { return (word++)->load(std::memory_order_acquire); };
  record.cycle = static_cast<std::int64_t>(take());
  record.deadline = static_cast<std::int64_t>(take());
  record.woke = static_cast<std::int64_t>(take());
  record.wrote = static_cast<std::int64_t>(take());
  record.read = static_cast<std::int64_t>(take());
  record.done = static_cast<std::int64_t>(take());
  record.captured = static_cast<std::int64_t>(take());
  record.missing = take();
  record.skipped = take();
  record.state = static_cast<State>(take());
  for (const std::span<double> part : {values, goal, requested}) {
    for (double& v : part) v = std::bit_cast<double>(take());
  }
  return head_.load(std::memory_order_relaxed) < index + capacity_;
}

}  // namespace rl
