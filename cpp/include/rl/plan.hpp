/// What goes into the planner and what comes out: words of fixed size.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "rl/action_queue.hpp"
#include "rl/bounded_list.hpp"
#include "rl/health.hpp"
#include "rl/limits.hpp"
#include "rl/mailbox.hpp"
#include "rl/safety.hpp"

namespace rl {

constexpr std::size_t kMostChains = 16;  ///< of one session, leaders included
/// ns: of 50 Hz. Loops up to it look ahead to their next deadline where an age counts; slower ones look
/// between their deadlines too (Requests::source_silent), or a source of 25 Hz would always be too old for
/// them.
constexpr std::int64_t kFastPeriod = 20'000'000;
using AxisVector = std::array<double, kMostAxes>;

/// ns: a position that is older is never driven on, and its joint is named.
constexpr std::int64_t kStateStale = 100'000'000;

/// What the buses said, in the order of the action vector. `captured` 0: never heard of.
struct Reading {
  AxisVector values{};
  std::array<std::int64_t, kMostAxes> captured{};
  std::array<std::uint8_t, kMostAxes> alarms{};
  std::array<std::uint8_t, kMostAxes> load{};         ///< % of the full duty
  std::array<std::uint8_t, kMostAxes> temperature{};  ///< deg C; 0: not known
  std::array<std::uint8_t, kMostAxes> voltage{};      ///< 0.1 V; 0: not known
  std::uint64_t missing = 0;                          ///< bit k: did not answer
  std::uint64_t skipped = 0;   ///< bit k: was not asked, the period is too short for all
  std::uint64_t rebooted = 0;  ///< bit k: found without the torque that it had
  std::uint64_t hang_up = 0;   ///< bit a: the port of arm a is gone
  bool unguarded = false;      ///< the second hand is gone

  AxisVector leader{};
  std::array<std::int64_t, kMostAxes> leader_captured{};
};

enum class SourceKind : std::uint8_t { chunks, setpoints, leader };

struct PlannerAxis {
  AxisLimits limits;
  double soft_speed = 0;
  double jump = 0;
  double deviation = 0;         ///< farther from its goals than this is an obstacle; 0: not watched
  bool zero_on_starve = false;  ///< a velocity: nothing due means stand still
  double rest = 0;
  std::uint8_t arm = 0;  ///< the motors of one bus: they share a supply, a cable and a state machine
};

struct PlannerConfig {
  BoundedList<PlannerAxis, kMostAxes> axes;
  std::uint64_t led = 0;  ///< bit k: axis k follows a leader (source leader)
  SourceKind source = SourceKind::chunks;
  QueueConfig queue;
  SafetyConfig safety;
  std::int64_t period = 20'000'000;
  std::int64_t active_cycles = 0;  ///< 0: until stopped

  [[nodiscard]] std::size_t arms() const noexcept {
    std::size_t most = 0;
    for (const PlannerAxis& axis : axes) most = std::max<std::size_t>(most, axis.arm + 1U);
    return std::min(most, kMostChains);
  }
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
  std::array<double, kMostChains> torque{};  ///< of each arm: part of the torque limit; negative: leave it
  std::uint64_t derated = 0;                 ///< bit k: half of that for joint k
  std::uint64_t warm = 0;                    ///< bit k: 60 deg C or more
  std::uint64_t low_voltage = 0;             ///< bit k: below 90 % of what its bus had at connect
  std::uint64_t limp = 0;                    ///< bit k: joint k is to lose its torque, alone
  std::uint64_t withheld = 0;                ///< bit k: no goal for joint k
  std::uint64_t release = 0;                 ///< bit a: the release sequence of arm a is to be carried out
  BoundedList<Decision, kMostChains> arms;
  Decision decision;  ///< of the whole robot: that of the arm that is worst off
  std::size_t remaining = 0;

  Plan() noexcept { torque.fill(-1); }
};

}  // namespace rl
