/// What the robot is to do next: source, blending, safety and limits composed. Everything that moves an arm
/// goes through `plan`; there is no second way to the bus.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "rl/action_queue.hpp"
#include "rl/arm_planner.hpp"
#include "rl/plan.hpp"
#include "rl/requests.hpp"
#include "rl/source_watch.hpp"

namespace rl {

class Planner {
 public:
  /// The axes of one arm follow each other.
  Planner(const PlannerConfig& config, Requests& requests, ChunkRing& chunks, Tally& tally);
  Planner(const Planner&) = delete;  // its arms look at its config
  Planner& operator=(const Planner&) = delete;

  /// The motors of these arms (bit a) took torque: ArmPlanner::armed.
  void armed(std::uint64_t arms, const Reading& reading, std::int64_t now, bool ramp) noexcept;
  /// The release sequence of these arms was carried out; those of `held` still have torque.
  void released(std::uint64_t arms, std::uint64_t held) noexcept;
  void overrun() noexcept { overrun_ = true; }

  /// What is written at `due`, from what was read by `now`.
  Plan plan(const Reading& reading, std::int64_t now, std::int64_t due) noexcept;

  /// Of the arm that is worst off.
  [[nodiscard]] State state() const noexcept;
  [[nodiscard]] bool stop_pending() const noexcept;
  [[nodiscard]] std::int64_t active_cycles() const noexcept { return active_; }
  [[nodiscard]] std::size_t axes() const noexcept { return config_.axes.size(); }
  /// Bit a: arm a may be armed now. None while another one moves, since switching on takes several periods,
  /// or is latched.
  [[nodiscard]] std::uint64_t may_arm() const noexcept;

 private:
  void take_chunks(std::int64_t due) noexcept;
  [[nodiscard]] bool setpoint(const Reading& reading, std::int64_t due, AxisVector& out) noexcept;
  [[nodiscard]] std::int64_t heartbeat(const Reading& reading, std::int64_t now, std::int64_t due) noexcept;
  [[nodiscard]] std::uint64_t illegal() const noexcept;
  void look_at_source(const Reading& reading, const Tick& tick) noexcept;
  void look(const Reading& reading, const Tick& tick) noexcept;
  [[nodiscard]] double since_last(std::int64_t due) const noexcept;
  void forget(const Plan& plan) noexcept;
  void watch_source(const Plan& plan) noexcept;
  void count_ticks(const Plan& plan, double dt) noexcept;
  void remember_setpoint() noexcept;
  [[nodiscard]] std::uint64_t releases(const Plan& plan) const noexcept;
  [[nodiscard]] const ArmPlanner& arm_of(std::size_t axis) const noexcept {
    return arms_[config_.axes[axis].arm];
  }

  PlannerConfig config_;
  Requests& requests_;
  ChunkRing& chunks_;
  Tally& tally_;
  ActionQueue queue_;
  std::vector<ArmPlanner> arms_;
  Demand demand_;

  std::array<AxisVector, 3> before_{};  ///< the setpoints of the last ticks, the newest first
  std::size_t before_known_ = 0;
  bool overrun_ = false;
  std::int64_t began_ = 0;  ///< of the armed time: the source's silence counts from here
  std::int64_t last_due_ = 0;
  std::int64_t covered_ = 0;  ///< last instant with an action due
  std::int64_t active_ = 0;
  SteadyWatch arrivals_;
  std::int64_t leader_seen_ = 0;
  BurstWatch illegal_;
};

}  // namespace rl
