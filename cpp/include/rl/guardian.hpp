/// The guardian: a process that owns the port, the loop, the limits and the watchdog. Beside it a second
/// hand, its parent, which makes the arm safe when the guardian itself is killed or stopped.
///
/// Session, guardian and second hand share one block of memory (`SharedLoop`); nothing else passes between
/// them.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <string>

#include "rl/error.hpp"
#include "rl/shared_loop.hpp"

namespace rl {

/// What a session holds of its guardian.
class GuardianProcess {
 public:
  GuardianProcess() = default;
  GuardianProcess(const GuardianProcess&) = delete;
  GuardianProcess& operator=(const GuardianProcess&) = delete;
  ~GuardianProcess() { reap(false); }

  /// Starts the executable on this memory, in a session of its own, so that no terminal's signal reaches it.
  /// absent or io error when it cannot be started.
  Result<> spawn(const std::string& executable, const LoopMemory& memory);
  /// False when second hand and guardian are both gone although the loop has not ended.
  [[nodiscard]] bool alive(const SharedLoop& shared) noexcept;
  /// Collects the ended second hand; `wait` as long as it needs.
  void reap(bool wait) noexcept;
  [[nodiscard]] int second_hand() const noexcept { return pid_; }

 private:
  pid_t pid_ = 0;
  std::atomic<bool> reaped_{false};  ///< several threads may ask whether it lives
};

/// The executable that lies beside the file that holds `inside`, a function of it; "" when there is none.
[[nodiscard]] std::string guardian_beside(const void* inside);

/// The whole life of the executable: second hand and, as its child, guardian. Returns the exit status.
int run_guardian(int descriptor);

/// The name of the socket, without its leading zero, on which a datagram is an emergency stop: a second
/// hand's, and a guardian's that has lost its own.
[[nodiscard]] std::string estop_socket(int process);

}  // namespace rl
