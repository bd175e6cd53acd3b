/// The safety state machine, pure: events of one tick in, state and duties out. No clock, no bus, no
/// allocation.
///
/// One machine an arm. Priority in one tick: e-stop, fault, exit, off, hold, rest, others. FAULT and ESTOP
/// are latched: nothing but `reset` clears them. A stop request is kept until it is carried out; while it is
/// pending nothing arms and nothing resumes.
#pragma once

#include <array>
#include <cstdint>

namespace rl {

enum class State : std::uint8_t { disarmed, soft_start, active, hold, rest, off, fault, estop };
constexpr int kStates = 8;
[[nodiscard]] const char* to_string(State state) noexcept;
[[nodiscard]] constexpr bool is_latched(State state) noexcept {
  return state == State::fault || state == State::estop;
}
[[nodiscard]] constexpr bool has_torque(State state) noexcept {
  return state != State::off && state != State::disarmed;
}
/// It goes where the source of set points wants it.
[[nodiscard]] constexpr bool tracks(State state) noexcept {
  return state == State::soft_start || state == State::active;
}

enum class StopPolicy : std::uint8_t { rest, hold, off };

enum class Reason : std::uint8_t {
  none,
  armed,
  source_caught,
  heartbeat_lost,
  source_dead,
  starved,
  state_stale,
  overload,
  overrun,
  illegal_setpoints,
  motor_fault,
  motor_hot,
  motor_voltage,
  motor_rebooted,
  blocked,
  motor_mute,
  bus_lost,
  hang_up,
  stop_requested,
  second_stop,
  duration_over,
  no_rest_pose,
  rest_reached,
  rest_blocked,
  rest_too_long,
  estop,
  resumed,
  reset,
  released,
  guardian_died,
  unguarded,
  coupled,
};
/// One line for people.
[[nodiscard]] const char* to_string(Reason reason) noexcept;

/// The session is being closed: by the stop policy, torque left as it is in FAULT and ESTOP; or, when that
/// did not end it, at once.
enum class Closing : std::uint8_t { no, orderly, at_once };

/// ns. The numbers are the specification's.
struct SafetyConfig {
  std::int64_t heartbeat_timeout = 100'000'000;
  std::int64_t hold_to_rest = 10'000'000'000;
  std::int64_t soft_start = 1'000'000'000;
  std::int64_t starved_to_hold = 1'000'000'000;
  std::int64_t overload_to_fault = 1'000'000'000;
  std::int64_t rest_at_most = 8'000'000'000;
  std::int64_t rest_without_progress = 1'500'000'000;
  std::int64_t blocked_hold = 1'000'000'000;
  std::int64_t second_stop_within = 2'000'000'000;
  std::int64_t blocked_within = 10'000'000'000;  ///< a third obstacle within this time is a fault
  StopPolicy stop_policy = StopPolicy::rest;
  bool has_rest_pose = true;
  bool estop_off = false;  ///< an e-stop lets go at once, instead of holding
};

/// What was asked and seen since the last tick.
struct Events {
  bool arm_passed = false;  ///< every check passed and every motor took torque
  bool estop = false;
  bool resume = false;
  bool reset = false;
  bool release = false;
  int stop_requests = 0;
  StopPolicy stop_policy = StopPolicy::rest;  ///< of the newest request
  bool duration_over = false;
  Closing closing = Closing::no;  ///< stays once it was asked

  std::int64_t heartbeat_age = 0;
  bool stream_fresh = false;  ///< what resume asks for
  std::int64_t starved_for = 0;
  int stale_joint = -1;
  int mute_joint = -1;
  int overload_joint = -1;
  std::int64_t overload_for = 0;
  int fault_joint = -1;
  Reason fault_reason = Reason::motor_fault;
  int blocked_joint = -1;  ///< it does not follow its goals
  bool bus_lost = false;
  bool hang_up = false;
  bool unguarded = false;  ///< nobody would take over if this process died
  bool overrun = false;
  bool illegal_burst = false;
  bool coupled = false;  ///< another arm, or another part of the robot, has to stop

