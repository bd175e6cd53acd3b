/// Watches the guardian and makes the arm safe when it is gone (the rules: one hand drives, the other
/// brakes).
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "rl/loop_worker.hpp"

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
  void remember() noexcept;
  void look_after_session(pid_t session) noexcept;
  void listen() noexcept;
  void watch_latch() noexcept;
  void write_record() noexcept;
  int rescue();
  void hold();
  int carry_out_policy();

  SharedLoop& shared_;
  RecordRing records_;
  bool latched_ = false;  ///< as far as the last black box knows
  LoopMemory memory_;     ///< of the loop that carries out the stop policy in the guardian's place
  Parts parts_;
  std::unique_ptr<LoopWorker> standby_;
  int timer_ = -1;
  int socket_ = -1;
  int session_ = -1;
  Look last_;  ///< the guardian's newest look that was whole
  bool seen_ = false;
  std::int64_t beat_ = 0;
  int silent_ = 0;  ///< own wake-ups without a beat: a suspended machine wakes neither
};

}  // namespace rl
