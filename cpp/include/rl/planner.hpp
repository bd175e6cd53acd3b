/// What the arm is to do next: source, blending, safety and limits composed. Everything that moves an arm
/// goes through `plan`; there is no second way to the bus.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "rl/action_queue.hpp"
#include "rl/bounded_list.hpp"
#include "rl/journal.hpp"
#include "rl/limits.hpp"
#include "rl/mailbox.hpp"
#include "rl/obstacle.hpp"
#include "rl/requests.hpp"
#include "rl/safety.hpp"
#include "rl/source_watch.hpp"

namespace rl {

using AxisVector = std::array<double, kMostAxes>;

/// What the buses said, in the order of the action vector. `captured` 0: never heard of.
struct Reading {
  AxisVector values{};
  std::array<std::int64_t, kMostAxes> captured{};
  std::array<std::uint8_t, kMostAxes> status{};
  std::array<std::uint8_t, kMostAxes> load{};         ///< % of the full duty
  std::array<std::uint8_t, kMostAxes> temperature{};  ///< deg C; 0: not known
  std::array<std::uint8_t, kMostAxes> voltage{};      ///< 0.1 V; 0: not known
  std::uint64_t missing = 0;
  std::uint64_t rebooted = 0;  ///< bit k: found without the torque that it had
  bool hang_up = false;
  bool unguarded = false;  ///< the second hand is gone

  AxisVector leader{};
  std::array<std::int64_t, kMostAxes> leader_captured{};
};

constexpr std::uint8_t kOverloadBit = 32;  ///< of a status

/// Half the torque is enough for a joint that is overloaded or nearly too hot.
[[nodiscard]] constexpr bool wants_less_torque(std::uint8_t status, std::uint8_t temperature) noexcept {
  constexpr std::uint8_t kDerate = 65;  // deg C
  return (status & kOverloadBit) != 0 || temperature >= kDerate;
}

enum class SourceKind : std::uint8_t { chunks, setpoints, leader };

struct PlannerAxis {
  AxisLimits limits;
  double soft_speed = 0;
  double jump = 0;
  double deviation = 0;         ///< farther from its goals than this is an obstacle; 0: not watched
  bool zero_on_starve = false;  ///< a velocity: nothing due means stand still
  double rest = 0;
  std::uint8_t bus = 0;  ///< motors of one bus share a supply and a cable
};

struct PlannerConfig {
  BoundedList<PlannerAxis, kMostAxes> axes;
  std::uint64_t led = 0;  ///< bit k: axis k follows a leader (source leader)
  SourceKind source = SourceKind::chunks;
  QueueConfig queue;
  SafetyConfig safety;
  std::int64_t period = 20'000'000;
  std::int64_t active_cycles = 0;  ///< 0: until stopped
};

/// How the motors came to have torque: at least one switched on by us, or all found on and taken over as
/// they were.
enum class Arming : std::uint8_t { refused, switched_on, taken_over };

/// One chunk on its way from the producer to the loop. Its memory is fixed; pages that no chunk reaches cost
/// nothing.
struct ChunkSlot {
  std::int64_t observed = 0;
  std::int64_t period = 0;
  std::size_t rows = 0;
  std::size_t promised = 0;
  std::array<float, kMostRows * kMostAxes> values{};
};
constexpr std::size_t kSlots = 8;  ///< chunks on their way
using ChunkRing = SpscRing<ChunkSlot, kSlots>;

/// Numbers that people read while the loop runs: written by the loop alone.
struct Tally {
  std::atomic<std::uint64_t> followed{0};  ///< ticks with a set point
  std::atomic<std::uint64_t> clamped{0};   ///< those whose set point breaks a limit by itself
  std::atomic<std::uint64_t> warm{0};      ///< bit k: joint k was warm at some time
  std::atomic<std::uint64_t> low_voltage{0};
  std::atomic<std::uint64_t> starved{0};
  std::array<std::atomic<std::uint64_t>, kRefusals> refused{};  ///< by the producer's side and the queue's
  std::array<std::atomic<std::uint64_t>, kMostAxes> missing{};
};

inline void count(std::atomic<std::uint64_t>& counter) noexcept {
  counter.fetch_add(1, std::memory_order_relaxed);
}

/// What the loop does at the next deadline.
struct Plan {
  AxisVector goal{};
  AxisVector requested{};
  bool write = false;
  double torque = -1;             ///< part of the configured torque limit to be written; negative: leave it
  std::uint64_t derated = 0;      ///< bit k: half of that for joint k
  std::uint64_t warm = 0;         ///< bit k: 60 deg C or more
  std::uint64_t low_voltage = 0;  ///< bit k: below 90 % of what its bus had at connect
  std::uint64_t limp = 0;         ///< bit k: joint k is to lose its torque, alone
  std::uint64_t withheld = 0;     ///< bit k: no goal for joint k
  Decision decision;
  std::size_t remaining = 0;
};

class Planner {
 public:
  Planner(const PlannerConfig& config, Requests& requests, ChunkRing& chunks, Tally& tally);