  bool at_rest = true;         ///< the goal does not move
  bool near_setpoint = false;  ///< within `jump`
  bool rest_reached = false;
  std::int64_t rest_stuck_for = 0;
  bool torque_on = false;
  bool released = false;  ///< the release sequence asked for has been carried out
};

struct Decision {
  State state = State::disarmed;
  bool entered = false;  ///< the state is new in this tick
  Reason reason = Reason::none;
  int joint = -1;
  bool release_now = false;  ///< carry out the release sequence
  bool ramp_torque = false;  ///< the soft start's torque ramp runs, also on in HOLD; latched: it ends at once
  bool ended = false;        ///< as far as this arm goes; others may have to come to their end first
  int exit_code = 0;         ///< when it ended
};

class SafetyMachine {
 public:
  explicit SafetyMachine(const SafetyConfig& config) noexcept : config_(config) {}

  Decision step(const Events& events, std::int64_t now) noexcept;
  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] bool stop_pending() const noexcept { return stop_pending_; }
  /// Whether the other arms of the robot have to stop for `events`: a fault, or a cause of HOLD of its own.
  [[nodiscard]] bool stops_others(const Events& events, std::int64_t now) const noexcept;
  /// 0..1 of the soft start's ramp.
  [[nodiscard]] double ramp(std::int64_t now) const noexcept;

 private:
  void note_stops(const Events& events, std::int64_t now) noexcept;
  bool step_latched(const Events& events, std::int64_t now) noexcept;
  bool step_exit(const Events& events, std::int64_t now) noexcept;
  bool step_off(const Events& events, std::int64_t now) noexcept;
  bool step_hold(const Events& events, std::int64_t now) noexcept;
  bool step_held(const Events& events, std::int64_t now, Reason cause) noexcept;
  void step_rest(const Events& events, std::int64_t now) noexcept;
  void step_forward(const Events& events, std::int64_t now) noexcept;
  [[nodiscard]] Reason fault_cause(const Events& events, std::int64_t now, int& joint) const noexcept;
  [[nodiscard]] Reason hold_cause(const Events& events, int& joint) const noexcept;
  [[nodiscard]] bool moving() const noexcept {
    return state_ == State::soft_start || state_ == State::active || state_ == State::hold ||
           state_ == State::rest;
  }
  [[nodiscard]] bool third_block(std::int64_t now) const noexcept;
  void enter(State state, Reason reason, int joint, std::int64_t now) noexcept;
  void end(int exit_code) noexcept {
    ended_ = true;
    exit_code_ = exit_code;
  }

  SafetyConfig config_;
  State state_ = State::disarmed;
  Reason reason_ = Reason::none;
  int joint_ = -1;
  std::int64_t since_ = 0;       ///< of the state
  std::int64_t ramp_began_ = 0;  ///< of the torque
  bool ramp_done_ = true;
  bool entered_ = false;
  bool stop_pending_ = false;
  bool off_pending_ = false;  ///< second request, or policy off: brake, then OFF
  bool release_pending_ = false;
  bool resume_pending_ = false;
  bool reset_pending_ = false;  ///< until what brakes has come to rest
  std::int64_t resume_until_ = 0;
  std::int64_t last_stop_ = 0;
  bool duration_seen_ = false;
  std::int64_t rest_clock_ = 0;               ///< when the stop was requested or REST entered; 0: neither
  std::int64_t gave_up_ = 0;                  ///< when REST was left as blocked; 0: it was not
  std::int64_t dead_since_ = 0;               ///< heartbeat gone while in HOLD
  std::array<std::int64_t, 2> blocked_at_{};  ///< the last two holds by an obstacle; 0: none
  StopPolicy policy_ = StopPolicy::rest;
  bool ended_ = false;  ///< in this tick
  int exit_code_ = 0;
};

}  // namespace rl
