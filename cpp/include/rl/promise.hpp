/// What a policy is told that plans while its last plan still runs: real-time chunking (Black, Galliker and
/// Levine 2025, arXiv:2506.07339).
///
/// When the inference for an observation begins, the running plan's rows from that instant on are its prefix:
/// the first `promised` of them will be executed whatever comes, the others may still change. How many rows
/// an inference costs is counted in rows that were due until its chunk came, never guessed from the slowest.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "rl/action_queue.hpp"

namespace rl {

/// How firmly the rows that are not promised are to be kept, falling to 0 at the end of the prefix.
enum class PrefixWeights : std::uint8_t { zeros, ones, linear, exponential };
[[nodiscard]] bool find_prefix_weights(std::string_view name, PrefixWeights& out) noexcept;

/// Weights (T,) in [0, 1]: 1 for the `promised` rows, by the schedule up to row `end`, then 0.
void prefix_weights(PrefixWeights schedule, std::size_t promised, std::size_t end,
                    std::span<double> out) noexcept;

/// Belongs to who infers. Keeps the same plan as the loop's queue does, from the same chunks.
class Promise {
 public:
  /// horizon: most rows of a prefix, at least 2.
  Promise(std::size_t width, std::size_t horizon);

  struct Prefix {
    std::size_t rows = 0;
    std::size_t promised = 0;
  };
  /// An inference on what was seen at `observed` begins: its prefix, into (horizon, A). No rows before the
  /// first chunk, nor where the running plan ends.
  [[nodiscard]] Prefix begin(std::int64_t observed, std::int64_t period, std::span<float> out) noexcept;
  /// The chunk of that observation is pushed at `now`. The rows that were due until then.
  std::size_t arrived(const ChunkView& chunk, std::int64_t now) noexcept;
  /// Rows that the next inference will cost: the 95th part of the last 32, within 1 .. horizon - 1.
  [[nodiscard]] std::size_t delay() const noexcept;
  [[nodiscard]] std::size_t width() const noexcept { return plan_.config().width; }
  [[nodiscard]] std::size_t horizon() const noexcept { return horizon_; }
  /// The plan is over, as after a stop; the delays are kept.
  void clear() noexcept { plan_.clear(); }

 private:
  static constexpr std::size_t kKept = 32;
  ActionQueue plan_;
  std::size_t horizon_;
  std::array<std::size_t, kKept> consumed_{};
  std::size_t arrivals_ = 0;
};

}  // namespace rl