  /// The motors took torque at this pose: the goals begin here, at rest.
  /// `ramp`: the torque limit of some was lowered and is to be raised again.
  void armed(const Reading& reading, std::int64_t now, bool ramp) noexcept;
  void released(bool all_off) noexcept;
  void overrun() noexcept { overrun_ = true; }

  /// What is written at `due`, from what was read by `now`.
  Plan plan(const Reading& reading, std::int64_t now, std::int64_t due) noexcept;

  [[nodiscard]] State state() const noexcept { return machine_.state(); }
  [[nodiscard]] bool stop_pending() const noexcept { return machine_.stop_pending(); }
  [[nodiscard]] std::int64_t active_cycles() const noexcept { return active_; }
  [[nodiscard]] bool torque_on() const noexcept { return torque_on_; }
  [[nodiscard]] std::size_t axes() const noexcept { return config_.axes.size(); }

 private:
  void forget_on_entry(State entered) noexcept;
  void ramp_torque(Plan& out, std::int64_t now, std::int64_t due) noexcept;
  void derate(const Reading& reading, const Decision& decision) noexcept;
  void let_go(const Reading& reading, const Decision& decision) noexcept;
  [[nodiscard]] std::uint64_t withheld(State state) const noexcept;
  void fill_goals(const Reading& reading, bool followed, Plan& out) const noexcept;
  void pull_back(const Reading& reading, const Decision& decision) noexcept;
  void learn_supply(const Reading& reading) noexcept;
  void look_at_supply(const Reading& reading, Events& events) noexcept;
  void look_for_obstacles(const Reading& reading, std::int64_t now, Events& events) noexcept;
  void take_chunks(std::int64_t due) noexcept;
  bool setpoint(const Reading& reading, std::int64_t due, AxisVector& out) noexcept;
  Events look(const Reading& reading, std::int64_t now, std::int64_t due) noexcept;
  void look_at_joints(const Reading& reading, std::int64_t now, Events& events) noexcept;
  void look_at_silence(const Reading& reading, std::int64_t now, Events& events) noexcept;
  void look_at_source(const Reading& reading, std::int64_t now, std::int64_t due, Events& events) noexcept;
  [[nodiscard]] std::int64_t heartbeat(const Reading& reading, std::int64_t now, std::int64_t due) noexcept;
  [[nodiscard]] std::uint64_t illegal() const noexcept;
  void watch_source(State state) noexcept;
  void look_at_rest(const Reading& reading, std::int64_t now, Events& events) noexcept;
  void move(State state, double ramp, double dt) noexcept;
  [[nodiscard]] Motion track(std::size_t axis, const AxisLimits& limits, double dt) const noexcept;
  void watch_motion(const Reading& reading, const Decision& decision) noexcept;
  void count_clamps(double dt) noexcept;
  void remember_setpoint() noexcept;
  [[nodiscard]] bool at_rest() const noexcept;

  PlannerConfig config_;
  Requests& requests_;
  ChunkRing& chunks_;
  Tally& tally_;
  ActionQueue queue_;
  double damping_ = 0;  ///< 1/s, of the critically damped way between the actions of the last chunk
  SafetyMachine machine_;

  std::array<Motion, kMostAxes> motion_{};
  AxisVector wanted_{};                 ///< the setpoint that is due
  std::array<AxisVector, 3> before_{};  ///< the setpoints of the last ticks, the newest first
  bool wanted_known_ = false;
  std::size_t before_known_ = 0;
  bool torque_on_ = false;
  bool arm_passed_ = false;
  bool released_ = false;
  bool overrun_ = false;
  std::int64_t began_ = 0;  ///< of the armed time: the source's silence counts from here
  std::int64_t last_due_ = 0;
  std::int64_t covered_ = 0;                       ///< last instant with an action due
  std::int64_t overloaded_ = 0;                    ///< since when
  std::array<std::int64_t, kMostAxes> silence_{};  ///< ns of requests left unanswered
  std::int64_t last_look_ = 0;
  std::int64_t rest_progress_ = 0;  ///< last time the rest pose came nearer
  double rest_distance_ = 0;
  std::int64_t active_ = 0;
  int stop_writes_ = 0;  ///< of the e-stop, after rest
  std::int64_t torque_written_ = 0;
  std::uint64_t derated_ = 0;
  std::uint64_t limp_ = 0;
  std::uint64_t derated_written_ = 0;
  std::size_t buses_ = 0;
  AxisVector nominal_voltage_{};  ///< of each bus: 0.1 V, its motors' median at connect; 0: not known
  std::uint64_t warm_ = 0;
  std::uint64_t low_voltage_ = 0;
  std::uint64_t stale_ = 0;  ///< bit k: the position of joint k is too old to be used
  ObstacleWatch obstacles_;
  std::uint64_t blocked_ = 0;  ///< bit k: something is in the way of joint k
  std::uint64_t pulled_ = 0;   ///< bit k: in HOLD and FAULT joint k goes to `pulled_to_`, away from it
  AxisVector pulled_to_{};
  SteadyWatch arrivals_;
  std::int64_t leader_seen_ = 0;
  BurstWatch illegal_;
};

}  // namespace rl
