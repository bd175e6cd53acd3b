/// What second hand and guardian both can do for an arm that nobody else looks after: hear the emergency
/// stop, notice that the session is gone.
#pragma once

#include <sys/types.h>

#include <string_view>
#include <utility>

#include "rl/shared_loop.hpp"

namespace rl {

/// A local socket with an abstract name: it leaves no file behind and goes with its process.
class NamedSocket {
 public:
  NamedSocket() = default;
  NamedSocket(NamedSocket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  NamedSocket& operator=(NamedSocket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  NamedSocket(const NamedSocket&) = delete;
  NamedSocket& operator=(const NamedSocket&) = delete;
  ~NamedSocket();

  /// Closed when the name is taken.
  [[nodiscard]] static NamedSocket bind(std::string_view name) noexcept;
  [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  /// Whether a datagram came since the last look.
  [[nodiscard]] bool heard() const noexcept;

 private:
  int descriptor_ = -1;
};

/// A session that was killed cannot close: this ends its house.
class SessionWatch {
 public:
  explicit SessionWatch(pid_t session) noexcept;
  SessionWatch(const SessionWatch&) = delete;
  SessionWatch& operator=(const SessionWatch&) = delete;
  ~SessionWatch();

  /// A few times a second. Of a session that is gone: an arm without torque, and a latch that nobody can
  /// reset any more, end at once. An arm that follows its leader would do so for ever: it is stopped. Any
  /// other goes to HOLD by itself, and from there to its rest pose; where it cannot, it keeps its torque and
  /// the house ends, so that the port is free for `rl release`.
  void look_after(SharedLoop& shared, const Look& look, std::int64_t now) noexcept;
  /// The house was ended with an arm under torque. Says so on the standard error stream.
  void tell() const noexcept;

 private:
  [[nodiscard]] bool gone() const noexcept;
  void stop_follower(Requests& requests, StopPolicy policy) noexcept;

  pid_t session_;
  int process_;  ///< its pidfd
  bool stopped_ = false;
  bool abandoned_ = false;
  std::int64_t held_since_ = 0;
};

}  // namespace rl
