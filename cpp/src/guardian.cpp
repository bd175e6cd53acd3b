#include "rl/guardian.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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
#include <stop_token>
#include <thread>

#include "rl/second_hand.hpp"

extern "C" char** environ;

namespace rl {
namespace {

constexpr int kInherited = 3;  // the descriptor of the memory in the executable
constexpr const char* kName = "rl-guardian";
constexpr int kLonelyLook = 20;  // ms

SharedLoop* signalled = nullptr;

/// The stop policy, however many signals come to however many processes of a group. An atomic word: allowed
/// in a handler.
void on_signal(int /*number*/) {
  if (signalled != nullptr) signalled->requests.close(Closing::orderly);
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

/// Of all programs these two are to be killed last where memory runs out. It needs a right that few have.
void ask_to_be_spared() noexcept {
  const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  static_cast<void>(!::write(file, "-900", 4));
  ::close(file);
}

/// What the guardian does for itself while its second hand is silent: it hears the emergency stop and looks
/// after the session.
class LonelyWatch {
 public:
  LonelyWatch(SharedLoop& shared, pid_t session)
      : shared_(shared), session_(session), thread_([this](const std::stop_token& over) { run(over); }) {}
  /// Once the loop has ended.
  void finish() {
    thread_.request_stop();
    thread_.join();
    session_.tell();
  }

 private:
  void run(const std::stop_token& over) noexcept {
    ::pthread_setname_np(::pthread_self(), "rl-lonely");
    while (!over.stop_requested()) {
      pollfd item{estop_.descriptor(), POLLIN, 0};
      ::poll(&item, 1, kLonelyLook);
      if (estop_.heard()) shared_.requests.estop();
      if (!shared_.beats.unguarded(now_ns())) continue;
      if (!estop_.is_open()) estop_ = NamedSocket::bind(estop_socket(::getpid()));
      Look look;
      if (shared_.look.try_load(look)) session_.look_after(shared_, look, now_ns());
    }
  }

  SharedLoop& shared_;
  SessionWatch session_;
  NamedSocket estop_;
  std::jthread thread_;  // last: it uses the others
};

/// The child: it owns the ports and the loop until the loop ends.
int guard(const LoopMemory& memory, pid_t session) {
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
  LonelyWatch lonely(shared, session);
  lock_memory(shared);
  shared.house.phase.store(Phase::running, std::memory_order_release);
  worker.run();
  lonely.finish();
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
  ask_to_be_spared();
  shared.beats.second_hand.store(now_ns(), std::memory_order_release);
  const pid_t child = ::fork();
  if (child < 0) {
    refuse(shared, {ErrorCode::io, "the guardian cannot be started: no process left"});
    return 1;
  }
  if (child == 0) return guard(memory.value(), session);
  return second.value()->watch(child, session);
}

}  // namespace rl
