/// The first house of the loop: a thread. It owns the buses from `start` to `close`; what others hold are
/// handles.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "rl/bus_group.hpp"
#include "rl/control_loop.hpp"
#include "rl/journal.hpp"
#include "rl/planner.hpp"

namespace rl {

struct HouseConfig {
  double rate_hz = 50;
  bool realtime = true;
  double duration_s = 0;
  PlannerConfig planner;
};

/// One consistent look. Fixed size, so that it can be copied word by word.
struct Look {
  State state = State::disarmed;
  Reason reason = Reason::none;
  int joint = -1;
  std::int64_t cycle = 0;
  std::int64_t active_cycles = 0;
  std::int64_t captured = 0;  ///< newest reply
  std::int64_t at = 0;
  std::int64_t first_goal = 0;
  std::uint64_t remaining = 0;
  std::uint64_t missing = 0;
  AxisVector values{};
  AxisVector age{};
  AxisVector goal{};
  AxisVector requested{};
  std::array<std::uint8_t, kMostAxes> status{};
};

/// Where the loop's cycles go: records, histograms, the newest look. Written by the loop alone.
class LoopJournal {
 public:
  LoopJournal(std::size_t axes, std::int64_t period);
  void publish(CycleRecord& record, const Reading& reading, const AxisVector& written, const Plan& plan,
               std::int64_t skipped) noexcept;

  RecordRing records;
  StateLog states;
  Seqlock<Look> look;
  Histogram period_error;
  Histogram wake;
  Histogram read;
  std::atomic<std::uint64_t> cycles{0};
  std::atomic<std::uint64_t> active_cycles{0};
  std::atomic<std::uint64_t> active_writes{0};
  std::atomic<std::uint64_t> misses{0};
  std::atomic<std::uint64_t> late_reads{0};
  std::atomic<std::int64_t> first_active{0};
  std::atomic<std::int64_t> last_active{0};
  const std::atomic<std::int64_t>* first_goal = nullptr;

 private:
  void measure(const CycleRecord& record, std::int64_t skipped) noexcept;
  std::size_t axes_;
  std::int64_t period_;
  std::int64_t last_wrote_ = 0;
  State last_state_ = State::disarmed;
  bool any_ = false;
};

class LoopHouse {
 public:
  /// usage error when the parts do not cover the action vector exactly, or a number is out of bounds.
  static Result<std::unique_ptr<LoopHouse>> make(const HouseConfig& config, std::vector<BusPart> drives,
                                                 std::vector<BusPart> leaders);
  LoopHouse(const HouseConfig& config, std::vector<BusPart> drives, std::vector<BusPart> leaders);
  LoopHouse(const LoopHouse&) = delete;
  LoopHouse& operator=(const LoopHouse&) = delete;
  ~LoopHouse() { close(); }

  /// Reads the pose, starts the thread in DISARMED.
  Result<> start();
  /// Waits for the answer of the loop.
  Result<> arm();
  /// A chunk that is accepted is the source's sign of life as well; a refused one is none.
  [[nodiscard]] Refusal push(const ChunkView& chunk, std::int64_t now) noexcept;
  /// One set point (A,), due from `at` on.
  [[nodiscard]] Refusal push_setpoint(std::span<const double> values, std::int64_t at,
                                      std::int64_t now) noexcept;
  [[nodiscard]] bool wait(double timeout_s);
  /// Ended by the configured stop policy, joined, buses closed; waits for the rest move. In FAULT and ESTOP,
  /// and in HOLD without a rest pose, torque stays as it is: `still_energised` says where. May be called
  /// twice.
  void close();

  [[nodiscard]] Requests& requests() noexcept { return requests_; }
  [[nodiscard]] const LoopJournal& journal() const noexcept { return journal_; }
  [[nodiscard]] const Tally& tally() const noexcept { return tally_; }
  [[nodiscard]] const HouseConfig& config() const noexcept { return config_; }
  [[nodiscard]] std::size_t axes() const noexcept { return config_.planner.axes.size(); }
  [[nodiscard]] StopPolicy stop_policy() const noexcept { return config_.planner.safety.stop_policy; }
  [[nodiscard]] std::string reason_text(Reason reason, int joint) const;
  [[nodiscard]] std::string joint_text(std::size_t axis) const;  ///< "elbow_flex (id 3)"
  [[nodiscard]] std::string joint_name(std::size_t axis) const;
  [[nodiscard]] std::vector<std::string> faults(const Look& look) const;
  [[nodiscard]] std::vector<std::string> still_energised() const;
  [[nodiscard]] std::vector<std::string> realtime_notes() const;
  [[nodiscard]] bool started() const noexcept { return thread_.joinable() || ended_; }
  [[nodiscard]] bool ended();
  [[nodiscard]] int exit_code() const noexcept { return exit_code_; }

 private:
  /// Takes one chain, and its pose, heard at least once of every joint.
  Result<> first_look(const BusPart& part);
  Result<> claim_buses();
  void give_up_buses() noexcept;
  void live();
  void ask_for_realtime();
  [[nodiscard]] const JointCalibration* joint(std::size_t axis) const noexcept;

  HouseConfig config_;
  Requests requests_;
  Tally tally_;
  SpscRing<ChunkSlot> chunks_;
  BusGroup bus_;
  Planner planner_;
  LoopJournal journal_;
  std::thread thread_;
  mutable std::mutex mutex_;  ///< of what follows; never taken by the loop while it runs
  std::condition_variable end_;
  std::mutex closing_;  ///< of `close`, which may wait for seconds
  bool ended_ = false;
  bool closed_ = false;
  std::vector<SharedChain*> claimed_;  ///< marked as driven by this loop
  int exit_code_ = 0;
  std::vector<std::string> realtime_;
  std::int64_t newest_observed_ = -1;  ///< the producer's
};

}  // namespace rl
