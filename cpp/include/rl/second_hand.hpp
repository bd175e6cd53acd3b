/// Watches the guardian and makes the arm safe when it is gone (the rules: one hand drives, the other
/// brakes).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <thread>

#include "rl/loop_worker.hpp"
#include "rl/session_watch.hpp"

namespace rl {

class SecondHand {
 public:
  /// Allocates everything that a rescue needs. usage, calibration or io error when the plan is impossible, or
  /// when no black box could be written.
  static Result<std::unique_ptr<SecondHand>> make(const LoopMemory& watched);
  SecondHand(const LoopMemory& watched, LoopMemory memory, Parts parts);

  /// Sleeps until the guardian ends. A guardian whose heart stops is killed first: stopped, it could wake
  /// later and write old goals. Returns the exit status of the whole.
  int watch(pid_t guardian, pid_t session);

 private:
  [[nodiscard]] bool heart_beats() noexcept;
  void stand_by(pid_t guardian, SessionWatch& session);
  void remember() noexcept;
  void lock_memory() noexcept;
  void watch_latch(bool aside) noexcept;
  void write_record() noexcept;
  int rescue();
  // Bit a of `arms`: arm a.
  [[nodiscard]] State state_of(std::size_t arm) const noexcept;
  [[nodiscard]] std::uint64_t arms_in(bool (*which)(State)) const noexcept;
  [[nodiscard]] std::uint64_t energised_arms() const noexcept;
  [[nodiscard]] std::uint64_t axes_of(std::uint64_t arms) const noexcept;
  void open_ports(std::uint64_t arms);
  void write_last_goal(std::uint64_t arms) noexcept;
  void say_dead() noexcept;
  void probe(std::uint64_t arms) noexcept;
  void carry_out_policy(std::uint64_t arms);
  [[nodiscard]] std::uint64_t answering(std::uint64_t arms) const noexcept;
  void release(std::uint64_t arms) noexcept;
  void set_energised(std::uint64_t arms, std::uint64_t motors) noexcept;
  void raise_torque(std::uint64_t arms) noexcept;
  void take_over(std::uint64_t arms);
  void attend(SharedLoop& own, bool moves) noexcept;
  [[nodiscard]] std::uint64_t let_go_by(const SharedLoop& own) const noexcept;
  void keep(std::size_t arm, Look& look) const noexcept;
  void report(const SharedLoop& own) noexcept;

  SharedLoop& shared_;
  RecordRing records_;
  std::uint64_t latched_ = 0;     ///< bit a: arm a, as far as the last black box knows
  std::uint64_t taken_over_ = 0;  ///< bit a: arm a is driven by the own loop
  LoopMemory memory_;             ///< of the loop that carries out the stop policy in the guardian's place
  Parts parts_;
  std::unique_ptr<LoopWorker> standby_;
  NamedSocket estop_;
  std::thread recorder_;  ///< writes a black box while this thread goes on watching
  std::atomic<bool> recording_{false};
  int timer_ = -1;
  Look last_;  ///< the guardian's newest look that was whole
  bool seen_ = false;
  std::int64_t beat_ = 0;
  int silent_ = 0;            ///< own wake-ups without a beat: a suspended machine wakes neither
  std::size_t reported_ = 0;  ///< changes of state of the own loop that are in the shared journal
  int owed_stops_ = 0;        ///< asked for while the own loop does not move yet
  StopPolicy owed_policy_ = StopPolicy::rest;
};

}  // namespace rl
