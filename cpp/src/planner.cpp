#include "rl/planner.hpp"

#include <algorithm>

namespace rl {
namespace {

constexpr double kSmoothing = 2;  // of the critically damped way, over the policy's period

/// HOLD listens, since a resume asks for a stream that is fresh; in all the others a set point is for nobody.
bool listens(State state) noexcept { return tracks(state) || state == State::hold; }

bool has(std::uint64_t mask, std::size_t k) noexcept { return ((mask >> k) & 1U) != 0; }

/// The larger, the worse off: a robot is said to be where the worst of its arms is.
int rank(State state) noexcept {
  constexpr std::array<State, kStates> kOrder = {State::disarmed,   State::off,  State::active,
                                                 State::soft_start, State::hold, State::rest,
                                                 State::fault,      State::estop};
  return static_cast<int>(std::find(kOrder.begin(), kOrder.end(), state) - kOrder.begin());
}

/// Of two that are equally badly off, the one that says why, or what is new.
bool worse(const Decision& a, const Decision& b) noexcept {
  if (a.state != b.state) return rank(a.state) > rank(b.state);
  const bool led_a = a.reason == Reason::coupled;
  const bool led_b = b.reason == Reason::coupled;
  return led_a != led_b ? led_b : a.entered && !b.entered;
}

Decision whole(const Plan& plan) noexcept {
  Decision out = plan.arms[0];
  for (const Decision& arm : plan.arms) {
    const bool ended = out.ended && arm.ended;
    const int code = std::max(out.exit_code, arm.exit_code);
    if (worse(arm, out)) out = arm;
    out.ended = ended;
    out.exit_code = code;
  }
  out.release_now = plan.release != 0;
  return out;
}

}  // namespace

Planner::Planner(const PlannerConfig& config, Requests& requests, ChunkRing& chunks, Tally& tally)
    : config_(config), requests_(requests), chunks_(chunks), tally_(tally), queue_(config.queue) {
  arms_.reserve(config_.arms());
  for (std::size_t arm = 0; arm < config_.arms(); ++arm) arms_.emplace_back(config_, arm, tally_);
}

void Planner::armed(std::uint64_t arms, const Reading& reading, std::int64_t now, bool ramp) noexcept {
  for (std::size_t a = 0; a < arms_.size(); ++a) {
    if (has(arms, a)) arms_[a].armed(reading, ramp);
  }
  queue_.clear();  // what was wanted before the arm took torque does not move it
  arrivals_.clear();
  illegal_.begin(illegal());
  before_known_ = 0;
  began_ = covered_ = now;
  last_due_ = 0;
}

void Planner::released(std::uint64_t arms, std::uint64_t held) noexcept {
  for (std::size_t a = 0; a < arms_.size(); ++a) {
    if (has(arms, a)) arms_[a].released(!has(held, a));
  }
}

State Planner::state() const noexcept {
  State out = arms_[0].state();
  for (const ArmPlanner& arm : arms_) {
    if (rank(arm.state()) > rank(out)) out = arm.state();
  }
  return out;
}

bool Planner::stop_pending() const noexcept {
  return std::any_of(arms_.begin(), arms_.end(), [](const ArmPlanner& arm) { return arm.stop_pending(); });
}

std::uint64_t Planner::may_arm() const noexcept {
  std::uint64_t out = 0;
  for (std::size_t a = 0; a < arms_.size(); ++a) {
    const State state = arms_[a].state();
    if (tracks(state) || is_latched(state) || !arms_[a].stands()) return 0;
    if (state == State::disarmed || state == State::off) out |= 1ULL << a;
  }
  return stop_pending() ? 0 : out;
}

void Planner::take_chunks(std::int64_t due) noexcept {
  const bool heard =
      std::any_of(arms_.begin(), arms_.end(), [](const ArmPlanner& arm) { return listens(arm.state()); });
  while (ChunkSlot* const slot = chunks_.oldest()) {
    const std::size_t rows = std::min(slot->rows, kMostRows);  // another process may have written it
    const ChunkView chunk{
        slot->observed, slot->period, rows, {slot->values.data(), rows * axes()}, slot->promised};
    const Refusal refusal = heard ? queue_.push(chunk, due) : queue_.pass_over(chunk, due);
    if (refusal != Refusal::none) {
      count(tally_.refused[static_cast<std::size_t>(refusal)]);
    } else if (heard) {
      arrivals_.arrived(due);
      demand_.damping = kSmoothing / (static_cast<double>(chunk.period) * 1e-9);
    }
    chunks_.consume();
  }
}

/// What the source wants at `due`. False when it says nothing.
bool Planner::setpoint(const Reading& reading, std::int64_t due, AxisVector& out) noexcept {
  if (config_.source != SourceKind::leader) return queue_.at(due, {out.data(), axes()});
  for (std::size_t k = 0; k < axes(); ++k) {
    const bool led = has(config_.led, k);
    if (led && reading.leader_captured[k] == 0) return false;
    out[k] = led ? reading.leader[k] : arm_of(k).position(k);
  }
  return true;
}

/// Its age at `due`.
std::int64_t Planner::heartbeat(const Reading& reading, std::int64_t now, std::int64_t due) noexcept {
  std::int64_t beat = requests_.last_beat();
  if (config_.source == SourceKind::leader) {
    beat = now;
    for (std::size_t k = 0; k < axes(); ++k) {
      if (has(config_.led, k)) beat = std::min(beat, reading.leader_captured[k]);
    }
    if (beat > leader_seen_) arrivals_.arrived(due);  // its poses are its set points
    leader_seen_ = beat;
  }
  // The decision is carried out at `due`: what would be too old then is too old. Slower loops wake in between
  // instead (Requests::source_silent), or a source of 25 Hz would always be too old for them.
  const std::int64_t ahead = config_.period <= kFastPeriod ? std::max<std::int64_t>(due - now, 0) : 0;
  return now + ahead - std::max(beat, began_);
}

std::uint64_t Planner::illegal() const noexcept {
  std::uint64_t sum = 0;
  for (const Refusal r : {Refusal::not_finite, Refusal::width, Refusal::stale, Refusal::future})
    sum += tally_.refused[static_cast<std::size_t>(r)].load(std::memory_order_relaxed);
  return sum;
}

void Planner::look_at_source(const Reading& reading, const Tick& tick) noexcept {
  demand_.silent_for = heartbeat(reading, tick.now, tick.due);
  if (demand_.silent_for > config_.safety.heartbeat_timeout) arrivals_.clear();
  demand_.known = setpoint(reading, tick.due, demand_.wanted);
  demand_.before = before_known_ > 0 ? before_[0] : demand_.wanted;
  if (demand_.known) covered_ = tick.due;
  demand_.starved_for = tick.due - covered_;
  demand_.steady = config_.source == SourceKind::chunks || arrivals_.steady(tick.due);
  demand_.illegal_burst = illegal_.burst(illegal(), tick.now);
}

void Planner::look(const Reading& reading, const Tick& tick) noexcept {
  Events asked;
  requests_.take(asked);
  take_chunks(tick.due);
  look_at_source(reading, tick);
  asked.overrun = overrun_;
  asked.duration_over = config_.active_cycles > 0 && active_ >= config_.active_cycles;
  overrun_ = false;
  for (ArmPlanner& arm : arms_) arm.look(reading, demand_, asked, tick);
}

/// A tick. Never more than a period's worth in one step, also after skipped deadlines; less when an e-stop
/// came early. s.
double Planner::since_last(std::int64_t due) const noexcept {
  const double period = static_cast<double>(config_.period) * 1e-9;
  const double since = last_due_ == 0 ? period : static_cast<double>(due - last_due_) * 1e-9;
  return std::clamp(since, period / 20, period);
}

void Planner::forget(const Plan& plan) noexcept {
  for (const Decision& arm : plan.arms) {
    if (!arm.entered || tracks(arm.state)) continue;
    arrivals_.clear();                             // a stream counts as fresh by what it says from now on
    if (arm.state != State::hold) queue_.clear();  // what was wanted before a stop does not move it after it
  }
}

/// Between the deadlines of a slow loop.
void Planner::watch_source(const Plan& plan) noexcept {
  const bool slow = config_.source != SourceKind::leader && config_.period > kFastPeriod;
  const bool any =
      std::any_of(plan.arms.begin(), plan.arms.end(), [](const Decision& arm) { return tracks(arm.state); });
  requests_.watch_source(slow && any ? began_ : INT64_MAX);
}

/// A clamp is a setpoint that breaks a limit by itself, not a goal that still lags.
void Planner::count_ticks(const Plan& plan, double dt) noexcept {
  bool followed = false;
  bool clamped = false;
  bool starved = false;
  for (std::size_t a = 0; a < arms_.size(); ++a) {
    const State state = plan.arms[a].state;
    starved = starved || (state == State::active && !demand_.known);
    if (!tracks(state) || !demand_.known) continue;
    followed = true;
    for (std::size_t k = arms_[a].begin(); k < arms_[a].end() && !clamped; ++k) {
      const std::array<double, 4> newest = {demand_.wanted[k], before_[0][k], before_[1][k], before_[2][k]};
      clamped = asks_too_much({newest.data(), 1 + before_known_}, config_.axes[k].limits, dt);
    }
  }
  if (followed) count(tally_.followed);
  if (clamped) count(tally_.clamped);
  if (starved) count(tally_.starved);
}

void Planner::remember_setpoint() noexcept {
  std::rotate(before_.begin(), before_.end() - 1, before_.end());
  before_[0] = demand_.wanted;
  before_known_ = demand_.known ? std::min(before_known_ + 1, before_.size()) : 0;
}

/// Letting go takes several periods: while another arm moves it waits, at most for that one's way to rest.
std::uint64_t Planner::releases(const Plan& plan) const noexcept {
  std::uint64_t asked = 0;
  for (std::size_t a = 0; a < arms_.size(); ++a) {
    if (plan.arms[a].release_now) {
      asked |= 1ULL << a;
    } else if (tracks(plan.arms[a].state) || plan.arms[a].state == State::rest || !arms_[a].stands()) {
      return 0;
    }
  }
  return asked;
}

Plan Planner::plan(const Reading& reading, std::int64_t now, std::int64_t due) noexcept {
  const Tick tick{now, due, since_last(due)};
  look(reading, tick);
  std::uint64_t stopping = 0;
  for (std::size_t a = 0; a < arms_.size(); ++a) {
    if (arms_[a].stops_others(tick)) stopping |= 1ULL << a;
  }
  Plan out;
  for (std::size_t a = 0; a < arms_.size(); ++a)
    arms_[a].plan(reading, demand_, (stopping & ~(1ULL << a)) != 0, tick, out);
  forget(out);
  requests_.keep_estop(std::any_of(out.arms.begin(), out.arms.end(),
                                   [](const Decision& arm) { return arm.state == State::estop; }));
  watch_source(out);
  count_ticks(out, tick.dt);
  out.release = releases(out);
  out.decision = whole(out);
  if (out.decision.ended) out.write = false;
  if (out.decision.state == State::active) ++active_;
  remember_setpoint();
  last_due_ = out.write ? due : 0;
  out.remaining = queue_.remaining(due);
  return out;
}

}  // namespace rl
