#include "rl/action_queue.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "rl/names.hpp"

namespace rl {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

std::int64_t due(const ChunkView& chunk, std::size_t row) noexcept {
  return chunk.observed + static_cast<std::int64_t>(row) * chunk.period;
}

std::size_t last_row(const ChunkView& chunk) noexcept { return chunk.rows - 1; }

Mix mix_for(Merge merge) noexcept {
  switch (merge) {
    case Merge::weighted_average:
      return mix_of(Aggregation::weighted_average);
    case Merge::average:
      return mix_of(Aggregation::average);
    case Merge::conservative:
      return mix_of(Aggregation::conservative);
    default:
      return mix_of(Aggregation::latest_only);
  }
}

}  // namespace

bool find_merge(std::string_view name, Merge& out) noexcept {
  constexpr std::array<std::string_view, 9> kNames = {
      "replace", "ensemble",     "crossfade", "weighted_average",  "latest_only",
      "average", "conservative", "append",    "real_time_chunking"};
  return find_name(kNames, name, out);
}

const char* to_string(Refusal refusal) noexcept {
  constexpr std::array<const char*, kRefusals> kNames = {"",      "empty", "duplicate", "not-finite",
                                                         "width", "stale", "full",      "future"};
  return kNames[static_cast<std::size_t>(refusal)];
}

Refusal judge_chunk(const ChunkView& chunk, std::size_t width, std::int64_t now) noexcept {
  if (chunk.rows == 0) return Refusal::empty;
  if (chunk.values.size() != chunk.rows * width) return Refusal::width;
  if (chunk.rows > kMostRows) return Refusal::full;
  constexpr std::int64_t kHour = 3'600'000'000'000;
  if (chunk.period <= 0 || chunk.period > kHour || chunk.observed < 0) return Refusal::width;
  if (chunk.observed > now && chunk.observed - now > kHour)
    return Refusal::future;  // its sums stay in 64 bit
  if (now - chunk.observed > kStaleAfter) return Refusal::stale;
  const bool finite =
      std::all_of(chunk.values.begin(), chunk.values.end(), [](float v) { return std::isfinite(v); });
  return finite ? Refusal::none : Refusal::not_finite;
}

ActionQueue::ActionQueue(const QueueConfig& config)
    : config_(config), weights_(kMostRows + 1, config.coefficient) {
  for (Storage* storage : {&now_, &next_}) {
    storage->times.resize(kCapacity);
    storage->counts.resize(kCapacity);
    storage->values.resize(kCapacity * config.width);
  }
  scratch_.resize(config.width);
}

void ActionQueue::clear() noexcept { now_.begin = now_.end = 0; }

std::size_t ActionQueue::last_before(std::int64_t time) const noexcept {
  const auto first = now_.times.begin() + static_cast<std::ptrdiff_t>(now_.begin);
  const auto last = now_.times.begin() + static_cast<std::ptrdiff_t>(now_.end);
  const auto after = std::upper_bound(first, last, time);
  return after == first ? kNone : static_cast<std::size_t>(after - now_.times.begin()) - 1;
}

bool ActionQueue::covers(std::int64_t time) const noexcept {
  const std::size_t i = last_before(time);
  if (i == kNone) return false;
  if (i + 1 < now_.end || config_.keep_last) return true;
  return time - now_.times[i] <= hold_;
}

double ActionQueue::sample(std::size_t axis, std::int64_t time) const noexcept {
  const std::size_t i = last_before(time);
  const auto knot = [&](std::size_t k) { return Knot{now_.times[k], row(now_, k)[axis]}; };
  const Knot a = knot(i);
  if (i + 1 >= now_.end || a.time == time) return a.value;
  const Knot b = knot(i + 1);
  if (config_.interpolation != Interpolation::cubic) return linear(a, b, time);
  // At the ends of what is known the curve goes straight on.
  const double slope_a = i > now_.begin ? monotone_slope(knot(i - 1), a, b) : secant(a, b);
  const double slope_b = i + 2 < now_.end ? monotone_slope(a, b, knot(i + 2)) : secant(a, b);
  return hermite(a, slope_a, b, slope_b, time);
}

