/// All chains of a session as one bus: goals out, states in, at the same deadlines.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "rl/planner.hpp"
#include "rl/servo_chain.hpp"

namespace rl {

/// A chain and who may talk to it. The descriptor lives here, in the house; handles only point to it.
struct SharedChain {
  explicit SharedChain(ServoChain made) : chain(std::move(made)) {}
  ServoChain chain;
  std::mutex mutex;                 ///< set-up calls of several threads, one after another
  std::atomic<bool> driven{false};  ///< a loop drives it: nobody else may talk
};

/// The part of the action vector that a chain has.
struct BusPart {
  std::size_t begin = 0;
  std::shared_ptr<SharedChain> bus;
};

/// Why an arm request was refused, for the thread that asked. Written by the loop, then `answers` is raised.
struct ArmAnswer {
  bool armed = false;
  bool wrong_state = false;
  State state = State::disarmed;
  std::size_t part = 0;
  Trouble trouble;
};

constexpr std::size_t kMostChains = 16;  ///< of one session, leaders included

class BusGroup {
 public:
  BusGroup(std::vector<BusPart> drives, std::vector<BusPart> leaders, Requests& requests,
           std::int64_t period);

  // What ControlLoop asks of a bus.
  [[nodiscard]] std::int64_t now() const noexcept { return now_ns(); }
  /// False when an e-stop came: then it did not wait to the end.
  [[nodiscard]] bool sleep_until(std::int64_t deadline) noexcept;
  void write_goal(const AxisVector& goal) noexcept;
  void write_torque(double part) noexcept;
  /// Asks all chains at once and collects until `budget_end`, so that their wire times overlap.
  void read_state(Reading& reading, std::int64_t budget_end) noexcept;
  [[nodiscard]] bool release() noexcept;
  [[nodiscard]] bool arm_requested() noexcept { return requests_.take_arm(); }
  void refuse_arm(State state) noexcept;
  [[nodiscard]] Arming arm(Reading& reading) noexcept;

  /// Spins for the last part of the wait: only with real-time priority, or the scheduler takes the core away.
  void spin(bool on) noexcept { spin_ = on; }
  [[nodiscard]] const std::vector<BusPart>& drives() const noexcept { return drives_; }
  [[nodiscard]] const std::vector<BusPart>& leaders() const noexcept { return leaders_; }
  [[nodiscard]] std::uint32_t answers() const noexcept { return answers_.load(std::memory_order_acquire); }
  [[nodiscard]] const ArmAnswer& answer() const noexcept { return answer_; }
  /// When the first goal of the session left, ns; 0 before.
  [[nodiscard]] std::int64_t first_goal() const noexcept {
    return first_goal_.load(std::memory_order_acquire);
  }
  [[nodiscard]] const std::atomic<std::int64_t>& first_goal_word() const noexcept { return first_goal_; }
  /// Bit k: the motor of axis k has torque as far as is known.
  [[nodiscard]] std::uint64_t energised() const noexcept {
    return energised_.load(std::memory_order_acquire);
  }

 private:
  void collect() noexcept;
  void answer_arm(const ArmAnswer& answer) noexcept;
  [[nodiscard]] ArmAnswer check_all() noexcept;

  std::vector<BusPart> drives_;
  std::vector<BusPart> leaders_;
  std::vector<ServoChain*> chains_;
  Requests& requests_;
  std::int64_t period_;
  bool spin_ = false;
  ArmAnswer answer_;
  std::atomic<std::uint32_t> answers_{0};
  std::atomic<std::int64_t> first_goal_{0};
  std::atomic<std::uint64_t> energised_{0};
};

}  // namespace rl
