/// The loop with its buses: what runs inside a house, be it a thread or the guardian.
#pragma once

#include <vector>

#include "rl/affinity.hpp"
#include "rl/bus_group.hpp"
#include "rl/control_loop.hpp"
#include "rl/idle_cores.hpp"
#include "rl/shared_loop.hpp"

namespace rl {

/// Where the loop's cycles go: records, histograms, the newest look. Written by the loop alone; others read
/// through the boards.
class LoopJournal {
 public:
  explicit LoopJournal(const LoopMemory& memory) noexcept;
  void publish(CycleRecord& record, const Reading& reading, const AxisVector& written, const Plan& plan,
               std::int64_t skipped) noexcept;

  RecordRing records;
  JournalBoard& board;
  Seqlock<Look>& look;

 private:
  void measure(const CycleRecord& record, std::int64_t skipped) noexcept;
  Beats& beats_;
  const std::atomic<std::int64_t>& first_goal_;
  std::size_t axes_;
  std::uint64_t led_;
  std::int64_t period_;
  std::int64_t last_wrote_ = 0;
  State last_state_ = State::disarmed;
  bool any_ = false;
};

class LoopWorker {
 public:
  /// Allocates everything. `memory` outlives it.
  LoopWorker(const LoopMemory& memory, std::vector<BusPart> drives, std::vector<BusPart> leaders);

  /// Opens what is not open yet; every joint is heard at least once; leaders are without torque.
  Result<> look();
  /// It takes over what another loop left energised in these arms (BusGroup), before `look`.
  void take_over(std::uint64_t arms) noexcept { bus_.take_over(arms); }
  /// Asks for real-time permission and runs to the end of the state machine; then `phase` is `ended`.
  void run() noexcept;
  [[nodiscard]] const std::vector<BusPart>& drives() const noexcept { return bus_.drives(); }
  [[nodiscard]] const std::vector<BusPart>& leaders() const noexcept { return bus_.leaders(); }

 private:
  void ask_for_realtime() noexcept;

  SharedLoop& shared_;
  BusGroup bus_;
  Planner planner_;
  LoopJournal journal_;
  CorePin core_;
  IdleCores idle_cores_;
};

/// The chains of a plan, closed, as the parts of a worker. usage or calibration error when one is impossible.
struct Parts {
  std::vector<BusPart> drives;
  std::vector<BusPart> leaders;
};
Result<Parts> parts_of(const SessionPlan& plan);

/// Says that the house has ended and wakes who waits.
void end_house(SharedLoop& shared, int exit_code) noexcept;
/// Waits until `phase` is no longer `phase`, at most until `deadline`, ns.
void wait_phase(const SharedLoop& shared, Phase phase, std::int64_t deadline) noexcept;

}  // namespace rl
