#include "rl/session_watch.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdio>

namespace rl {
namespace {

constexpr std::int64_t kBeyondHold = 2 * kSecond;  // the loop's own way out of HOLD comes first

}  // namespace

NamedSocket::~NamedSocket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

NamedSocket NamedSocket::bind(std::string_view name) noexcept {
  NamedSocket out;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() + 1 > sizeof address.sun_path) return out;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  out.descriptor_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (out.is_open() && ::bind(out.descriptor_, reinterpret_cast<sockaddr*>(&address), size) == 0) return out;
  return {};
}

bool NamedSocket::heard() const noexcept {
  std::array<char, 64> space{};
  bool any = false;
  while (is_open() && ::recv(descriptor_, space.data(), space.size(), MSG_DONTWAIT) >= 0) any = true;
  return any;
}

SessionWatch::SessionWatch(pid_t session) noexcept
    : session_(session), process_(static_cast<int>(::syscall(SYS_pidfd_open, session, 0))) {}

SessionWatch::~SessionWatch() {
  if (process_ >= 0) ::close(process_);
}

bool SessionWatch::gone() const noexcept {
  if (process_ < 0) return ::kill(session_, 0) != 0;
  pollfd item{process_, POLLIN, 0};
  return ::poll(&item, 1, 0) > 0;
}

/// Once. Where it would be let go it is held: nobody is there to take it.
void SessionWatch::stop_follower(Requests& requests, StopPolicy policy) noexcept {
  if (stopped_) return;
  stopped_ = true;
  if (policy == StopPolicy::off) {
    requests.stop(StopPolicy::hold);
  } else {
    requests.close(Closing::orderly);
  }
}

void SessionWatch::look_after(SharedLoop& shared, const Look& look, std::int64_t now) noexcept {
  if (!gone()) return;
  const PlannerConfig& planner = shared.plan.house.planner;
  const bool driven = std::any_of(look.arms.begin(), look.arms.end(), [](const ArmLook& arm) {
    return has_torque(arm.state) && !is_latched(arm.state);
  });
  // Beside an arm that is latched, another one may be held that closing would drop.
  const bool drops = is_latched(look.state) && driven && planner.safety.stop_policy == StopPolicy::off;
  if (!drops && (!has_torque(look.state) || is_latched(look.state))) {
    shared.requests.close(Closing::orderly);
  } else if (drops || planner.source == SourceKind::leader) {
    stop_follower(shared.requests, planner.safety.stop_policy);
  }
  if (look.state != State::hold) {
    held_since_ = 0;
  } else if (held_since_ == 0) {
    held_since_ = now;
  } else if (now - held_since_ > planner.safety.hold_to_rest + kBeyondHold) {
    abandoned_ = true;
    shared.requests.close(Closing::at_once);
  }
}

void SessionWatch::tell() const noexcept {
  if (!abandoned_) return;
  std::fputs(
      "rl-guardian: the session is gone and its arm cannot be laid down: it keeps its torque; "
      "hold it and use `rl release`\n",
      stderr);
}

}  // namespace rl
