#include "rl/guardian.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "rl/second_hand.hpp"

extern "C" char** environ;

namespace rl {
namespace {

constexpr int kInherited = 3;  // the descriptor of the memory in the executable
constexpr const char* kName = "rl-guardian";

SharedLoop* signalled = nullptr;

/// A request to stop is a few atomic words: allowed in a handler.
void on_signal(int /*number*/) {
  if (signalled != nullptr) signalled->requests.stop(signalled->plan.house.planner.safety.stop_policy);
}

void handle_signals(SharedLoop& shared) {
  signalled = &shared;
  struct sigaction action{};
  action.sa_handler = &on_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(number, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

void refuse(SharedLoop& shared, const Error& error) {
  shared.house.refusal = std::string_view(error.text);
  shared.house.refusal_code = error.code;
  shared.house.phase.store(Phase::refused, std::memory_order_release);
}

void lock_memory(SharedLoop& shared) {
  if (!shared.plan.house.realtime) return;
  if (::mlockall(MCL_CURRENT | MCL_FUTURE) == 0) {
    shared.house.add_note("memory locked");
  } else {
    shared.house.add_note("memory not locked; allow it with `@realtime - memlock unlimited`");
  }
}

/// The child: it owns the ports and the loop until the loop ends.
int guard(const LoopMemory& memory) {
  SharedLoop& shared = memory.shared();
  shared.beats.guardian = ::getpid();
  auto parts = parts_of(shared.plan);
  if (!parts.ok()) {
    refuse(shared, parts.error());
    return 2;
  }
  LoopWorker worker(memory, std::move(parts.value().drives), std::move(parts.value().leaders));
  if (const auto looked = worker.look(); !looked.ok()) {
    refuse(shared, looked.error());
    return 2;
  }
  lock_memory(shared);
  shared.house.phase.store(Phase::running, std::memory_order_release);
  worker.run();
  return shared.house.exit_code.load();
}

}  // namespace

std::string guardian_beside(const void* inside) {
  Dl_info info{};
  if (::dladdr(inside, &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string file = info.dli_fname;
  const std::size_t slash = file.rfind('/');
  const std::string path = (slash == std::string::npos ? "." : file.substr(0, slash)) + "/" + kName;
  return ::access(path.c_str(), X_OK) == 0 ? path : "";
}

Result<> GuardianProcess::spawn(const std::string& executable, const LoopMemory& memory) {
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&files, memory.descriptor(), kInherited);
  ::posix_spawn_file_actions_addclosefrom_np(&files, kInherited + 1);  // no port, no socket of the session
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  sigset_t all{};
  ::sigfillset(&all);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  sigset_t none{};
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  std::string name = kName;
  std::string number = std::to_string(kInherited);
  const std::array<char*, 3> words = {name.data(), number.data(), nullptr};
  const int error = ::posix_spawn(&pid_, executable.c_str(), &files, &attributes, words.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (error == 0) return Done{};
  pid_ = 0;
  const ErrorCode code = error == ENOENT ? ErrorCode::absent : ErrorCode::io;
  return Error{code, "the guardian " + executable + " cannot be started: " + ::strerrordesc_np(error)};
}

bool GuardianProcess::alive(const SharedLoop& shared) noexcept {
  reap(false);
  if (pid_ != 0 && !reaped_) return true;
  const int guardian = shared.beats.guardian.load(std::memory_order_relaxed);
  return guardian != 0 && ::kill(guardian, 0) == 0;
}

void GuardianProcess::reap(bool wait) noexcept {
  if (pid_ == 0 || reaped_) return;
  int status = 0;
  reaped_ = ::waitpid(pid_, &status, wait ? 0 : WNOHANG) == pid_ || errno == ECHILD;
}

int run_guardian(int descriptor) {
  auto memory = LoopMemory::attach(descriptor);
  if (!memory.ok()) {
    std::fprintf(stderr, "rl-guardian: %s\n", memory.error().text.c_str());
    return 2;
  }
  const pid_t session = ::getppid();
  SharedLoop& shared = memory.value().shared();
  auto second = SecondHand::make(memory.value());
  if (!second.ok()) {
    refuse(shared, second.error());
    return 2;
  }
  handle_signals(shared);
  shared.beats.second_hand.store(now_ns(), std::memory_order_release);
  const pid_t child = ::fork();
  if (child < 0) {
    refuse(shared, {ErrorCode::io, "the guardian cannot be started: no process left"});
    return 1;
  }
  if (child == 0) return guard(memory.value());
  return second.value()->watch(child, session);
}

}  // namespace rl
