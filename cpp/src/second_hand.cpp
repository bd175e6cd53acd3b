#include "rl/second_hand.hpp"

#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>

#include "rl/black_box.hpp"
#include "rl/guardian.hpp"

namespace rl {
namespace {

constexpr std::int64_t kWake = 20 * kMillisecond;
constexpr int kSilentWakes = 8;      // 160 ms
constexpr int kSecondPriority = 60;  // below the guardian's
constexpr std::int64_t kTakeOver = 5 * kSecond;

int pidfd_of(pid_t process) noexcept { return static_cast<int>(::syscall(SYS_pidfd_open, process, 0)); }

int wake_timer() noexcept {
  const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  itimerspec every{};
  every.it_value.tv_nsec = every.it_interval.tv_nsec = kWake;
  ::timerfd_settime(timer, 0, &every, nullptr);
  return timer;
}

/// A datagram on it is an emergency stop. Abstract: it leaves no file behind, and anybody may stop an arm.
int estop_listener() noexcept {
  const std::string name = estop_socket(::getpid());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const int listener = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (listener >= 0 && ::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0) return listener;
  if (listener >= 0) ::close(listener);
  return -1;
}

bool is_latched(State state) noexcept { return state == State::fault || state == State::estop; }

bool has_torque(State state) noexcept { return state != State::off && state != State::disarmed; }

}  // namespace

std::string estop_socket(int second_hand) { return "rl-estop-" + std::to_string(second_hand); }

Result<std::unique_ptr<SecondHand>> SecondHand::make(const LoopMemory& watched) {
  SessionPlan plan = watched.shared().plan;
  plan.house.planner.source = SourceKind::setpoints;  // nobody gives any: it only carries out a stop
  plan.house.planner.queue.keep_last = true;
  plan.house.planner.led = 0;
  plan.house.planner.active_cycles = 0;
  BoundedList<ChainPlan, kMostChains> drives;
  for (const ChainPlan& chain : plan.chains) {
    if (!chain.leader) drives.push_back(chain);
  }
  plan.chains = drives;
  if (!plan.house.black_boxes.empty()) {
    std::error_code refused;
    std::filesystem::create_directories(plan.house.black_boxes.string(), refused);
    if (refused)
      watched.shared().house.add_note("black box: none, " + plan.house.black_boxes.string() +
                                      " cannot be made: " + refused.message());
  }
  auto parts = parts_of(plan);
  if (!parts.ok()) return parts.error();
  auto memory = LoopMemory::make(plan);
  if (!memory.ok()) return memory.error();
  return std::make_unique<SecondHand>(watched, std::move(memory.value()), std::move(parts.value()));
}

SecondHand::SecondHand(const LoopMemory& watched, LoopMemory memory, Parts parts)
    : shared_(watched.shared()),
      records_(kRecords, shared_.plan.house.planner.axes.size(), watched.records(), shared_.journal.records),
      memory_(std::move(memory)),
      parts_(std::move(parts)),
      standby_(std::make_unique<LoopWorker>(memory_, parts_.drives, parts_.leaders)) {}

int SecondHand::watch(pid_t guardian, pid_t session) {
  ::pthread_setname_np(::pthread_self(), "rl-second-hand");
  if (shared_.plan.house.realtime) {
    sched_param parameters{};
    parameters.sched_priority = kSecondPriority;
    static_cast<void>(::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters));
  }
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  const int child = pidfd_of(guardian);
  timer_ = wake_timer();
  socket_ = estop_listener();
  session_ = pidfd_of(session);
  if (socket_ < 0) shared_.house.add_note("no emergency-stop socket could be opened");
  for (;;) {
    shared_.beats.second_hand.store(now_ns(), std::memory_order_release);
    std::array<pollfd, 3> items = {pollfd{child, POLLIN, 0}, pollfd{timer_, POLLIN, 0},
                                   pollfd{socket_, POLLIN, 0}};
    ::poll(items.data(), items.size(), static_cast<int>(2 * kWake / kMillisecond));
    if ((static_cast<unsigned>(items[0].revents) & POLLIN) != 0) break;
    if ((static_cast<unsigned>(items[2].revents) & POLLIN) != 0) listen();
    std::uint64_t ticks = 0;
    if (::read(timer_, &ticks, sizeof ticks) <= 0) continue;
    remember();
    if (!heart_beats()) ::kill(guardian, SIGKILL);
    watch_latch();
    look_after_session(session);
  }
  int status = 0;
  ::waitpid(guardian, &status, 0);
  remember();
  watch_latch();
  if (shared_.house.phase.load(std::memory_order_acquire) == Phase::ended ||
      shared_.house.phase.load(std::memory_order_acquire) == Phase::refused) {
    return shared_.house.exit_code.load(std::memory_order_relaxed);
  }
  return rescue();
}

/// False when the loop has been silent for too long where it should beat.
bool SecondHand::heart_beats() noexcept {
  const std::int64_t beat = shared_.beats.loop.load(std::memory_order_acquire);
  const bool busy = now_ns() < shared_.beats.busy_until.load(std::memory_order_acquire);
  silent_ = beat == 0 || busy || beat != beat_ ? 0 : silent_ + 1;
  beat_ = beat;
  return silent_ < kSilentWakes;
}

