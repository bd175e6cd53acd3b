/// One arm of a robot: its state machine, its motion, and what its motors say. Each arm faults, holds, rests
/// and is released by itself; what one has to stop for puts the others into HOLD.
#pragma once

#include <array>
#include <cstdint>

#include "rl/obstacle.hpp"
#include "rl/plan.hpp"
#include "rl/safety.hpp"

namespace rl {

/// What the source of set points wants at the next deadline, and how it is.
struct Demand {
  AxisVector wanted{};
  AxisVector before{};  ///< of the tick before; `wanted` where there was none
  bool known = false;
  double damping = 0;  ///< 1/s, of the critically damped way between the actions of the last chunk
  std::int64_t silent_for = 0;
  std::int64_t starved_for = 0;
  bool steady = false;
  bool illegal_burst = false;
};

struct Tick {
  std::int64_t now = 0;
  std::int64_t due = 0;
  double dt = 0;  ///< s since the last goal, never more than a period
};

class ArmPlanner {
 public:
  ArmPlanner(const PlannerConfig& config, std::size_t arm, Tally& tally);

  /// The motors took torque at this pose: the goals begin here, at rest.
  /// `ramp`: the torque limit of some was lowered and is to be raised again.
  void armed(const Reading& reading, bool ramp) noexcept;
  void released(bool all_off) noexcept;

  /// What there is to decide on. `asked`: requests to the robot, and what is so for all of its arms.
  void look(const Reading& reading, const Demand& demand, const Events& asked, const Tick& tick) noexcept;
  /// Whether the others have to stop for what was seen.
  [[nodiscard]] bool stops_others(const Tick& tick) const noexcept {
    return machine_.stops_others(events_, tick.now);
  }
  /// Decides, moves by one tick, and fills in this arm's part of the plan. `coupled`: another one has to
  /// stop.
  void plan(const Reading& reading, const Demand& demand, bool coupled, const Tick& tick, Plan& out) noexcept;

  [[nodiscard]] State state() const noexcept { return machine_.state(); }
  [[nodiscard]] bool stop_pending() const noexcept { return machine_.stop_pending(); }
  [[nodiscard]] bool torque_on() const noexcept { return torque_on_; }
  /// Its goal does not move, or it has none.
  [[nodiscard]] bool stands() const noexcept;
  [[nodiscard]] double position(std::size_t axis) const noexcept { return motion_[axis].position; }
  [[nodiscard]] std::uint64_t warm() const noexcept { return warm_; }
  [[nodiscard]] std::uint64_t low_voltage() const noexcept { return low_voltage_; }
  [[nodiscard]] std::size_t begin() const noexcept { return begin_; }
  [[nodiscard]] std::size_t end() const noexcept { return end_; }

 private:
  void stay() noexcept;
  void look_at_joints(const Reading& reading, std::int64_t now) noexcept;
  void look_at_silence(const Reading& reading, std::int64_t now) noexcept;
  void learn_supply(const Reading& reading) noexcept;
  void look_at_supply(const Reading& reading) noexcept;
  void look_for_obstacles(const Reading& reading, std::int64_t now) noexcept;
  void look_at_source(const Demand& demand) noexcept;
  void look_at_rest(const Reading& reading, std::int64_t now) noexcept;
  void watch_motion(const Reading& reading, const Decision& decision) noexcept;
  void pull_back(const Reading& reading, const Decision& decision) noexcept;
  void derate(const Reading& reading, const Decision& decision) noexcept;
  void let_go(const Reading& reading, const Decision& decision) noexcept;
  void move(const Demand& demand, State state, const Tick& tick) noexcept;
  [[nodiscard]] Motion track(std::size_t axis, const Demand& demand, const AxisLimits& limits,
                             double dt) const noexcept;
  [[nodiscard]] double ramp_torque(State state, const Tick& tick) noexcept;
  [[nodiscard]] std::uint64_t withheld(State state) const noexcept;
  [[nodiscard]] bool writes(const Decision& decision) noexcept;

  const PlannerConfig& config_;
  std::size_t arm_;
  Tally& tally_;
  std::size_t begin_ = 0;  ///< of its axes
  std::size_t end_ = 0;
  SafetyMachine machine_;
  Events events_;

  std::array<Motion, kMostAxes> motion_{};
  bool torque_on_ = false;
  bool arm_passed_ = false;
  bool released_ = false;
  bool cut_off_ =
      false;  ///< its port was gone since it was armed: the motors keep the last goal that they got
  std::int64_t overloaded_ = 0;                    ///< since when
  std::array<std::int64_t, kMostAxes> silence_{};  ///< ns of requests left unanswered
  std::array<std::int64_t, kMostAxes> unasked_{};  ///< ns since the last request
  std::int64_t last_look_ = 0;
  std::int64_t rest_progress_ = 0;  ///< last time the rest pose came nearer
  double rest_distance_ = 0;
  int stop_writes_ = 0;  ///< of the e-stop, after rest
  std::int64_t torque_written_ = 0;
  std::uint64_t derated_ = 0;
  std::uint64_t limp_ = 0;
  std::uint64_t derated_written_ = 0;
  int nominal_voltage_ = 0;  ///< 0.1 V, its motors' median at connect; 0: not known
  std::uint64_t warm_ = 0;
  std::uint64_t low_voltage_ = 0;
  std::uint64_t stale_ = 0;  ///< bit k: the position of joint k is too old to be used
  ObstacleWatch obstacles_;
  std::uint64_t blocked_ = 0;  ///< bit k: something is in the way of joint k
  std::uint64_t pulled_ = 0;   ///< bit k: in HOLD and FAULT joint k goes to `pulled_to_`, away from it
  AxisVector pulled_to_{};
};

}  // namespace rl
