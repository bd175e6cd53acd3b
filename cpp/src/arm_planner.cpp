#include "rl/arm_planner.hpp"

#include <algorithm>
#include <cmath>

#include "rl/trajectory.hpp"

namespace rl {
namespace {

constexpr std::int64_t kMute = 1'000'000'000;
constexpr std::int64_t kLost = 500'000'000;
constexpr double kArrived = 2.0;     // units from the rest pose
constexpr double kProgress = 0.5;    // units nearer to the rest pose that count as progress
constexpr double kSlowest = 0.1;     // part of the speed limit where the ramp begins
constexpr double kTorqueFrom = 0.2;  // part of the torque limit where the ramp begins
constexpr std::int64_t kTorqueEvery = 50'000'000;
constexpr int kStopWrites = 3;
constexpr double kStill = 1e-6;  // units/s

bool has(std::uint64_t mask, std::size_t k) noexcept { return ((mask >> k) & 1U) != 0; }

}  // namespace

ArmPlanner::ArmPlanner(const PlannerConfig& config, std::size_t arm, Tally& tally)
    : config_(config),
      arm_(arm),
      tally_(tally),
      machine_(config.safety),
      obstacles_(config.axes.size(), config.period) {
  const auto own = [arm](const PlannerAxis& axis) { return axis.arm == arm; };
  const auto* const first = std::find_if(config.axes.begin(), config.axes.end(), own);
  begin_ = static_cast<std::size_t>(first - config.axes.begin());
  end_ = static_cast<std::size_t>(std::find_if_not(first, config.axes.end(), own) - config.axes.begin());
}

void ArmPlanner::armed(const Reading& reading, bool ramp) noexcept {
  for (std::size_t k = begin_; k < end_; ++k) motion_[k] = {reading.values[k], 0, 0};
  torque_on_ = arm_passed_ = true;
  cut_off_ = false;
  derated_ = derated_written_ = pulled_ = limp_ = 0;
  obstacles_.begin({reading.values.data(), config_.axes.size()});
  torque_written_ = ramp ? 0 : -1;
  stop_writes_ = 0;
}

/// The port is gone: the motors keep the last goal that they got, and so does the plan.
void ArmPlanner::stay() noexcept {
  cut_off_ = true;
  for (std::size_t k = begin_; k < end_; ++k) motion_[k] = {motion_[k].position, 0, 0};
}

void ArmPlanner::released(bool all_off) noexcept {
  released_ = true;
  if (all_off) torque_on_ = false;
}

bool ArmPlanner::stands() const noexcept {
  return !torque_on_ || std::all_of(motion_.begin() + static_cast<std::ptrdiff_t>(begin_),
                                    motion_.begin() + static_cast<std::ptrdiff_t>(end_),
                                    [](const Motion& m) { return std::abs(m.velocity) < kStill; });
}

void ArmPlanner::look_at_joints(const Reading& reading, std::int64_t now) noexcept {
  events_.hang_up = has(reading.hang_up, arm_);
  if (events_.hang_up && !cut_off_) stay();
  events_.unguarded = reading.unguarded;
  stale_ = 0;
  for (std::size_t k = begin_; k < end_; ++k) {
    const int joint = static_cast<int>(k);
    if (now - reading.captured[k] > kStateStale) {
      stale_ |= 1ULL << k;
      if (events_.stale_joint < 0) events_.stale_joint = joint;
    }
    if ((reading.alarms[k] & alarm::kOverload) != 0 && events_.overload_joint < 0)
      events_.overload_joint = joint;
    if ((reading.alarms[k] & alarm::kFault) != 0 && events_.fault_joint < 0) events_.fault_joint = joint;
    if (has(reading.rebooted, k) && torque_on_ && events_.fault_joint < 0) {
      events_.fault_joint = joint;
      events_.fault_reason = Reason::motor_rebooted;
    }
  }
  if (events_.overload_joint < 0) {
    overloaded_ = 0;
  } else if (overloaded_ == 0) {
    overloaded_ = now;
  }
  events_.overload_for = overloaded_ == 0 ? 0 : now - overloaded_;
}

/// A position is stale by its age. A motor is silent by the requests that it left unanswered, each as long as
/// the periods since the one before: a process that was stopped for a while has not asked. An arm whose
/// motors are all silent has lost its bus.
void ArmPlanner::look_at_silence(const Reading& reading, std::int64_t now) noexcept {
  const std::int64_t step = std::min(now - last_look_, config_.period);
  last_look_ = now;
  std::int64_t shortest = INT64_MAX;
  for (std::size_t k = begin_; k < end_; ++k) {
    const bool missing = has(reading.missing, k);
    unasked_[k] += step;
    if (!has(reading.skipped, k)) {
      silence_[k] = missing ? silence_[k] + unasked_[k] : 0;
      unasked_[k] = 0;
    }
    if (missing) count(tally_.missing[k]);
    if (silence_[k] > kMute && events_.mute_joint < 0) events_.mute_joint = static_cast<int>(k);
    shortest = std::min(shortest, silence_[k]);
  }
  events_.bus_lost = shortest > kLost;
}

/// What the arm is fed with, from the first reading that has the voltage of all its motors: a supply that
/// sags later is measured against it.
void ArmPlanner::learn_supply(const Reading& reading) noexcept {
  if (nominal_voltage_ > 0) return;
  std::array<std::uint8_t, kMostAxes> known{};
  const auto motors = static_cast<std::ptrdiff_t>(end_ - begin_);
  std::copy_n(reading.voltage.begin() + static_cast<std::ptrdiff_t>(begin_), motors, known.begin());
  std::sort(known.begin(), known.begin() + motors);
  if (known[0] > 0) nominal_voltage_ = known[static_cast<std::size_t>(motors / 2)];
}

/// Temperature and voltage come a few times a second; what is not known yet is no fault.
void ArmPlanner::look_at_supply(const Reading& reading) noexcept {
  learn_supply(reading);
  warm_ = low_voltage_ = 0;
  for (std::size_t k = begin_; k < end_; ++k) {
    const int nominal = nominal_voltage_;
    const int volts = reading.voltage[k];
    const bool known = nominal > 0 && volts > 0;
    if (reading.temperature[k] >= kWarm) warm_ |= 1ULL << k;
    if (known && volts * 100 < nominal * kLowSupply) low_voltage_ |= 1ULL << k;
    const bool off = known && bad_supply(volts, nominal);
    if ((reading.temperature[k] < kTooHot && !off) || events_.fault_joint >= 0) continue;
    events_.fault_joint = static_cast<int>(k);
    events_.fault_reason = off ? Reason::motor_voltage : Reason::motor_hot;
  }
  if (warm_ != 0) tally_.warm.fetch_or(warm_, std::memory_order_relaxed);
  if (low_voltage_ != 0) tally_.low_voltage.fetch_or(low_voltage_, std::memory_order_relaxed);
}

void ArmPlanner::look_for_obstacles(const Reading& reading, std::int64_t now) noexcept {
  blocked_ = 0;
  if (!torque_on_) return;
  for (std::size_t k = begin_; k < end_; ++k) {
    if (has(stale_, k) || !obstacles_.blocked(k, reading.values[k], config_.axes[k].deviation, now)) continue;
    blocked_ |= 1ULL << k;
    if (events_.blocked_joint < 0) events_.blocked_joint = static_cast<int>(k);
  }
}

void ArmPlanner::look_at_source(const Demand& demand) noexcept {
  events_.heartbeat_age = demand.silent_for;
  events_.starved_for = demand.starved_for;
  events_.stream_fresh = demand.known && demand.steady;
  events_.illegal_burst = demand.illegal_burst;
  events_.near_setpoint = demand.known;
  for (std::size_t k = begin_; k < end_ && events_.near_setpoint; ++k) {
    const PlannerAxis& axis = config_.axes[k];
    const double aim = std::clamp(demand.wanted[k], axis.limits.low, axis.limits.high);
    events_.near_setpoint = std::abs(aim - motion_[k].position) <= axis.jump;
  }
}

void ArmPlanner::look_at_rest(const Reading& reading, std::int64_t now) noexcept {
  if (machine_.state() != State::rest) {
    rest_progress_ = now;
    rest_distance_ = HUGE_VAL;
    return;
  }
  double farthest = 0;
  double sum = 0;
  for (std::size_t k = begin_; k < end_; ++k) {
    const PlannerAxis& axis = config_.axes[k];  // a rest pose beyond the limits is approached up to them
    const double rest = std::clamp(axis.rest, axis.limits.low, axis.limits.high);
    const double distance = std::abs(reading.values[k] - rest);
    farthest = std::max(farthest, distance);
    sum += distance;
  }
  // Arrived by measurement, and the goal stands there too: torque goes off at rest.
  events_.rest_reached = farthest <= kArrived && stands();
  if (sum < rest_distance_ - kProgress) {
    rest_distance_ = sum;
    rest_progress_ = now;
  }
  events_.rest_stuck_for = now - rest_progress_;
}

void ArmPlanner::look(const Reading& reading, const Demand& demand, const Events& asked,
                      const Tick& tick) noexcept {
  events_ = asked;
  look_at_joints(reading, tick.now);
  look_at_silence(reading, tick.now);
  look_at_supply(reading);
  look_for_obstacles(reading, tick.now);
  look_at_source(demand);
  look_at_rest(reading, tick.now);
  events_.arm_passed = arm_passed_;
  events_.released = released_;
  events_.at_rest = stands();
  events_.torque_on = torque_on_;
  arm_passed_ = released_ = false;
}

/// One tick toward the setpoint that is due.
Motion ArmPlanner::track(std::size_t axis, const Demand& demand, const AxisLimits& limits,
                         double dt) const noexcept {
  const double wanted = demand.wanted[axis];
  const double before = demand.before[axis];
  if (config_.queue.interpolation != Interpolation::critically_damped || config_.source != SourceKind::chunks)
    return follow(motion_[axis], wanted, before, limits, dt);
  return damp(motion_[axis], wanted, before, demand.damping, limits, dt);
}

void ArmPlanner::move(const Demand& demand, State state, const Tick& tick) noexcept {
  const double part = kSlowest + (1 - kSlowest) * machine_.ramp(tick.now);
  for (std::size_t k = begin_; k < end_; ++k) {
    const PlannerAxis& axis = config_.axes[k];
    AxisLimits limits = axis.limits;
    Motion& m = motion_[k];
    if (state == State::soft_start) limits.speed = std::min(limits.speed, axis.soft_speed) * part;
    if (tracks(state) && demand.known) {
      m = track(k, demand, limits, tick.dt);
    } else if (state == State::rest) {
      limits.speed = std::min(limits.speed, axis.soft_speed);
      m = follow(m, axis.rest, axis.rest, limits, tick.dt);
    } else if ((state == State::hold || state == State::fault) && has(pulled_ & ~stale_, k)) {
      limits.speed = std::min(limits.speed, axis.soft_speed);
      m = follow(m, pulled_to_[k], pulled_to_[k], limits, tick.dt);
    } else if (axis.zero_on_starve) {
      m = follow(m, 0, 0, limits, tick.dt);
    } else {
      m = brake(m, limits, tick.dt);
    }
  }
}

/// Where a joint runs into something, its goal comes back to it, so that the servo does not push on: whatever
/// else happened in the same tick, and also where the arm may not move on until a reset.
void ArmPlanner::pull_back(const Reading& reading, const Decision& decision) noexcept {
  if (!decision.entered) return;
  AxisVector pose{};
  for (std::size_t k = begin_; k < end_; ++k)
    pose[k] = has(stale_, k) ? motion_[k].position : reading.values[k];
  obstacles_.begin({pose.data(), config_.axes.size()});
  if (decision.state != State::hold && decision.state != State::fault) pulled_ = 0;
  // A second request to stop lets go as soon as the arm is braked: nothing is pulled before.
  const bool off_next = decision.reason == Reason::second_stop;
  if ((decision.state != State::hold && decision.state != State::fault) || off_next) return;
  pulled_ |= blocked_;
  for (std::size_t k = begin_; k < end_; ++k) {
    const double jump = config_.axes[k].jump;
    if (has(blocked_, k)) pulled_to_[k] = std::clamp(motion_[k].position, pose[k] - jump, pose[k] + jump);
  }
}

/// Until it is armed or resumed.
void ArmPlanner::derate(const Reading& reading, const Decision& decision) noexcept {
  if (decision.entered && decision.state == State::soft_start) derated_ = 0;
  for (std::size_t k = begin_; k < end_; ++k) {
    if (wants_less_torque(reading.alarms[k], reading.temperature[k])) derated_ |= 1ULL << k;
  }
}

/// A motor that burns is not helped by holding on: in a fault it is switched off, alone; so it is where the
/// arm waits for its release.
void ArmPlanner::let_go(const Reading& reading, const Decision& decision) noexcept {
  if (decision.state != State::fault && decision.state != State::off) return;
  for (std::size_t k = begin_; k < end_; ++k) {
    if ((reading.alarms[k] & alarm::kBurning) != 0 || reading.temperature[k] >= kTooHot) limp_ |= 1ULL << k;
  }
}

/// Joints without torque, and those that stand still somewhere unknown: the servo keeps the goal that it has.
std::uint64_t ArmPlanner::withheld(State state) const noexcept {
  std::uint64_t out = limp_;
  if (state != State::hold && state != State::fault) return out;
  for (std::size_t k = begin_; k < end_; ++k) {
    if (has(stale_, k) && std::abs(motion_[k].velocity) < kStill) out |= 1ULL << k;
  }
  return out;
}

/// Whoever is held after a fault or an e-stop is held with its whole torque: with a fifth of it an arm sags.
double ArmPlanner::ramp_torque(State state, const Tick& tick) noexcept {
  const bool at_once = is_latched(state);
  const double ramp = at_once ? 1 : machine_.ramp(tick.now);
  const double part = kTorqueFrom + (1 - kTorqueFrom) * ramp;
  if (derated_ != derated_written_) {
    derated_written_ = derated_;
    return part;
  }
  if (torque_written_ < 0 || (!at_once && tick.due - torque_written_ < kTorqueEvery)) return -1;
  torque_written_ = ramp >= 1 ? -1 : tick.due;  // -1: full torque was written
  return part;
}

/// Before the goals of this tick move on.
void ArmPlanner::watch_motion(const Reading& reading, const Decision& decision) noexcept {
  AxisVector goals{};
  for (std::size_t k = begin_; k < end_; ++k) goals[k] = motion_[k].position;
  obstacles_.push({goals.data(), config_.axes.size()});
  pull_back(reading, decision);
  derate(reading, decision);
  let_go(reading, decision);
}

/// Whether a goal leaves. An e-stop's is repeated, then the bus is left alone. A port that has come back
/// carries none before the arm is armed again.
bool ArmPlanner::writes(const Decision& decision) noexcept {
  const State state = decision.state;
  const bool silent = state == State::disarmed || state == State::off || !torque_on_ || cut_off_;
  const bool stopped = state == State::estop && stands() && stop_writes_ >= kStopWrites;
  const bool out = !silent && !stopped;
  if (state == State::estop && stands() && out) ++stop_writes_;
  if (state != State::estop) stop_writes_ = 0;
  return out;
}

void ArmPlanner::plan(const Reading& reading, const Demand& demand, bool coupled, const Tick& tick,
                      Plan& out) noexcept {
  events_.coupled = events_.coupled || coupled;
  const Decision decision = machine_.step(events_, tick.now);
  out.arms.push_back(decision);
  if (torque_on_) watch_motion(reading, decision);
  // The first goal of a session is the measured pose, written once more before anything moves.
  if (torque_on_ && !cut_off_ && !events_.arm_passed) move(demand, decision.state, tick);

  const bool write = writes(decision);
  out.write = out.write || write;
  for (std::size_t k = begin_; k < end_; ++k) {
    out.goal[k] = torque_on_ ? motion_[k].position : reading.values[k];
    out.requested[k] = tracks(decision.state) && demand.known ? demand.wanted[k] : out.goal[k];
    if (!write) out.withheld |= 1ULL << k;
  }
  out.withheld |= withheld(decision.state);
  if (write && (decision.ramp_torque || derated_ != derated_written_))
    out.torque[arm_] = ramp_torque(decision.state, tick);
  out.derated |= derated_;
  if (torque_on_) out.limp |= limp_;
  out.warm |= warm_;
  out.low_voltage |= low_voltage_;
}

}  // namespace rl