/// A look can be half written when its writer dies: the last whole one is kept.
void SecondHand::remember() noexcept {
  if (shared_.beats.loop.load(std::memory_order_relaxed) == 0) return;
  Look look;
  if (!shared_.look.try_load(look)) return;
  last_ = look;
  seen_ = true;
}

/// A session that was killed cannot close: where the arm has come to rest without torque, the house ends; a
/// latch that nobody can reset any more ends too, torque as it is.
void SecondHand::look_after_session(pid_t session) noexcept {
  pollfd gone{session_, POLLIN, 0};
  const bool dead = session_ < 0 ? ::kill(session, 0) != 0 : ::poll(&gone, 1, 0) > 0;
  if (!dead || !seen_) return;
  if (!has_torque(last_.state) || is_latched(last_.state)) shared_.requests.close(Closing::orderly);
}

/// The guardian's loop writes no files; its last cycles are kept from here, once for each fault.
void SecondHand::watch_latch() noexcept {
  const bool latched = seen_ && is_latched(last_.state);
  if (latched && !latched_) write_record();
  latched_ = latched;
}

void SecondHand::write_record() noexcept {
  const std::string_view folder = shared_.plan.house.black_boxes.view();
  if (folder.empty()) return;
  Text<1024> path;
  std::array<char, 256> note{};
  if (write_black_box(folder, shared_, records_, path)) {
    std::snprintf(note.data(), note.size(), "black box: %.*s; see rl blackbox",
                  static_cast<int>(path.view().size()), path.view().data());
  } else {
    std::snprintf(note.data(), note.size(), "black box: cannot be written into %.*s",
                  static_cast<int>(folder.size()), folder.data());
  }
  shared_.house.add_note(note.data());
}

void SecondHand::listen() noexcept {
  std::array<char, 64> space{};
  while (::recv(socket_, space.data(), space.size(), MSG_DONTWAIT) >= 0) shared_.requests.estop();
}

/// The last legal goal once more, so that a goal that was half sent is whole. The servos keep it by
/// themselves.
void SecondHand::hold() {
  AxisVector goal{};
  if (!shared_.bus.goal.try_load(goal)) goal = last_.goal;  // killed in the midst of noting it
  std::size_t number = 0;                                   // in the plan, the drives come first
  for (const BusPart& part : parts_.drives) {
    ServoChain& chain = part.bus->chain;
    chain.move_to(shared_.plan.chains[number++].port.string());  // it may have come back elsewhere
    auto port = SerialPort::open(chain.config().port, chain.config().baud);
    if (!port.ok()) continue;
    static_cast<void>(port.value().discard_input());
    chain.adopt(std::move(port.value()));
    static_cast<void>(chain.write_goals({goal.data() + part.begin, chain.size()}));
  }
}

int SecondHand::rescue() {
  remember();
  const std::int64_t noticed = now_ns();
  const bool torque = shared_.bus.energised.load(std::memory_order_acquire) != 0;
  const bool moving = seen_ && has_torque(last_.state) && torque;
  if (moving) hold();
  StateLog& log = shared_.journal.states;
  log.push({State::fault, Reason::guardian_died, -1, noticed});
  shared_.house.add_note("the guardian died; its second hand wrote the last goal again");
  if (!latched_) write_record();
  if (moving && !is_latched(last_.state)) {
    static_cast<void>(carry_out_policy());
    const SharedLoop& after = memory_.shared();
    for (const StateEvent& event : after.journal.states.events()) log.push(event);
    shared_.bus.energised.store(after.bus.energised.load(), std::memory_order_release);
  }
  end_house(shared_, 1);
  return 1;
}

/// A loop of our own takes the arm over where it stands and ends as the session would have.
int SecondHand::carry_out_policy() {
  SharedLoop& own = memory_.shared();
  const SafetyConfig& safety = own.plan.house.planner.safety;
  const bool rests = safety.stop_policy == StopPolicy::rest && safety.has_rest_pose;
  if (!rests && safety.stop_policy != StopPolicy::off) {  // it stays where it is
    own.bus.energised.store(shared_.bus.energised.load(), std::memory_order_release);
    return 1;
  }
  for (const BusPart& part : parts_.drives) part.bus->chain.probe();
  own.bus.energised.store(shared_.bus.energised.load(), std::memory_order_release);
  if (!standby_->look().ok()) return 1;
  own.requests.arm();
  std::thread loop([this] { standby_->run(); });
  const std::int64_t end = now_ns() + kTakeOver;
  while (own.bus.answers.load(std::memory_order_acquire) == 0 && now_ns() < end)
    sleep_until_ns(now_ns() + kMillisecond);
  if (own.bus.answer.armed) {
    own.requests.stop(safety.stop_policy);
  } else {
    own.requests.close(Closing::at_once);  // refused: torque and goal stay as they are
  }
  loop.join();
  return own.house.exit_code.load();
}

}  // namespace rl
