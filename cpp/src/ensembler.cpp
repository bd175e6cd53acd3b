#include "rl/ensembler.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "rl/names.hpp"

namespace rl {

EnsembleWeights::EnsembleWeights(std::size_t count, double coefficient) : weight_(count), sum_(count) {
  float total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    weight_[i] = std::exp(static_cast<float>(-coefficient) * static_cast<float>(i));
    total += weight_[i];
    sum_[i] = total;
  }
}

TemporalEnsembler::TemporalEnsembler(std::size_t chunk, double coefficient)
    : chunk_(chunk), weights_(chunk, coefficient) {}

void TemporalEnsembler::reset() noexcept {
  mean_.clear();
  count_.clear();
  width_ = 0;
}

bool TemporalEnsembler::update(std::span<const float> chunk, std::size_t width, std::span<float> action) {
  if (width == 0 || action.size() != width || chunk.size() != chunk_ * width) return false;
  if (width_ != 0 && width_ != width) return false;
  width_ = width;
  const std::size_t known = count_.size();
  for (std::size_t row = 0; row < known; ++row) {
    for (std::size_t k = row * width; k < (row + 1) * width; ++k) {
      mean_[k] = weights_.blend(mean_[k], count_[row], chunk[k]);
    }
    count_[row] = std::min(count_[row] + 1, chunk_);
  }
  mean_.insert(mean_.end(), chunk.begin() + static_cast<std::ptrdiff_t>(known * width), chunk.end());
  count_.resize(chunk_, 1);
  std::copy_n(mean_.begin(), width, action.begin());
  mean_.erase(mean_.begin(), mean_.begin() + static_cast<std::ptrdiff_t>(width));
  count_.erase(count_.begin());
  return true;
}

bool find_aggregation(std::string_view name, Aggregation& out) noexcept {
  constexpr std::array<std::string_view, 4> kNames = {"weighted_average", "latest_only", "average",
                                                      "conservative"};
  return find_name(kNames, name, out);
}

Mix mix_of(Aggregation aggregation) noexcept {
  switch (aggregation) {
    case Aggregation::weighted_average:
      return {0.3F, 0.7F};
    case Aggregation::latest_only:
      return {0.0F, 1.0F};
    case Aggregation::average:
      return {0.5F, 0.5F};
    case Aggregation::conservative:
      return {0.7F, 0.3F};
  }
  return {0.0F, 1.0F};
}

StepQueue merge_aggregate(const StepQueue& queue, const StepQueue& incoming, std::size_t width,
                          std::int64_t latest, Aggregation aggregation) {
  const Mix mix = mix_of(aggregation);
  StepQueue out;
  for (std::size_t i = 0; i < incoming.steps.size(); ++i) {
    if (incoming.steps[i] <= latest) continue;
    out.steps.push_back(incoming.steps[i]);
    out.times.push_back(incoming.times[i]);
    // The rival looks the step up in a map made from the queue: the last entry of a repeated step counts.
    const auto match = std::find(queue.steps.rbegin(), queue.steps.rend(), incoming.steps[i]);
    const float* const fresh = incoming.actions.data() + i * width;
    if (match == queue.steps.rend()) {
      out.actions.insert(out.actions.end(), fresh, fresh + width);
      continue;
    }
    const auto row = static_cast<std::size_t>(queue.steps.rend() - match) - 1;
    const float* const old = queue.actions.data() + row * width;
    for (std::size_t k = 0; k < width; ++k) {
      out.actions.push_back(mix.old_part * old[k] + mix.new_part * fresh[k]);
    }
  }
  return out;
}

}  // namespace rl
