/// Actions by the time they are due. New chunks are merged, never waited for; rows that are late are skipped
/// by time, never bunched.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "rl/ensembler.hpp"
#include "rl/trajectory.hpp"

namespace rl {

constexpr std::size_t kMostAxes = 64;
constexpr std::size_t kMostRows = 512;             ///< of one chunk
constexpr std::int64_t kStaleAfter = 500'000'000;  ///< ns; a chunk observed longer ago is refused

enum class Merge : std::uint8_t {
  replace,
  ensemble,
  crossfade,
  weighted_average,
  latest_only,
  average,
  conservative,
  append,              ///< the running plan is carried out to its end
  real_time_chunking,  ///< what was promised of the running plan stays, then the new one
};
[[nodiscard]] bool find_merge(std::string_view name, Merge& out) noexcept;

enum class Refusal : std::uint8_t { none, empty, duplicate, not_finite, width, stale, full, future };
constexpr std::size_t kRefusals = 8;
/// "" for none.
[[nodiscard]] const char* to_string(Refusal refusal) noexcept;

/// A chunk (rows, A): row k is due at `observed` + k `period`, ns.
struct ChunkView {
  std::int64_t observed = 0;
  std::int64_t period = 0;
  std::size_t rows = 0;
  std::span<const float> values;
  std::size_t promised = 0;  ///< real_time_chunking: rows that were to be the running plan's (promise.hpp)
};

struct QueueConfig {
  std::size_t width = 1;
  Merge merge = Merge::replace;
  double coefficient = 0.01;  ///< of the ensembling
  std::size_t crossfade = 0;  ///< rows over which the old plan fades into the new one
  Interpolation interpolation = Interpolation::linear;
  bool keep_last = false;  ///< setpoints: the last one stays due until another comes
};

/// Whether a chunk may be merged at all, apart from what the queue holds.
[[nodiscard]] Refusal judge_chunk(const ChunkView& chunk, std::size_t width, std::int64_t now) noexcept;

/// Allocates when it is made, never later.
class ActionQueue {
 public:
  explicit ActionQueue(const QueueConfig& config);

  /// Merges what is due at `now` or later.
  [[nodiscard]] Refusal push(const ChunkView& chunk, std::int64_t now) noexcept;
  /// Judges it alike and forgets it: nobody listens now, but nothing older is taken later.
  [[nodiscard]] Refusal pass_over(const ChunkView& chunk, std::int64_t now) noexcept;
  /// The action due at `now`, into (A,); false when nothing covers it. Forgets what lies further back.
  [[nodiscard]] bool at(std::int64_t now, std::span<double> out) noexcept;
  /// The same without forgetting anything.
  [[nodiscard]] bool peek(std::int64_t now, std::span<double> out) const noexcept;
  /// Actions still due after `now`.
  [[nodiscard]] std::size_t remaining(std::int64_t now) const noexcept;
  /// Nothing is due any more; how new the newest was stays known.
  void clear() noexcept;
  [[nodiscard]] const QueueConfig& config() const noexcept { return config_; }

 private:
  static constexpr std::size_t kCapacity = 2 * kMostRows;
  struct Storage {
    std::vector<std::int64_t> times;
    std::vector<std::size_t> counts;  ///< predictions in the mean of each
    std::vector<float> values;
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  [[nodiscard]] std::span<const float> row(const Storage& storage, std::size_t i) const noexcept {
    return {storage.values.data() + i * config_.width, config_.width};
  }
  /// Index of the last knot due at or before `time`; `begin - 1` wraps to npos.
  [[nodiscard]] std::size_t last_before(std::int64_t time) const noexcept;
  [[nodiscard]] bool covers(std::int64_t time) const noexcept;
  [[nodiscard]] double sample(std::size_t axis, std::int64_t time) const noexcept;
  [[nodiscard]] Refusal judge(const ChunkView& chunk, std::int64_t now) const noexcept;
  bool append(std::int64_t time, std::size_t count, std::span<const float> values) noexcept;
  void append_old(std::size_t i) noexcept;
  void merge_replacing(const ChunkView& chunk, std::size_t first, std::int64_t now) noexcept;
  void merge_appending(const ChunkView& chunk, std::size_t first) noexcept;
  void append_beyond(const ChunkView& chunk, std::size_t first) noexcept;
  [[nodiscard]] std::size_t first_unpromised(const ChunkView& chunk, std::size_t first) const noexcept;
  void merge_blending(const ChunkView& chunk, std::size_t first, std::int64_t now) noexcept;
  void blend_old(std::size_t i, const ChunkView& chunk) noexcept;

  QueueConfig config_;
  EnsembleWeights weights_;
  Storage now_;
  Storage next_;
  std::vector<float> scratch_;
  std::int64_t hold_ = 0;     ///< how long the last knot stays due
  std::int64_t newest_ = -1;  ///< when the newest chunk was observed; legal ones are not before 0
};

}  // namespace rl
