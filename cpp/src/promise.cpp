#include "rl/promise.hpp"

#include <algorithm>
#include <cmath>

#include "rl/names.hpp"

namespace rl {
namespace {

QueueConfig plan_config(std::size_t width) {
  QueueConfig config;
  config.width = width;
  config.merge = Merge::real_time_chunking;
  return config;
}

}  // namespace

bool find_prefix_weights(std::string_view name, PrefixWeights& out) noexcept {
  constexpr std::array<std::string_view, 4> kNames = {"zeros", "ones", "linear", "exponential"};
  return find_name(kNames, name, out);
}

void prefix_weights(PrefixWeights schedule, std::size_t promised, std::size_t end,
                    std::span<double> out) noexcept {
  const std::size_t start = std::min(promised, end);
  std::fill(out.begin(), out.end(), 0.0);
  for (std::size_t k = 0; k < std::min(end, out.size()); ++k) {
    if (k < start || schedule == PrefixWeights::ones) {
      out[k] = 1;
    } else if (schedule != PrefixWeights::zeros) {  // the inner points of a line from 1 to 0
      const double falling = 1 - static_cast<double>(k - start + 1) / static_cast<double>(end - start + 1);
      const bool straight = schedule == PrefixWeights::linear;
      out[k] = straight ? falling : falling * std::expm1(falling) / std::expm1(1.0);
    }
  }
}

Promise::Promise(std::size_t width, std::size_t horizon)
    : plan_(plan_config(width)), horizon_(std::max<std::size_t>(horizon, 2)) {}

Promise::Prefix Promise::begin(std::int64_t observed, std::int64_t period, std::span<float> out) noexcept {
  Prefix prefix;
  std::array<double, kMostAxes> row{};
  const std::size_t most = std::min(horizon_, out.size() / width());
  if (!plan_.at(observed, {row.data(), width()})) return prefix;  // forgets what lies further back
  while (prefix.rows < most &&
         plan_.peek(observed + static_cast<std::int64_t>(prefix.rows) * period, {row.data(), width()})) {
    std::transform(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(width()),
                   out.begin() + static_cast<std::ptrdiff_t>(prefix.rows * width()),
                   [](double v) { return static_cast<float>(v); });
    ++prefix.rows;
  }
  prefix.promised = std::min(delay(), prefix.rows);
  return prefix;
}

std::size_t Promise::arrived(const ChunkView& chunk, std::int64_t now) noexcept {
  const std::int64_t waited = std::max<std::int64_t>(now - chunk.observed, 0);
  const auto consumed = static_cast<std::size_t>(waited / std::max<std::int64_t>(chunk.period, 1)) + 1;
  consumed_[arrivals_++ % kKept] =
      consumed;  // row 0 was due at once; a chunk that comes too late cost time too
  static_cast<void>(plan_.push(chunk, now));
  return consumed;
}

std::size_t Promise::delay() const noexcept {
  const std::size_t count = std::min(arrivals_, kKept);
  if (count == 0) return 1;
  std::array<std::size_t, kKept> sorted = consumed_;
  std::sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(count));
  const std::size_t rank = (count * 95 + 99) / 100;  // nearest rank
  return std::clamp<std::size_t>(sorted[rank - 1], 1, horizon_ - 1);
}

}  // namespace rl
