#include "rl/planner.hpp"

#include <algorithm>
#include <cmath>

namespace rl {
namespace {

constexpr std::int64_t kStateStale = 100'000'000;  // ns: never driven on
constexpr std::int64_t kMute = 1'000'000'000;
constexpr std::int64_t kLost = 500'000'000;
constexpr double kArrived = 2.0;     // units from the rest pose
constexpr double kProgress = 0.5;    // units nearer to the rest pose that count as progress
constexpr double kSlowest = 0.1;     // part of the speed limit where the ramp begins
constexpr double kTorqueFrom = 0.2;  // part of the torque limit where the ramp begins
constexpr std::int64_t kTorqueEvery = 50'000'000;
constexpr int kStopWrites = 3;
constexpr double kSmoothing = 2;                  // of the critically damped way, over the policy's period
constexpr std::int64_t kFastPeriod = 20'000'000;  // ns: of 50 Hz
constexpr double kStill = 1e-6;                   // units/s
constexpr std::uint8_t kFaultBits = 2 | 4 | 8;    // encoder, overheat, overcurrent
constexpr std::uint8_t kBurningBits = 4 | 8;      // overheat, overcurrent
constexpr std::uint8_t kTooHot = 70;              // deg C
constexpr std::uint8_t kWarm = 60;                // deg C: a warning
constexpr double kLowest = 0.8;                   // of the nominal voltage
constexpr double kLow = 0.9;                      // a warning
constexpr double kHighest = 1.15;

bool tracks(State state) noexcept { return state == State::soft_start || state == State::active; }

/// HOLD listens, since a resume asks for a stream that is fresh; in all the others a set point is for nobody.
bool listens(State state) noexcept { return tracks(state) || state == State::hold; }

bool has(std::uint64_t mask, std::size_t k) noexcept { return ((mask >> k) & 1U) != 0; }

}  // namespace

Planner::Planner(const PlannerConfig& config, Requests& requests, ChunkRing& chunks, Tally& tally)
    : config_(config),
      requests_(requests),
      chunks_(chunks),
      tally_(tally),
      queue_(config.queue),
      machine_(config.safety),
      obstacles_(config.axes.size(), config.period) {
  for (const PlannerAxis& axis : config_.axes) buses_ = std::max<std::size_t>(buses_, axis.bus + 1U);
}

void Planner::armed(const Reading& reading, std::int64_t now, bool ramp) noexcept {
  for (std::size_t k = 0; k < axes(); ++k) motion_[k] = {reading.values[k], 0, 0};
  torque_on_ = arm_passed_ = true;
  derated_ = derated_written_ = pulled_ = limp_ = 0;
  obstacles_.begin({reading.values.data(), axes()});
  queue_.clear();  // what was wanted before the arm took torque does not move it
  arrivals_.clear();
  illegal_.begin(illegal());
  before_known_ = 0;
  began_ = covered_ = now;
  last_due_ = 0;
  torque_written_ = ramp ? 0 : -1;
  stop_writes_ = 0;
}

void Planner::released(bool all_off) noexcept {
  released_ = true;
  if (all_off) torque_on_ = false;
}

bool Planner::at_rest() const noexcept {
  return std::all_of(motion_.begin(), motion_.begin() + static_cast<std::ptrdiff_t>(axes()),
                     [](const Motion& m) { return std::abs(m.velocity) < kStill; });
}

void Planner::take_chunks(std::int64_t due) noexcept {
  const bool heard = listens(machine_.state());
  while (ChunkSlot* const slot = chunks_.oldest()) {
    const std::size_t rows = std::min(slot->rows, kMostRows);  // another process may have written it
    const ChunkView chunk{
        slot->observed, slot->period, rows, {slot->values.data(), rows * axes()}, slot->promised};
    const Refusal refusal = heard ? queue_.push(chunk, due) : queue_.pass_over(chunk, due);
    if (refusal != Refusal::none) {
      count(tally_.refused[static_cast<std::size_t>(refusal)]);
    } else if (heard) {
      arrivals_.arrived(due);
      damping_ = kSmoothing / (static_cast<double>(chunk.period) * 1e-9);
    }
    chunks_.consume();
  }
}

/// What the source wants at `due`. False when it says nothing.
bool Planner::setpoint(const Reading& reading, std::int64_t due, AxisVector& out) noexcept {
  if (config_.source != SourceKind::leader) return queue_.at(due, {out.data(), axes()});
  for (std::size_t k = 0; k < axes(); ++k) {
    const bool led = ((config_.led >> k) & 1U) != 0;
    if (led && reading.leader_captured[k] == 0) return false;
    out[k] = led ? reading.leader[k] : motion_[k].position;
  }
  return true;
}

void Planner::look_at_joints(const Reading& reading, std::int64_t now, Events& events) noexcept {
  events.hang_up = reading.hang_up;
  events.unguarded = reading.unguarded;
  stale_ = 0;
  for (std::size_t k = 0; k < axes(); ++k) {
    const int joint = static_cast<int>(k);
    if (now - reading.captured[k] > kStateStale) {
      stale_ |= 1ULL << k;
      if (events.stale_joint < 0) events.stale_joint = joint;
    }
    if ((reading.status[k] & kOverloadBit) != 0 && events.overload_joint < 0) events.overload_joint = joint;
    if ((reading.status[k] & kFaultBits) != 0 && events.fault_joint < 0) events.fault_joint = joint;
    if (has(reading.rebooted, k) && torque_on_ && events.fault_joint < 0) {
      events.fault_joint = joint;
      events.fault_reason = Reason::motor_rebooted;
    }
  }
  if (events.overload_joint < 0) {
    overloaded_ = 0;
  } else if (overloaded_ == 0) {
    overloaded_ = now;
  }
  events.overload_for = overloaded_ == 0 ? 0 : now - overloaded_;
}

/// A position is stale by its age. A motor is silent by the requests that it left unanswered, a period each:
/// a process that was stopped for a while has not asked. One bus whose motors are all silent is lost,
/// whatever the others say.
void Planner::look_at_silence(const Reading& reading, std::int64_t now, Events& events) noexcept {
  const std::int64_t step = std::min(now - last_look_, config_.period);
  last_look_ = now;
  std::array<std::int64_t, kMostAxes> shortest;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  shortest.fill(INT64_MAX);
  for (std::size_t k = 0; k < axes(); ++k) {
    const bool missing = has(reading.missing, k);
    silence_[k] = missing ? silence_[k] + step : 0;
    if (missing) count(tally_.missing[k]);
    if (silence_[k] > kMute && events.mute_joint < 0) events.mute_joint = static_cast<int>(k);
    std::int64_t& least = shortest[config_.axes[k].bus];
    least = std::min(least, silence_[k]);
  }
  for (std::size_t bus = 0; bus < buses_; ++bus)
    events.bus_lost = events.bus_lost || (shortest[bus] > kLost && shortest[bus] != INT64_MAX);
}

/// What each bus is fed with, from the first reading that has the voltage of all its motors: a supply that
/// sags later is measured against it.
void Planner::learn_supply(const Reading& reading) noexcept {
  for (std::size_t bus = 0; bus < buses_; ++bus) {
    if (nominal_voltage_[bus] > 0) continue;
    std::array<std::uint8_t, kMostAxes> known{};
    std::size_t motors = 0;
    for (std::size_t k = 0; k < axes(); ++k) {
      if (config_.axes[k].bus == bus) known[motors++] = reading.voltage[k];
    }
    std::sort(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(motors));
    if (motors > 0 && known[0] > 0) nominal_voltage_[bus] = known[motors / 2];
  }
}

/// Temperature and voltage come a few times a second; what is not known yet is no fault.
void Planner::look_at_supply(const Reading& reading, Events& events) noexcept {
  learn_supply(reading);
  warm_ = low_voltage_ = 0;
  for (std::size_t k = 0; k < axes(); ++k) {
    const double nominal = nominal_voltage_[config_.axes[k].bus];
    const double volts = reading.voltage[k];
    const bool known = nominal > 0 && volts > 0;
    if (reading.temperature[k] >= kWarm) warm_ |= 1ULL << k;
    if (known && volts < kLow * nominal) low_voltage_ |= 1ULL << k;
    const bool off = known && (volts < kLowest * nominal || volts > kHighest * nominal);
    if ((reading.temperature[k] < kTooHot && !off) || events.fault_joint >= 0) continue;
    events.fault_joint = static_cast<int>(k);
    events.fault_reason = off ? Reason::motor_voltage : Reason::motor_hot;
  }
  if (warm_ != 0) tally_.warm.fetch_or(warm_, std::memory_order_relaxed);
  if (low_voltage_ != 0) tally_.low_voltage.fetch_or(low_voltage_, std::memory_order_relaxed);
}

void Planner::look_for_obstacles(const Reading& reading, std::int64_t now, Events& events) noexcept {
  blocked_ = 0;
  if (!torque_on_) return;
  for (std::size_t k = 0; k < axes(); ++k) {
    if (has(stale_, k) || !obstacles_.blocked(k, reading.values[k], config_.axes[k].deviation, now)) continue;
    blocked_ |= 1ULL << k;
    if (events.blocked_joint < 0) events.blocked_joint = static_cast<int>(k);
  }
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

void Planner::look_at_source(const Reading& reading, std::int64_t now, std::int64_t due,
                             Events& events) noexcept {
  events.heartbeat_age = heartbeat(reading, now, due);
  if (events.heartbeat_age > config_.safety.heartbeat_timeout) arrivals_.clear();
  wanted_known_ = setpoint(reading, due, wanted_);
  if (wanted_known_) covered_ = due;
  events.starved_for = due - covered_;

  const bool steady = config_.source == SourceKind::chunks || arrivals_.steady(due);
  events.stream_fresh = wanted_known_ && steady;
  events.illegal_burst = illegal_.burst(illegal(), now);

  events.near_setpoint = wanted_known_;
  for (std::size_t k = 0; k < axes() && events.near_setpoint; ++k) {
    const PlannerAxis& axis = config_.axes[k];
    const double aim = std::clamp(wanted_[k], axis.limits.low, axis.limits.high);
    events.near_setpoint = std::abs(aim - motion_[k].position) <= axis.jump;
  }
}

/// Between the deadlines of a slow loop.
void Planner::watch_source(State state) noexcept {
  const bool watched = tracks(state) && config_.source != SourceKind::leader && config_.period > kFastPeriod;
  requests_.watch_source(watched ? began_ : INT64_MAX);
}

void Planner::look_at_rest(const Reading& reading, std::int64_t now, Events& events) noexcept {
  if (machine_.state() != State::rest) {
    rest_progress_ = now;
    rest_distance_ = HUGE_VAL;
    return;
  }
  double farthest = 0;
  double sum = 0;
  for (std::size_t k = 0; k < axes(); ++k) {
    const PlannerAxis& axis = config_.axes[k];  // a rest pose beyond the limits is approached up to them
    const double rest = std::clamp(axis.rest, axis.limits.low, axis.limits.high);
    const double distance = std::abs(reading.values[k] - rest);
    farthest = std::max(farthest, distance);
    sum += distance;
  }
  // Arrived by measurement, and the goal stands there too: torque goes off at rest.
  events.rest_reached = farthest <= kArrived && at_rest();
  if (sum < rest_distance_ - kProgress) {
    rest_distance_ = sum;
    rest_progress_ = now;
  }
  events.rest_stuck_for = now - rest_progress_;
}

Events Planner::look(const Reading& reading, std::int64_t now, std::int64_t due) noexcept {
  Events events;
  requests_.take(events);
  take_chunks(due);
  look_at_joints(reading, now, events);
  look_at_silence(reading, now, events);
  look_at_supply(reading, events);
  look_for_obstacles(reading, now, events);
  look_at_source(reading, now, due, events);
  look_at_rest(reading, now, events);
  events.arm_passed = arm_passed_;
  events.released = released_;
  events.overrun = overrun_;
  events.at_rest = !torque_on_ || at_rest();
  events.torque_on = torque_on_;
  events.duration_over = config_.active_cycles > 0 && active_ >= config_.active_cycles;
  arm_passed_ = released_ = overrun_ = false;
  return events;
}

/// A clamp is a setpoint that breaks a limit by itself, not a goal that still lags.
void Planner::count_clamps(double dt) noexcept {
  bool any = false;
  for (std::size_t k = 0; k < axes() && !any; ++k) {
    const std::array<double, 4> newest = {wanted_[k], before_[0][k], before_[1][k], before_[2][k]};
    any = asks_too_much({newest.data(), 1 + before_known_}, config_.axes[k].limits, dt);
  }
  count(tally_.followed);
  if (any) count(tally_.clamped);
}

void Planner::remember_setpoint() noexcept {
  std::rotate(before_.begin(), before_.end() - 1, before_.end());
  before_[0] = wanted_;
  before_known_ = wanted_known_ ? std::min(before_known_ + 1, before_.size()) : 0;
}

/// One tick toward the setpoint that is due.
Motion Planner::track(std::size_t axis, const AxisLimits& limits, double dt) const noexcept {
  const double wanted = wanted_[axis];
  const double before = before_known_ > 0 ? before_[0][axis] : wanted;
  if (config_.queue.interpolation != Interpolation::critically_damped || config_.source != SourceKind::chunks)
    return follow(motion_[axis], wanted, before, limits, dt);
  return damp(motion_[axis], wanted, before, damping_, limits, dt);
}

void Planner::move(State state, double ramp, double dt) noexcept {
  const double part = kSlowest + (1 - kSlowest) * ramp;
  for (std::size_t k = 0; k < axes(); ++k) {
    const PlannerAxis& axis = config_.axes[k];
    AxisLimits limits = axis.limits;
    Motion& m = motion_[k];
    if (state == State::soft_start) limits.speed = std::min(limits.speed, axis.soft_speed) * part;
    if (tracks(state) && wanted_known_) {
      m = track(k, limits, dt);
    } else if (state == State::rest) {
      limits.speed = std::min(limits.speed, axis.soft_speed);
      m = follow(m, axis.rest, axis.rest, limits, dt);
    } else if ((state == State::hold || state == State::fault) && has(pulled_ & ~stale_, k)) {
      limits.speed = std::min(limits.speed, axis.soft_speed);
      m = follow(m, pulled_to_[k], pulled_to_[k], limits, dt);
    } else if (axis.zero_on_starve) {
      m = follow(m, 0, 0, limits, dt);
    } else {
      m = brake(m, limits, dt);
    }
  }
}

void Planner::forget_on_entry(State entered) noexcept {
  if (tracks(entered)) return;
  arrivals_.clear();                           // a stream counts as fresh by what it says from now on
  if (entered != State::hold) queue_.clear();  // what was wanted before a stop does not move the arm after it
}

/// Where a joint runs into something, its goal comes back to it, so that the servo does not push on: whatever
/// else happened in the same tick, and also where the arm may not move on until a reset.
void Planner::pull_back(const Reading& reading, const Decision& decision) noexcept {
  if (!decision.entered) return;
  AxisVector pose{};
  for (std::size_t k = 0; k < axes(); ++k) pose[k] = has(stale_, k) ? motion_[k].position : reading.values[k];
  obstacles_.begin({pose.data(), axes()});
  if (decision.state != State::hold && decision.state != State::fault) pulled_ = 0;
  // A second request to stop lets go as soon as the arm is braked: nothing is pulled before.
  const bool off_next = decision.reason == Reason::second_stop;
  if ((decision.state != State::hold && decision.state != State::fault) || off_next) return;
  pulled_ |= blocked_;
  for (std::size_t k = 0; k < axes(); ++k) {
    const double jump = config_.axes[k].jump;
    if (has(blocked_, k)) pulled_to_[k] = std::clamp(motion_[k].position, pose[k] - jump, pose[k] + jump);
  }
}

/// Until it is armed or resumed.
void Planner::derate(const Reading& reading, const Decision& decision) noexcept {
  if (decision.entered && decision.state == State::soft_start) derated_ = 0;
  for (std::size_t k = 0; k < axes(); ++k) {
    if (wants_less_torque(reading.status[k], reading.temperature[k])) derated_ |= 1ULL << k;
  }
}

/// A motor that burns is not helped by holding on: in a fault it is switched off, alone.
void Planner::let_go(const Reading& reading, const Decision& decision) noexcept {
  if (decision.state != State::fault) return;
  for (std::size_t k = 0; k < axes(); ++k) {
    if ((reading.status[k] & kBurningBits) != 0 || reading.temperature[k] >= kTooHot) limp_ |= 1ULL << k;
  }
}

/// Joints without torque, and those that stand still somewhere unknown: the servo keeps the goal that it has.
std::uint64_t Planner::withheld(State state) const noexcept {
  std::uint64_t out = limp_;
  if (state != State::hold && state != State::fault) return out;
  for (std::size_t k = 0; k < axes(); ++k) {
    if (has(stale_, k) && std::abs(motion_[k].velocity) < kStill) out |= 1ULL << k;
  }
  return out;
}

void Planner::ramp_torque(Plan& out, std::int64_t now, std::int64_t due) noexcept {
  out.derated = derated_;
  const double ramp = machine_.ramp(now);
  if (derated_ != derated_written_) {
    derated_written_ = derated_;
    out.torque = kTorqueFrom + (1 - kTorqueFrom) * ramp;
    return;
  }
  if (torque_written_ < 0 || due - torque_written_ < kTorqueEvery) return;
  out.torque = kTorqueFrom + (1 - kTorqueFrom) * ramp;
  torque_written_ = ramp >= 1 ? -1 : due;  // -1: full torque was written
}

/// Before the goals of this tick move on.
void Planner::watch_motion(const Reading& reading, const Decision& decision) noexcept {
  AxisVector goals{};
  for (std::size_t k = 0; k < axes(); ++k) goals[k] = motion_[k].position;
  obstacles_.push({goals.data(), axes()});
  pull_back(reading, decision);
  derate(reading, decision);
  let_go(reading, decision);
}

void Planner::fill_goals(const Reading& reading, bool followed, Plan& out) const noexcept {
  for (std::size_t k = 0; k < axes(); ++k) {
    out.goal[k] = torque_on_ ? motion_[k].position : reading.values[k];
    out.requested[k] = followed ? wanted_[k] : out.goal[k];
  }
}

Plan Planner::plan(const Reading& reading, std::int64_t now, std::int64_t due) noexcept {
  const Events events = look(reading, now, due);
  Plan out;
  out.decision = machine_.step(events, now);
  const State state = out.decision.state;
  if (out.decision.entered) forget_on_entry(state);
  if (torque_on_) watch_motion(reading, out.decision);
  const double period = static_cast<double>(config_.period) * 1e-9;
  // Never more than a period's worth in one step, also after skipped deadlines; less when an e-stop came
  // early.
  const double since = last_due_ == 0 ? period : static_cast<double>(due - last_due_) * 1e-9;
  const double dt = std::clamp(since, period / 20, period);

  watch_source(state);
  const bool tracking = tracks(state);
  if (tracking && wanted_known_) count_clamps(dt);
  if (state == State::active && !wanted_known_) count(tally_.starved);
  // The first goal of a session is the measured pose, written once more before anything moves.
  const bool first = events.arm_passed;
  if (torque_on_ && !first) move(state, machine_.ramp(now), dt);
  if (state == State::active) ++active_;

  const bool silent = state == State::disarmed || state == State::off || !torque_on_;
  const bool stopped = state == State::estop && at_rest() && stop_writes_ >= kStopWrites;
  out.write = !silent && !stopped && !out.decision.ended;
  if (state == State::estop && at_rest() && out.write) ++stop_writes_;
  if (state != State::estop) stop_writes_ = 0;
  fill_goals(reading, tracking && wanted_known_, out);
  remember_setpoint();
  last_due_ = out.write ? due : 0;

  if (out.write && (out.decision.ramp_torque || derated_ != derated_written_)) ramp_torque(out, now, due);
  if (torque_on_) out.limp = limp_;
  out.withheld = withheld(state);
  out.remaining = queue_.remaining(due);
  out.warm = warm_;
  out.low_voltage = low_voltage_;
  return out;
}

}  // namespace rl
