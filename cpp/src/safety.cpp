#include "rl/safety.hpp"

#include <algorithm>
#include <array>

namespace rl {
namespace {

constexpr std::int64_t kResumePatience = 2'000'000'000;  // ns a resume waits for its stream
constexpr std::int64_t kTorqueWritten = 100'000'000;     // ns after the ramp: its last value has left

/// Neither a dead source, nor a dead second hand, nor another arm keeps a pending stop from the rest pose.
bool keeps_from_nothing(Reason cause) noexcept {
  return cause == Reason::heartbeat_lost || cause == Reason::unguarded || cause == Reason::coupled;
}

}  // namespace

const char* to_string(State state) noexcept {
  constexpr std::array<const char*, kStates> kNames = {"DISARMED", "SOFT_START", "ACTIVE", "HOLD",
                                                       "REST",     "OFF",        "FAULT",  "ESTOP"};
  return kNames[static_cast<std::size_t>(state)];
}

const char* to_string(Reason reason) noexcept {
  switch (reason) {
    case Reason::none:
      return "";
    case Reason::armed:
      return "armed";
    case Reason::source_caught:
      return "soft start finished";
    case Reason::heartbeat_lost:
      return "the source of setpoints is silent";
    case Reason::source_dead:
      return "the source of setpoints stayed silent";
    case Reason::starved:
      return "no action was due for 1 s";
    case Reason::state_stale:
      return "a joint's position is too old";
    case Reason::overload:
      return "a motor is overloaded";
    case Reason::overrun:
      return "the loop was held up";
    case Reason::illegal_setpoints:
      return "too many illegal setpoints";
    case Reason::motor_fault:
      return "a motor reports a fault";
    case Reason::motor_hot:
      return "a motor is too hot";
    case Reason::motor_voltage:
      return "a motor's supply voltage is out of bounds";
    case Reason::motor_rebooted:
      return "a motor lost its torque: it has started anew, or another program switched it off";
    case Reason::blocked:
      return "a joint does not follow its goals: something is in its way";
    case Reason::motor_mute:
      return "a motor does not answer";
    case Reason::bus_lost:
      return "no motor answers";
    case Reason::hang_up:
      return "the port is gone";
    case Reason::stop_requested:
      return "stop requested";
    case Reason::second_stop:
      return "off requested";
    case Reason::duration_over:
      return "duration over";
    case Reason::no_rest_pose:
      return "stop requested; torque stays on";
    case Reason::rest_reached:
      return "rest pose reached";
    case Reason::rest_blocked:
      return "rest move blocked; will release";
    case Reason::rest_too_long:
      return "rest move took too long; will release";
    case Reason::estop:
      return "emergency stop";
    case Reason::resumed:
      return "resumed";
    case Reason::reset:
      return "reset";
    case Reason::released:
      return "released";
    case Reason::guardian_died:
      return "the guardian died; its second hand took over";
    case Reason::unguarded:
      return "the guardian's second hand is gone; start the session again";
    case Reason::coupled:
      return "another part of the robot is held";
  }
  return "";
}

double SafetyMachine::ramp(std::int64_t now) const noexcept {
  if (ramp_done_ || config_.soft_start <= 0) return 1;
  return std::clamp(static_cast<double>(now - ramp_began_) / static_cast<double>(config_.soft_start), 0.0,
                    1.0);
}

void SafetyMachine::enter(State state, Reason reason, int joint, std::int64_t now) noexcept {
  state_ = state;
  reason_ = reason;
  joint_ = joint;
  since_ = now;
  entered_ = true;
  dead_since_ = 0;
  resume_pending_ = reset_pending_ = false;  // a request is for the state that it was made in
  if (state != State::hold) gave_up_ = 0;
  if (state == State::soft_start) rest_clock_ = 0;
  if (state == State::rest && rest_clock_ == 0) rest_clock_ = now;
  if (state == State::off) {
    release_pending_ = true;
    off_pending_ = false;
    rest_clock_ = 0;
  }
  if (is_latched(state)) {  // they hold until a new request
    stop_pending_ = off_pending_ = release_pending_ = false;
    rest_clock_ = 0;
  }
}

void SafetyMachine::note_stops(const Events& events, std::int64_t now) noexcept {
  const int requests = events.stop_requests;
  if (events.closing != Closing::no && !stop_pending_ && requests == 0) {  // never an escalation
    stop_pending_ = true;
    rest_clock_ = now;
    policy_ = config_.stop_policy;
    off_pending_ = policy_ == StopPolicy::off && !is_latched(state_);
  }
  const bool by_duration = events.duration_over && !duration_seen_;  // one request, which a latch drops
  duration_seen_ = events.duration_over;
  if (by_duration && !stop_pending_ && requests == 0) {
    stop_pending_ = true;
    rest_clock_ = now;
    policy_ = config_.stop_policy;
    reason_ = Reason::duration_over;
    off_pending_ = policy_ == StopPolicy::off;
  }
  if (requests == 0) return;
  const bool again = last_stop_ != 0 && now - last_stop_ <= config_.second_stop_within;
  last_stop_ = now;
  if (!stop_pending_) {
    stop_pending_ = true;
    rest_clock_ = now;
    policy_ = events.stop_policy;
  } else if (events.stop_policy == StopPolicy::off) {
    policy_ = StopPolicy::off;
  }
  if (again || requests > 1 || policy_ == StopPolicy::off) off_pending_ = true;
}

bool SafetyMachine::third_block(std::int64_t now) const noexcept {
  return blocked_at_[0] != 0 && now - blocked_at_[0] <= config_.blocked_within;
}

Reason SafetyMachine::fault_cause(const Events& events, std::int64_t now, int& joint) const noexcept {
  if (events.hang_up) return Reason::hang_up;
  if (events.bus_lost) return Reason::bus_lost;
  joint = events.mute_joint;
  if (joint >= 0) return Reason::motor_mute;
  joint = events.fault_joint;
  if (joint >= 0) return events.fault_reason;
  joint = events.blocked_joint;
  const bool counts = state_ == State::active || state_ == State::rest;
  if (joint >= 0 && (state_ == State::soft_start || (counts && third_block(now)))) return Reason::blocked;
  joint = events.overload_joint;
  if (joint >= 0 && events.overload_for > config_.overload_to_fault) return Reason::overload;
  joint = -1;
  return Reason::none;
}

Reason SafetyMachine::hold_cause(const Events& events, int& joint) const noexcept {
  joint = events.stale_joint;
  if (joint >= 0) return Reason::state_stale;
  joint = events.overload_joint;
  if (joint >= 0) return Reason::overload;
  if (events.overrun) return Reason::overrun;
  joint = events.blocked_joint;
  if (joint >= 0 && state_ != State::hold) return Reason::blocked;
  joint = -1;
  if (state_ == State::rest) return Reason::none;  // it needs no source
  if (events.heartbeat_age > config_.heartbeat_timeout) return Reason::heartbeat_lost;
  if (events.illegal_burst) return Reason::illegal_setpoints;
  if (state_ == State::active && events.starved_for > config_.starved_to_hold) return Reason::starved;
  // Last: they must not hide a dead source, which ends in REST.
  if (events.unguarded) return Reason::unguarded;
  if (events.coupled) return Reason::coupled;
  return Reason::none;
}

bool SafetyMachine::stops_others(const Events& events, std::int64_t now) const noexcept {
  if (is_latched(state_)) return true;
  if (state_ == State::off) return release_pending_ && events.torque_on;  // it is let go once all stand
  if (!moving()) return false;
  int joint = -1;
  Events own = events;
  own.coupled = false;
  return fault_cause(own, now, joint) != Reason::none || hold_cause(own, joint) != Reason::none;
}

/// E-stop and faults: the way in and the only ways out.
bool SafetyMachine::step_latched(const Events& events, std::int64_t now) noexcept {
  if (events.estop && state_ != State::estop) {
    enter(State::estop, Reason::estop, -1, now);
    release_pending_ = config_.estop_off && events.torque_on;
    return true;
  }
  int joint = -1;
  const Reason cause = fault_cause(events, now, joint);
  if (moving() && cause != Reason::none) {
    enter(State::fault, cause, joint, now);
    return true;
  }
  if (!is_latched(state_)) return false;
  const bool settled = events.at_rest || events.hang_up || events.bus_lost || !events.torque_on;
  // Not while a stop is pending: in DISARMED it would let go of what is held. Nothing is written there
  // either: what still brakes comes to rest before.
  reset_pending_ =
      (reset_pending_ || events.reset) && !events.estop && !stop_pending_ && cause == Reason::none;
  if (reset_pending_ && settled) {
    enter(State::disarmed, Reason::reset, -1, now);
    return true;
  }
  if (events.release ||
      off_pending_) {  // once for each request: a motor that does not let go must not keep us
    release_pending_ = events.torque_on;
    off_pending_ = false;
  }
  if (stop_pending_ && settled && !release_pending_) end(1);
  return true;
}

/// A stop request where nothing moves.
bool SafetyMachine::step_exit(const Events& events, std::int64_t now) noexcept {
  if (state_ == State::disarmed && stop_pending_) {
    if (events.torque_on) {  // left on by a reset
      enter(State::off, Reason::stop_requested, -1, now);
    } else {
      end(0);
    }
    return true;
  }
  if (state_ == State::off && stop_pending_ && !release_pending_) {
    end(events.torque_on ? 1 : 0);
    // Carried out here; the other arm's was dropped by the fault that this resets, and that one goes on.
    if (events.reset && events.coupled) stop_pending_ = false;
    return true;
  }
  return false;
}

bool SafetyMachine::step_off(const Events& events, std::int64_t now) noexcept {
  const bool may = moving() || state_ == State::disarmed;
  if (events.release && may && state_ != State::soft_start && state_ != State::active) {
    enter(State::off, Reason::released, -1, now);
    return true;
  }
  if (!moving() || !off_pending_) return false;
  if (state_ != State::hold) enter(State::hold, Reason::second_stop, -1, now);  // braked first, then off
  if (events.at_rest) enter(State::off, Reason::second_stop, -1, now);
  return true;
}

bool SafetyMachine::step_hold(const Events& events, std::int64_t now) noexcept {
  if (!moving()) return false;
  int joint = -1;
  const Reason cause = hold_cause(events, joint);
  if (state_ != State::hold) {
    if (cause == Reason::none) return false;
    if (stop_pending_ && keeps_from_nothing(cause)) return false;
    enter(State::hold, cause, joint, now);
    if (events.blocked_joint >= 0) {  // counts whatever else held the arm in the same tick
      blocked_at_[0] = blocked_at_[1];
      blocked_at_[1] = now;
    }
    return true;
  }
  return step_held(events, now, cause);
}

/// The ways out of HOLD.
bool SafetyMachine::step_held(const Events& events, std::int64_t now, Reason cause) noexcept {
  const bool from_rest = gave_up_ != 0;
  if (from_rest) {
    if (now - gave_up_ >= config_.blocked_hold) enter(State::off, reason_, -1, now);
    return true;
  }
  const bool resting = config_.has_rest_pose && (!stop_pending_ || policy_ == StopPolicy::rest);
  if (resting && rest_clock_ != 0 && now - rest_clock_ > config_.rest_at_most) {
    gave_up_ = now;
    reason_ = Reason::rest_too_long;
    return true;
  }
  const bool may_rest =
      cause == Reason::none || cause == Reason::illegal_setpoints || keeps_from_nothing(cause);
  if (!may_rest) return true;
  if (stop_pending_) return false;  // on to the rest pose
  if (cause == Reason::heartbeat_lost) {
    if (dead_since_ == 0) dead_since_ = now;
    if (now - dead_since_ > config_.hold_to_rest && config_.has_rest_pose &&
        config_.stop_policy == StopPolicy::rest) {
      enter(State::rest, Reason::source_dead, -1, now);
    }
    return true;
  }
  dead_since_ = 0;
  if (resume_pending_ && events.stream_fresh && cause == Reason::none && events.at_rest) {
    enter(State::soft_start, Reason::resumed, -1, now);
  }
  return true;
}

void SafetyMachine::step_rest(const Events& events, std::int64_t now) noexcept {
  if (stop_pending_ && moving() && state_ != State::rest) {
    const Reason why = reason_ == Reason::duration_over ? reason_ : Reason::stop_requested;
    if (policy_ == StopPolicy::rest && config_.has_rest_pose) {
      enter(State::rest, why, -1, now);
    } else {
      if (state_ != State::hold) enter(State::hold, Reason::no_rest_pose, -1, now);
      // Torque stays on: not a clean end, and not before it has come to its full limit, or while a second
      // request could still let go of it.
      const bool full = now - ramp_began_ > config_.soft_start + kTorqueWritten;
      const bool final = last_stop_ == 0 || now - last_stop_ > config_.second_stop_within;
      if (events.at_rest && full && final) end(1);
    }
    return;
  }
  if (state_ != State::rest) return;
  if (events.rest_reached) {
    enter(State::off, Reason::rest_reached, -1, now);
  } else if (events.rest_stuck_for > config_.rest_without_progress) {
    enter(State::hold, Reason::rest_blocked, -1, now);
    gave_up_ = now;
  } else if (now - rest_clock_ > config_.rest_at_most) {
    enter(State::hold, Reason::rest_too_long, -1, now);
    gave_up_ = now;
  }
}

void SafetyMachine::step_forward(const Events& events, std::int64_t now) noexcept {
  if (events.arm_passed && !stop_pending_ && (state_ == State::disarmed || state_ == State::off)) {
    ramp_began_ = now;
    ramp_done_ = false;
    release_pending_ = false;
    enter(State::soft_start, Reason::armed, -1, now);
  } else if (state_ == State::soft_start && ramp(now) >= 1 && events.near_setpoint) {
    enter(State::active, Reason::source_caught, -1, now);
  }
}

Decision SafetyMachine::step(const Events& events, std::int64_t now) noexcept {
  entered_ = false;
  ended_ = false;
  exit_code_ = 0;
  if (events.released) release_pending_ = false;
  if (events.resume && state_ == State::hold) {
    resume_pending_ = true;
    resume_until_ = now + kResumePatience;
  }
  if (now > resume_until_) resume_pending_ = false;
  note_stops(events, now);

  if (!step_latched(events, now) && !step_exit(events, now) && !step_off(events, now) &&
      !step_hold(events, now)) {
    step_rest(events, now);
    if (!entered_) step_forward(events, now);
  }
  if (!ramp_done_ && ramp(now) >= 1) ramp_done_ = true;
  if (events.closing == Closing::at_once) end(1);

  Decision out;
  out.state = state_;
  out.entered = entered_;
  out.reason = reason_;
  out.joint = joint_;
  out.release_now = release_pending_;
  out.ramp_torque = moving() || is_latched(state_);
  out.ended = ended_;
  out.exit_code = exit_code_;
  return out;
}

}  // namespace rl