bool ActionQueue::peek(std::int64_t now, std::span<double> out) const noexcept {
  if (!covers(now)) return false;
  for (std::size_t k = 0; k < config_.width; ++k) out[k] = sample(k, now);
  return true;
}

bool ActionQueue::at(std::int64_t now, std::span<double> out) noexcept {
  if (!peek(now, out)) return false;
  const std::size_t i = last_before(now);
  if (i > now_.begin) now_.begin = i - 1;  // one further back gives the slope
  return true;
}

std::size_t ActionQueue::remaining(std::int64_t now) const noexcept {
  const std::size_t i = last_before(now);
  return now_.end - (i == kNone ? now_.begin : i + 1);
}

bool ActionQueue::append(std::int64_t time, std::size_t count, std::span<const float> values) noexcept {
  if (next_.end == kCapacity) return false;
  next_.times[next_.end] = time;
  next_.counts[next_.end] = count;
  std::copy(values.begin(), values.end(),
            next_.values.begin() + static_cast<std::ptrdiff_t>(next_.end * config_.width));
  ++next_.end;
  return true;
}

void ActionQueue::append_old(std::size_t i) noexcept { append(now_.times[i], now_.counts[i], row(now_, i)); }

Refusal ActionQueue::judge(const ChunkView& chunk, std::int64_t now) const noexcept {
  if (const Refusal refusal = judge_chunk(chunk, config_.width, now); refusal != Refusal::none)
    return refusal;
  if (chunk.observed == newest_) return Refusal::duplicate;
  return chunk.observed < newest_ ? Refusal::stale : Refusal::none;
}

Refusal ActionQueue::pass_over(const ChunkView& chunk, std::int64_t now) noexcept {
  const Refusal refusal = judge(chunk, now);
  if (refusal == Refusal::none) newest_ = chunk.observed;
  return refusal;
}

Refusal ActionQueue::push(const ChunkView& chunk, std::int64_t now) noexcept {
  if (const Refusal refusal = judge(chunk, now); refusal != Refusal::none) return refusal;
  // Late rows are skipped by time; the last of them still begins the segment that is due.
  std::size_t first = 0;
  while (first < last_row(chunk) && due(chunk, first + 1) <= now) ++first;
  if (!config_.keep_last && now - due(chunk, first) > chunk.period) return Refusal::stale;
  newest_ = chunk.observed;

  next_.begin = next_.end = 0;
  const bool blending = config_.merge == Merge::ensemble || config_.merge == Merge::weighted_average ||
                        config_.merge == Merge::average || config_.merge == Merge::conservative;
  if (blending) {
    merge_blending(chunk, first, now);
  } else if (config_.merge == Merge::append) {
    merge_appending(chunk, first);
  } else {
    merge_replacing(chunk, first, now);
  }
  std::swap(now_, next_);
  hold_ = chunk.period;
  return Refusal::none;
}

/// The first row that the running plan does not already hold as promised; `first` when it holds none.
std::size_t ActionQueue::first_unpromised(const ChunkView& chunk, std::size_t first) const noexcept {
  std::size_t k = first;
  while (k < chunk.promised && k < last_row(chunk) && covers(due(chunk, k))) ++k;
  return k;
}

/// replace, latest_only, crossfade, real_time_chunking: from the chunk's first row on the new plan counts.
void ActionQueue::merge_replacing(const ChunkView& chunk, std::size_t first, std::int64_t now) noexcept {
  std::size_t fade = config_.merge == Merge::crossfade ? config_.crossfade : 0;
  if (config_.merge == Merge::real_time_chunking) {
    // Rows that were executed without having been promised: the new plan does not begin where the arm is.
    if (first > chunk.promised) fade = first - chunk.promised;
    first = first_unpromised(chunk, first);
  }
  const std::int64_t from = due(chunk, first);
  for (std::size_t i = now_.begin; i < now_.end && now_.times[i] < from; ++i) append_old(i);
  std::size_t after_now = 0;
  for (std::size_t k = first; k < chunk.rows; ++k) {
    const std::int64_t time = due(chunk, k);
    const std::span<const float> fresh = chunk.values.subspan(k * config_.width, config_.width);
    const std::size_t step = time > now ? ++after_now : 0;
    if (fade == 0 || step > fade || !covers(time)) {
      append(time, 1, fresh);
      continue;
    }
    const auto w = static_cast<float>(step) / static_cast<float>(fade + 1);
    for (std::size_t a = 0; a < config_.width; ++a) {
      scratch_[a] = (1 - w) * static_cast<float>(sample(a, time)) + w * fresh[a];
    }
    append(time, 1, scratch_);
  }
  if (config_.merge != Merge::latest_only) return;
  const std::int64_t beyond = due(chunk, last_row(chunk)) + chunk.period / 2;
  for (std::size_t i = now_.begin; i < now_.end; ++i) {
    if (now_.times[i] > beyond) append_old(i);
  }
}

