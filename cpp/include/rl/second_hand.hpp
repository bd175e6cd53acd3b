/// Watches the guardian and makes the arm safe when it is gone (the rules: one hand drives, the other
/// brakes).
#pragma once

#include <sys/types.h>

#include <memory>
#include <thread>

#include "rl/loop_worker.hpp"
#include "rl/session_watch.hpp"

namespace rl {

class SecondHand {
 public:
  /// Allocates everything that a rescue needs. usage, calibration or io error when the plan is impossible.
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
  void open_ports();
  void write_last_goal() noexcept;
  void say_dead() noexcept;
  void carry_out_policy();
  void release() noexcept;
  void raise_torque() noexcept;
  void take_over();
  void attend(SharedLoop& own, bool moves) noexcept;
  void report(const SharedLoop& own) noexcept;

  SharedLoop& shared_;
  RecordRing records_;
  bool latched_ = false;  ///< as far as the last black box knows
  LoopMemory memory_;     ///< of the loop that carries out the stop policy in the guardian's place
  Parts parts_;
  std::unique_ptr<LoopWorker> standby_;
  NamedSocket estop_;
  std::thread recorder_;  ///< writes a black box while this thread goes on watching
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
