/// What a session holds of its loop: a thread of this process, or a guardian process of its own.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "rl/guardian.hpp"
#include "rl/loop_worker.hpp"

namespace rl {

/// The house of one loop. It owns the buses from `start` to `close`; what others hold are handles.
class LoopHouse {
 public:
  /// usage error when the parts do not cover the action vector exactly, or a number is out of bounds.
  static Result<std::unique_ptr<LoopHouse>> make(const HouseConfig& config, std::vector<BusPart> drives,
                                                 std::vector<BusPart> leaders);
  LoopHouse(LoopMemory memory, std::vector<BusPart> drives, std::vector<BusPart> leaders);
  LoopHouse(const LoopHouse&) = delete;
  LoopHouse& operator=(const LoopHouse&) = delete;
  ~LoopHouse() { close(); }

  /// Reads the pose, starts the loop in DISARMED.
  Result<> start();
  /// Waits for the answer of the loop.
  Result<> arm();
  /// A chunk that is accepted is the source's sign of life as well; a refused one is none.
  [[nodiscard]] Refusal push(const ChunkView& chunk, std::int64_t now) noexcept;
  /// One set point (A,), due from `at` on.
  [[nodiscard]] Refusal push_setpoint(std::span<const double> values, std::int64_t at,
                                      std::int64_t now) noexcept;
  /// True when the loop has ended within the time.
  [[nodiscard]] bool wait(double timeout_s);
  /// Ended by the configured stop policy, joined, buses closed; waits for the rest move. In FAULT and ESTOP,
  /// and in HOLD without a rest pose, torque stays as it is: `still_energised` says where. May be called
  /// twice.
  void close();

  [[nodiscard]] Requests& requests() noexcept { return shared_.requests; }
  [[nodiscard]] const JournalBoard& journal() const noexcept { return shared_.journal; }
  [[nodiscard]] const RecordRing& records() const noexcept { return records_; }
  [[nodiscard]] Look look() const noexcept;
  [[nodiscard]] const Tally& tally() const noexcept { return shared_.tally; }
  [[nodiscard]] const HouseConfig& config() const noexcept { return config_; }
  [[nodiscard]] std::size_t axes() const noexcept { return config_.planner.axes.size(); }
  [[nodiscard]] StopPolicy stop_policy() const noexcept { return config_.planner.safety.stop_policy; }
  [[nodiscard]] std::string reason_text(Reason reason, int joint) const;
  [[nodiscard]] std::string joint_text(std::size_t axis) const;  ///< "elbow_flex (id 3)"
  [[nodiscard]] std::string joint_name(std::size_t axis) const;
  /// What is wrong now, warnings included.
  [[nodiscard]] std::vector<std::string> faults(const Look& look) const;
  /// What the session was warned of so far.
  [[nodiscard]] std::vector<std::string> warnings() const;
  [[nodiscard]] std::vector<std::string> still_energised() const;
  [[nodiscard]] std::vector<std::string> notes() const;
  [[nodiscard]] bool started() const noexcept { return started_; }
  [[nodiscard]] bool ended();
  [[nodiscard]] int exit_code() const noexcept { return shared_.house.exit_code.load(); }
  /// Process ids of the guardian and of its second hand; 0 where there is none.
  [[nodiscard]] int guardian() const noexcept { return shared_.beats.guardian.load(); }
  [[nodiscard]] int second_hand() const noexcept { return guardian_.second_hand(); }

 private:
  [[nodiscard]] bool in_process() const noexcept { return config_.guardian.empty(); }
  Result<> claim(const BusPart& part);
  Result<> claim_buses();
  void give_up_buses() noexcept;
  Result<> start_thread();
  Result<> start_guardian();
  [[nodiscard]] Error arm_error(const ArmAnswer& answer) const;
  [[nodiscard]] std::string unread() const;
  void warn(std::uint64_t warm, std::uint64_t low_voltage, std::vector<std::string>& out) const;
  [[nodiscard]] const JointCalibration* joint(std::size_t axis) const noexcept;

  LoopMemory memory_;
  SharedLoop& shared_;
  HouseConfig config_;
  std::vector<BusPart> drives_;
  std::vector<BusPart> leaders_;
  RecordRing records_;
  std::unique_ptr<LoopWorker> worker_;  ///< of a thread's house
  std::thread thread_;
  GuardianProcess guardian_;
  std::mutex closing_;  ///< of `close`, which may wait for seconds
  bool started_ = false;
  bool closed_ = false;
  std::vector<SharedChain*> claimed_;  ///< marked as driven by this loop
  std::int64_t newest_observed_ = -1;  ///< the producer's
};

}  // namespace rl
