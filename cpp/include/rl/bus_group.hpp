/// All chains of a session as one bus: goals out, states in, at the same deadlines.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "rl/planner.hpp"
#include "rl/reconnect.hpp"
#include "rl/servo_chain.hpp"
#include "rl/shared_loop.hpp"

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

class BusGroup {
 public:
  BusGroup(std::vector<BusPart> drives, std::vector<BusPart> leaders, SharedLoop& shared);

  // What ControlLoop asks of a bus.
  [[nodiscard]] std::int64_t now() const noexcept { return now_ns(); }
  [[nodiscard]] std::int64_t suspended() const noexcept { return suspended_ns(); }
  /// False when an e-stop came or the source fell silent: then it did not wait to the end.
  [[nodiscard]] bool sleep_until(std::int64_t deadline) noexcept;
  /// Bit k of `withheld`: not to joint k.
  void write_goal(const AxisVector& goal, std::uint64_t withheld) noexcept;
  /// Takes the torque off these joints, one by one or many; to be said until they have none.
  void let_go(std::uint64_t limp) noexcept;
  void write_torque(std::size_t arm, double part, std::uint64_t derated) noexcept;
  /// Asks all chains at once and collects until `budget_end`, so that their wire times overlap.
  void read_state(Reading& reading, std::int64_t budget_end) noexcept;
  /// An arm is a driven chain: bit a of `arms`. Those that still have torque.
  [[nodiscard]] std::uint64_t release(std::uint64_t arms) noexcept;
  [[nodiscard]] bool arm_requested() noexcept { return requests_.take_arm(); }
  void refuse_arm(State state) noexcept;
  [[nodiscard]] Arming arm(std::uint64_t arms, Reading& reading) noexcept;

  /// Spins for the last part of the wait: only with real-time priority, or the scheduler takes the core away.
  void spin(bool on) noexcept { spin_ = on; }
  /// Arming is taking over what another loop left energised in these arms: the same motors are enough,
  /// however warm they are, and they get their whole torque, also where a ramp was cut short. The other arms
  /// are not touched.
  void take_over(std::uint64_t arms) noexcept {
    taking_over_ = true;
    armable_ = arms;
  }
  [[nodiscard]] bool taking_over() const noexcept { return taking_over_; }
  /// Bit a: arm a may be armed by this loop at all.
  [[nodiscard]] std::uint64_t armable() const noexcept { return armable_; }
  /// Who brings back a port that has gone; nullptr: nobody.
  void reconnect_by(Reconnector* reconnector) noexcept { reconnector_ = reconnector; }
  [[nodiscard]] const std::vector<ServoChain*>& chains() const noexcept { return chains_; }
  [[nodiscard]] const std::vector<BusPart>& drives() const noexcept { return drives_; }
  [[nodiscard]] const std::vector<BusPart>& leaders() const noexcept { return leaders_; }

 private:
  void collect() noexcept;
  void answer_arm(const ArmAnswer& answer) noexcept;
  [[nodiscard]] std::uint64_t axes_of(std::uint64_t arms) const noexcept;
  [[nodiscard]] ArmAnswer check(std::uint64_t arms) noexcept;
  void hold_at(std::uint64_t arms, const Reading& reading) noexcept;
  [[nodiscard]] Arming arm_checked(std::uint64_t arms, Reading& reading) noexcept;
  [[nodiscard]] bool switch_on(const BusPart& part, ArmAnswer& answer, Reading& reading, std::int64_t& stamp,
                               ServoChain::Found& found) noexcept;
  void send_torque(std::size_t arm) noexcept;

  std::vector<BusPart> drives_;
  std::vector<BusPart> leaders_;
  std::vector<ServoChain*> chains_;
  Requests& requests_;
  BusBoard& board_;
  Beats& beats_;
  Reconnector* reconnector_ = nullptr;
  std::int64_t period_;
  std::int64_t source_timeout_;
  bool estop_off_;  ///< an e-stop lets go of every arm at once, before the first of them is asked one by one
  bool spin_ = false;
  bool taking_over_ = false;
  std::uint64_t armable_ = ~0ULL;
  /// What was said last of the torque limits of an arm.
  struct TorqueWord {
    double part = 1.0;
    std::uint64_t derated = 0;
    int repeats = 0;
  };
  std::array<TorqueWord, kMostChains> torque_{};
};

}  // namespace rl
