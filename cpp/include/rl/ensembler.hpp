/// ACT's temporal ensembling and the field's queue aggregation, as pure parts.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rl {

/// Weights of the predictions that several chunks made for one instant: w_i = exp(-m i), i = 0 the oldest.
/// Source: ACT, arXiv 2304.13705, algorithm 2.
class EnsembleWeights {
 public:
  EnsembleWeights(std::size_t count, double coefficient);
  [[nodiscard]] std::size_t size() const noexcept { return weight_.size(); }
  /// The mean `a` of `n` predictions with one more: (a C[n-1] + x w[n]) / C[n]. n is at least 1.
  [[nodiscard]] float blend(float mean, std::size_t n, float x) const noexcept {
    const std::size_t k = n < weight_.size() ? n : weight_.size() - 1;
    return (mean * sum_[k - 1] + x * weight_[k]) / sum_[k];
  }

 private:
  std::vector<float> weight_;
  std::vector<float> sum_;
};

/// The weighted mean over overlapping chunks, one chunk a step. float32, as the reference.
class TemporalEnsembler {
 public:
  TemporalEnsembler(std::size_t chunk, double coefficient);
  void reset() noexcept;
  /// `chunk` is (T, A), row-major; writes the action (A,) of this step. The width is fixed by the first call
  /// after a reset; another width or height is refused (false).
  [[nodiscard]] bool update(std::span<const float> chunk, std::size_t width, std::span<float> action);
  [[nodiscard]] std::size_t chunk() const noexcept { return chunk_; }

 private:
  std::size_t chunk_;
  EnsembleWeights weights_;
  std::size_t width_ = 0;
  std::vector<float> mean_;         ///< (rows, A) of the coming steps
  std::vector<std::size_t> count_;  ///< predictions in each
};

enum class Aggregation : std::uint8_t { weighted_average, latest_only, average, conservative };

/// old * first + new * second; false when there is no such name.
[[nodiscard]] bool find_aggregation(std::string_view name, Aggregation& out) noexcept;
struct Mix {
  float old_part = 0;
  float new_part = 1;
};
[[nodiscard]] Mix mix_of(Aggregation aggregation) noexcept;

/// A queue of timestep-labelled actions, as the rival keeps it.
struct StepQueue {
  std::vector<std::int64_t> steps;
  std::vector<double> times;
  std::vector<float> actions;  ///< (n, A)
};

/// The rival's merge, kept for comparison: incoming entries not later than `latest` are dropped, those that
/// the queue also has are mixed, and the result REPLACES the queue (its uncovered tail is lost).
[[nodiscard]] StepQueue merge_aggregate(const StepQueue& queue, const StepQueue& incoming, std::size_t width,
                                        std::int64_t latest, Aggregation aggregation);

}  // namespace rl