/// The rows, from `first` on, that are due after everything that the old plan has.
void ActionQueue::append_beyond(const ChunkView& chunk, std::size_t first) noexcept {
  const std::int64_t old_last = now_.end > now_.begin ? now_.times[now_.end - 1] : INT64_MIN / 2;
  for (std::size_t k = first; k < chunk.rows; ++k) {
    if (due(chunk, k) <= old_last + chunk.period / 2) continue;
    append(due(chunk, k), 1, chunk.values.subspan(k * config_.width, config_.width));
  }
}

void ActionQueue::merge_appending(const ChunkView& chunk, std::size_t first) noexcept {
  for (std::size_t i = now_.begin; i < now_.end; ++i) append_old(i);
  append_beyond(chunk, first);
}

/// The old knot `i` with the new chunk's value at its instant mixed in.
void ActionQueue::blend_old(std::size_t i, const ChunkView& chunk) noexcept {
  const std::int64_t time = now_.times[i];
  const std::int64_t offset = std::max<std::int64_t>(time - chunk.observed, 0);
  const std::size_t k = std::min(static_cast<std::size_t>(offset / chunk.period), last_row(chunk));
  const std::size_t k1 = std::min(k + 1, last_row(chunk));
  const double part = k == k1 ? 0.0
                              : static_cast<double>(offset - static_cast<std::int64_t>(k) * chunk.period) /
                                    static_cast<double>(chunk.period);
  const Mix mix = mix_for(config_.merge);
  const std::span<const float> old = row(now_, i);
  for (std::size_t a = 0; a < config_.width; ++a) {
    const float at_k = chunk.values[k * config_.width + a];
    const float at_k1 = chunk.values[k1 * config_.width + a];
    // A grid that fits gives the row itself, in every bit.
    const float fresh =
        part == 0.0 ? at_k : static_cast<float>(at_k + part * (static_cast<double>(at_k1) - at_k));
    scratch_[a] = config_.merge == Merge::ensemble ? weights_.blend(old[a], now_.counts[i], fresh)
                                                   : mix.old_part * old[a] + mix.new_part * fresh;
  }
  append(time, std::min(now_.counts[i] + 1, chunk.rows), scratch_);
}

/// ensemble and the weighted means: what both plans cover is mixed at the old plan's instants; what only one
/// of them covers stays as it is.
void ActionQueue::merge_blending(const ChunkView& chunk, std::size_t first, std::int64_t now) noexcept {
  const std::int64_t half = chunk.period / 2;
  const std::int64_t chunk_end = due(chunk, last_row(chunk));
  const bool old_left = now_.end > now_.begin && covers(now);
  std::size_t k = first;
  const std::size_t old_end = now_.end;
  if (!old_left) {  // nothing of the old plan reaches the present: only its future counts
    const std::size_t i = last_before(now);
    now_.begin = i == kNone ? now_.begin : i + 1;
    for (; k < chunk.rows; ++k) {
      if (now_.begin < old_end && due(chunk, k) > now_.times[now_.begin] - half) break;
      append(due(chunk, k), 1, chunk.values.subspan(k * config_.width, config_.width));
    }
  }
  for (std::size_t i = now_.begin; i < old_end; ++i) {
    const std::int64_t time = now_.times[i];
    if (time >= now && time >= chunk.observed - half && time <= chunk_end + half) {
      blend_old(i, chunk);
    } else {
      append_old(i);
    }
  }
  append_beyond(chunk, k);
}

}  // namespace rl
