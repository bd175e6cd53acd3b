/// The loop itself. `Bus`, `Planner` and `Journal` are template arguments, so a unit test runs it with fakes.
///
/// The timing of one cycle at 50 Hz with six servos on one bus (about, in ms):
///
///   deadline                                                              next deadline
///   |--write goal--|--sync read, bounded--|--plan next goal--|--publish--|....sleep....|
///   0             0.5                   2.5                2.6         2.7           20 ms
///
/// The goal that leaves at a deadline was planned before it, so its jitter is the wake-up alone.
/// Allowed inside: arithmetic, reads and writes on open descriptors, the mailboxes. Not: allocation, locks,
/// logging, exceptions. Arming and releasing talk to one motor after another and may take several periods;
/// they happen where nothing moves, and the grid of deadlines begins anew behind them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rl/clock.hpp"
#include "rl/journal.hpp"
#include "rl/planner.hpp"

namespace rl {

/// How long after a deadline the positions may come. A short period leaves what planning and waking need.
[[nodiscard]] constexpr std::int64_t read_budget(std::int64_t period) noexcept {
  constexpr std::int64_t kPlanning = 3 * kMillisecond / 10;
  constexpr std::int64_t kEnough = 3 * kMillisecond;
  return std::max(period * 6 / 10, std::min(period - kPlanning, kEnough));
}

template <typename Bus, typename PlannerType, typename Journal>
class ControlLoop {
 public:
  ControlLoop(Bus& bus, PlannerType& planner, Journal& journal, std::int64_t period) noexcept
      : bus_(bus), planner_(planner), journal_(journal), period_(period) {}

  /// Runs until the state machine has ended. Everything it touches was allocated before; nothing below
  /// throws.
  int run() noexcept {
    constexpr std::int64_t kFirst = 2 * kMillisecond;  // a slow loop need not wait a period to begin
    const std::int64_t budget = read_budget(period_);
    std::int64_t deadline = bus_.now() + std::min(period_, kFirst);
    Reading reading;
    Plan plan;
    std::int64_t cycle = 0;
    suspended_ = bus_.suspended();

    while (!plan.decision.ended) {
      const bool urgent = !bus_.sleep_until(deadline);
      CycleRecord record;
      record.cycle = cycle++;
      record.woke = bus_.now();
      if (was_suspended()) planner_.overrun();
      if (urgent) {  // an e-stop does not wait: planned anew, written now
        deadline = record.woke < deadline ? record.woke : deadline;
        plan = planner_.plan(reading, record.woke, deadline);
      }
      record.deadline = deadline;

      if (plan.limp != 0) bus_.let_go(plan.limp);
      if (plan.write) {
        record.wrote = bus_.now();
        bus_.write_goal(plan.goal, plan.withheld);
        for (std::size_t arm = 0; arm < plan.arms.size(); ++arm)
          if (plan.torque[arm] >= 0) bus_.write_torque(arm, plan.torque[arm], plan.derated);
      }
      bus_.read_state(reading, deadline + budget);
      record.read = bus_.now();
      record.missing = reading.missing;
      record.skipped = reading.skipped;
      record.state = plan.decision.state;
      const AxisVector written = plan.goal;

      const bool paused = carry_out(plan, reading);
      if (paused) deadline = bus_.now();
      const std::int64_t due = next_deadline(deadline, paused);
      plan = planner_.plan(reading, bus_.now(), due);
      record.done = bus_.now();
      journal_.publish(record, reading, written, plan, paused ? 0 : (due - deadline) / period_ - 1);
      deadline = due;
    }
    return plan.decision.exit_code;
  }

 private:
  static constexpr std::int64_t kOverrun = 100 * kMillisecond;

  /// Arms or releases when asked. True when it took its own time.
  bool carry_out(const Plan& plan, Reading& reading) noexcept {
    if (plan.release != 0) {
      planner_.released(plan.release, bus_.release(plan.release));
      return true;
    }
    if (!bus_.arm_requested()) return false;
    const std::uint64_t arms = planner_.may_arm() & bus_.armable();
    if (arms == 0) {
      bus_.refuse_arm(planner_.state());
      return false;
    }
    const Arming arming = bus_.arm(arms, reading);
    if (arming != Arming::refused) planner_.armed(arms, reading, bus_.now(), arming == Arming::switched_on);
    return true;
  }

  /// What was planned before the machine was suspended may no longer fit what is around the arm.
  [[nodiscard]] bool was_suspended() noexcept {
    const std::int64_t before = suspended_;
    suspended_ = bus_.suspended();
    return suspended_ - before > kOverrun;
  }

  /// A late cycle skips the deadlines it has missed: never a burst, never a drift.
  [[nodiscard]] std::int64_t next_deadline(std::int64_t last, bool paused) noexcept {
    const std::int64_t late = bus_.now() - last;
    const std::int64_t periods = late / period_ + 1;
    skipped_ = periods > 1 && !paused ? skipped_ + periods - 1 : 0;
    if (!paused && (late > kOverrun + period_ || skipped_ > 10)) planner_.overrun();
    return last + periods * period_;
  }

  Bus& bus_;
  PlannerType& planner_;
  Journal& journal_;
  std::int64_t period_;
  std::int64_t skipped_ = 0;
  std::int64_t suspended_ = 0;
};

}  // namespace rl
