#include "rl/second_hand.hpp"

#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <ctime>
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
constexpr int kAttend = 4;  // ms: how long a request of the session may wait while the own loop runs

bool has(std::uint64_t mask, std::size_t bit) noexcept { return ((mask >> bit) & 1U) != 0; }

bool keeps_its_limit(State state) noexcept { return state == State::off || state == State::fault; }

int wake_timer() noexcept {
  const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  itimerspec every{};
  every.it_value.tv_nsec = every.it_interval.tv_nsec = kWake;
  ::timerfd_settime(timer, 0, &every, nullptr);
  return timer;
}

}  // namespace

std::string estop_socket(int process) { return "rl-estop-" + std::to_string(process); }

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
    if (const auto ready = make_ready(plan.house.black_boxes.string(), std::time(nullptr)); !ready.ok())
      return ready.error();
  }
  auto parts = parts_of(plan);
  if (!parts.ok()) return parts.error();
  auto memory = LoopMemory::make(plan);
  if (!memory.ok()) return memory.error();
  return std::make_unique<SecondHand>(watched, std::move(memory.value()), std::move(parts.value()));
}

SecondHand::SecondHand(const LoopMemory& watched, LoopMemory memory, Parts parts)
    : shared_(watched.shared()),
      records_(watched.records()),
      memory_(std::move(memory)),
      parts_(std::move(parts)),
      standby_(std::make_unique<LoopWorker>(memory_, parts_.drives, parts_.leaders)) {}

/// What is there now: what a later stack or heap needs must not fail for a limit.
void SecondHand::lock_memory() noexcept {
  if (shared_.plan.house.realtime && ::mlockall(MCL_CURRENT) != 0)
    shared_.house.add_note("second hand: memory not locked; allow it with `@realtime - memlock unlimited`");
}

int SecondHand::watch(pid_t guardian, pid_t session) {
  ::pthread_setname_np(::pthread_self(), "rl-second-hand");
  if (shared_.plan.house.realtime) {
    sched_param parameters{};
    parameters.sched_priority = kSecondPriority;
    static_cast<void>(::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters));
  }
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  timer_ = wake_timer();
  estop_ = NamedSocket::bind(estop_socket(::getpid()));
  if (!estop_.is_open()) shared_.house.add_note("no emergency-stop socket could be opened");
  SessionWatch owner(session);
  lock_memory();
  stand_by(guardian, owner);
  int status = 0;
  ::waitpid(guardian, &status, 0);
  remember();
  const Phase phase = shared_.house.phase.load(std::memory_order_acquire);
  const bool announced = phase == Phase::ended || phase == Phase::refused;
  const int code = announced ? shared_.house.exit_code.load(std::memory_order_relaxed) : rescue();
  if (announced) watch_latch(false);
  if (recorder_.joinable()) recorder_.join();
  if (!announced) end_house(shared_, code);
  owner.tell();
  return code;
}

/// Until the guardian ends.
void SecondHand::stand_by(pid_t guardian, SessionWatch& session) {
  const int child = static_cast<int>(::syscall(SYS_pidfd_open, guardian, 0));
  for (;;) {
    shared_.beats.second_hand.store(now_ns(), std::memory_order_release);
    std::array<pollfd, 3> items = {pollfd{child, POLLIN, 0}, pollfd{timer_, POLLIN, 0},
                                   pollfd{estop_.descriptor(), POLLIN, 0}};
    ::poll(items.data(), items.size(), static_cast<int>(2 * kWake / kMillisecond));
    if ((static_cast<unsigned>(items[0].revents) & POLLIN) != 0) break;
    if (estop_.heard()) shared_.requests.estop();
    std::uint64_t ticks = 0;
    if (::read(timer_, &ticks, sizeof ticks) <= 0) continue;
    remember();
    if (!heart_beats()) ::kill(guardian, SIGKILL);
    watch_latch(true);
    if (seen_) session.look_after(shared_, last_, now_ns());
  }
  ::close(child);
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

/// The guardian's loop writes no files; its last cycles are kept from here, once for each fault. `aside`: in
/// a thread of normal priority, since a slow disk must not keep this one from watching.
void SecondHand::watch_latch(bool aside) noexcept {
  const std::uint64_t latched = seen_ ? arms_in(is_latched) : 0;
  const bool fresh = (latched & ~latched_) != 0;
  if (fresh && aside && recording_) return;  // the disk is slow: with the next look
  latched_ = latched;
  if (!fresh) return;
  if (recorder_.joinable()) recorder_.join();
  recording_ = true;
  const auto record = [this]() noexcept {
    write_record();
    recording_ = false;
  };
  try {
    if (aside) recorder_ = std::thread(record);
  } catch (const std::system_error&) {  // no thread left
    aside = false;
  }
  if (!aside) record();
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

/// Before the first whole look nobody knows: as if nothing had been driven.
State SecondHand::state_of(std::size_t arm) const noexcept {
  return seen_ && arm < last_.arms.size() ? last_.arms[arm].state : State::disarmed;
}

std::uint64_t SecondHand::arms_in(bool (*which)(State)) const noexcept {
  std::uint64_t out = 0;
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
    if (which(state_of(arm))) out |= 1ULL << arm;
  }
  return out;
}

/// Those in which a motor has torque, as far as is known.
std::uint64_t SecondHand::energised_arms() const noexcept {
  const std::uint64_t motors = shared_.bus.energised.load(std::memory_order_acquire);
  std::uint64_t out = 0;
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
    if ((motors & axes_of(1ULL << arm)) != 0) out |= 1ULL << arm;
  }
  return out;
}

std::uint64_t SecondHand::axes_of(std::uint64_t arms) const noexcept {
  std::uint64_t out = 0;
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
    const BusPart& part = parts_.drives[arm];
    const std::size_t size = part.bus->chain.size();
    const std::uint64_t own = size >= 64 ? ~0ULL : (1ULL << size) - 1;
    if (has(arms, arm)) out |= own << part.begin;
  }
  return out;
}

void SecondHand::open_ports(std::uint64_t arms) {
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {  // in the plan, the drives come first
    if (!has(arms, arm)) continue;
    ServoChain& chain = parts_.drives[arm].bus->chain;
    const auto& port = shared_.plan.chains[arm].port;  // it may have come back elsewhere
    if (port.view() != chain.config().port) chain.move_to(port.string());
    auto opened = SerialPort::open(chain.config().port, chain.config().baud);
    if (!opened.ok()) continue;
    static_cast<void>(opened.value().discard_input());
    chain.adopt(std::move(opened.value()));
  }
}

/// The last legal goal once more, so that a goal that was half sent is whole. The servos keep it by
/// themselves.
void SecondHand::write_last_goal(std::uint64_t arms) noexcept {
  AxisVector goal{};
  if (!shared_.bus.goal.try_load(goal)) goal = last_.goal;  // killed in the midst of noting it
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
    const BusPart& part = parts_.drives[arm];
    ServoChain& chain = part.bus->chain;
    if (has(arms, arm) && chain.is_open())
      static_cast<void>(chain.write_goals({goal.data() + part.begin, chain.size()}));
  }
}

/// For those who look on. The dead may have left a look half written, which no reader gets past.
void SecondHand::say_dead() noexcept {
  shared_.journal.states.push({State::fault, Reason::guardian_died, -1, now_ns()});
  shared_.house.add_note("the guardian died; its second hand took over");
  Look look = last_;
  const ArmLook dead{State::fault, Reason::guardian_died, -1};
  for (ArmLook& arm : look.arms) {
    if (!is_latched(arm.state)) arm = dead;
  }
  if (!is_latched(look.state)) {
    look.state = dead.state;
    look.reason = dead.reason;
    look.joint = dead.joint;
  }
  shared_.look.store(look);
}

/// The arms first, then those who look on, then the disk. An arm that is latched stays as it is.
int SecondHand::rescue() {
  const std::uint64_t torque = energised_arms();
  if (torque != 0) open_ports(torque);
  const bool limp = shared_.plan.house.planner.safety.estop_off;
  const bool stopped = shared_.requests.estopped();
  if (stopped && limp) release(torque);  // perhaps for the second time
  // Where nothing was driven, the last goal is an old one: each motor stands at the goal that it was given.
  if (!(stopped && limp)) write_last_goal(torque & arms_in(has_torque));
  say_dead();
  if (!stopped) {
    carry_out_policy(torque & ~arms_in(is_latched));
  } else if (!limp) {
    probe(torque);
    raise_torque(torque & ~arms_in(keeps_its_limit));  // they are held, with their whole torque
  }
  if (!stopped && limp && shared_.requests.estopped()) release(energised_arms());  // it came meanwhile
  if (latched_ == 0) {
    if (recorder_.joinable()) recorder_.join();
    write_record();
  }
  return 1;
}

void SecondHand::probe(std::uint64_t arms) noexcept {
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
    if (has(arms, arm)) parts_.drives[arm].bus->chain.probe();
  }
}

/// As the session would have ended, from whatever the guardian was about with each of them.
void SecondHand::carry_out_policy(std::uint64_t arms) {
  if (arms == 0) return;
  const SafetyConfig& safety = shared_.plan.house.planner.safety;
  const bool off = safety.stop_policy == StopPolicy::off;
  const bool rests = safety.stop_policy == StopPolicy::rest && safety.has_rest_pose;
  probe(arms);
  const std::uint64_t driven = arms_in(has_torque);
  const std::uint64_t let_go = arms_in([](State state) { return state == State::off; });
  const std::uint64_t released = arms & (let_go | (off ? ~driven : 0));
  if (released != 0) release(released);
  const std::uint64_t kept = arms & ~released;
  if (kept == 0) return;
  if (rests || off) {
    take_over(answering(kept));
  } else {
    raise_torque(kept);  // they stay where they are
  }
}

/// Those of these arms in which every motor answers: one that does not is left where it stands, and keeps
/// no other one from being laid down.
std::uint64_t SecondHand::answering(std::uint64_t arms) const noexcept {
  std::uint64_t out = 0;
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
    ServoChain& chain = parts_.drives[arm].bus->chain;
    if (has(arms, arm) && chain.is_open() && chain.recognise().none()) out |= 1ULL << arm;
  }
  return out;
}

/// A release that was cut short is finished.
void SecondHand::release(std::uint64_t arms) noexcept {
  if (shared_.plan.house.planner.safety.estop_off && shared_.requests.estopped()) {
    for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
      if (has(arms, arm)) parts_.drives[arm].bus->chain.drop();
    }
  }
  std::uint64_t held = 0;
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
    const BusPart& part = parts_.drives[arm];
    if (has(arms, arm)) held |= part.bus->chain.release() << part.begin;
  }
  set_energised(arms, held);
}

/// Of these arms.
void SecondHand::set_energised(std::uint64_t arms, std::uint64_t motors) noexcept {
  const std::uint64_t others = shared_.bus.energised.load(std::memory_order_relaxed) & ~axes_of(arms);
  shared_.bus.energised.store(others | motors, std::memory_order_release);
}

/// So is a torque ramp that was.
void SecondHand::raise_torque(std::uint64_t arms) noexcept {
  const std::uint64_t answered = answering(arms);
  std::uint64_t derated = 0;
  for (std::size_t k = 0; k < kMostAxes; ++k) {
    if (wants_less_torque(last_.alarms[k], last_.temperature[k])) derated |= 1ULL << k;
  }
  for (std::size_t arm = 0; arm < parts_.drives.size(); ++arm) {
    const BusPart& part = parts_.drives[arm];
    if (has(answered, arm)) part.bus->chain.raise_torque(derated >> part.begin);
  }
}

/// A loop of our own takes these arms over where they stand and lays them down. Meanwhile this thread passes
/// on what is asked of the dead one.
void SecondHand::take_over(std::uint64_t arms) {
  if (arms == 0) return;
  SharedLoop& own = memory_.shared();
  own.bus.energised.store(shared_.bus.energised.load() & axes_of(arms), std::memory_order_release);
  standby_->take_over(arms);
  if (!standby_->look().ok()) return;
  taken_over_ = arms;
  attend(own, false);  // an emergency stop before the request to arm: then nothing moves
  own.requests.arm();
  std::thread loop([this] { standby_->run(); });
  const std::int64_t end = now_ns() + kTakeOver;
  bool ending = false;
  while (own.house.phase.load(std::memory_order_acquire) != Phase::ended) {
    pollfd item{estop_.descriptor(), POLLIN, 0};
    ::poll(&item, 1, kAttend);
    Look look;
    const bool whole = own.look.try_load(look);
    attend(own, whole && has_torque(look.state));
    report(own);
    const bool answered = own.bus.answers.load(std::memory_order_acquire) != 0;
    if (ending || !(answered || now_ns() > end)) continue;
    const bool armed = answered && own.bus.answer.armed;
    // Not before it moves: a stop in DISARMED would let go of it.
    if (armed && !(whole && (has_torque(look.state) || look.state == State::off))) continue;
    // Refused: torque and goal stay as they are.
    own.requests.close(armed ? Closing::orderly : Closing::at_once);
    ending = true;
  }
  loop.join();
  report(own);
  const std::uint64_t told = arms | let_go_by(own);
  set_energised(told, own.bus.energised.load() & axes_of(told));
}

/// The arms that the own loop released, those that it has not taken over among them.
std::uint64_t SecondHand::let_go_by(const SharedLoop& own) const noexcept {
  Look look;
  std::uint64_t out = 0;
  if (!own.look.try_load(look)) return out;
  for (std::size_t arm = 0; arm < look.arms.size(); ++arm) {
    if (look.arms[arm].state == State::off) out |= 1ULL << arm;
  }
  return out;
}

/// What is asked by socket, session or signal. The stop that is under way is ours: the first one that is
/// asked for is no second one, and closing is what is done already.
void SecondHand::attend(SharedLoop& own, bool moves) noexcept {
  shared_.beats.second_hand.store(now_ns(), std::memory_order_release);
  if (estop_.heard()) shared_.requests.estop();
  Events asked;
  shared_.requests.take(asked);
  if (asked.estop) own.requests.estop();
  if (asked.release) own.requests.release();
  if (asked.stop_requests > 0) owed_policy_ = asked.stop_policy;
  owed_stops_ += asked.stop_requests;
  if (!moves) return;  // a stop in DISARMED lets go
  for (; owed_stops_ > 0; --owed_stops_) own.requests.stop(owed_policy_);
}

/// What was last seen of an arm, which the own loop does not look at.
void SecondHand::keep(std::size_t arm, Look& look) const noexcept {
  const std::uint64_t axes = axes_of(1ULL << arm);
  const double since = static_cast<double>(look.at - last_.at) * 1e-9;
  for (std::size_t k = 0; k < kMostAxes; ++k) {
    if (!has(axes, k)) continue;
    look.values[k] = last_.values[k];
    look.age[k] = last_.age[k] + since;
    if (look.age[k] > static_cast<double>(kStateStale) * 1e-9) look.silent |= 1ULL << k;
    look.alarms[k] = last_.alarms[k];
    look.load[k] = last_.load[k];
    look.goal[k] = last_.goal[k];
    look.requested[k] = last_.requested[k];
    look.temperature[k] = last_.temperature[k];
  }
}

/// The session sees what the own loop does, and what it has not taken over as it was.
void SecondHand::report(const SharedLoop& own) noexcept {
  const auto events = own.journal.states.events();
  for (; reported_ < events.size(); ++reported_) shared_.journal.states.push(events[reported_]);
  Look look;
  if (!own.look.try_load(look) || look.at == 0 || look.state == State::disarmed) return;
  look.cycle += last_.cycle;
  look.active_cycles = last_.active_cycles;
  look.first_goal = last_.first_goal;
  for (std::size_t k = 0; k < kMostAxes; ++k) {  // read one motor after another, anew
    if (look.temperature[k] == 0) look.temperature[k] = last_.temperature[k];
  }
  const std::uint64_t told = taken_over_ | let_go_by(own);
  for (std::size_t arm = 0; arm < look.arms.size() && arm < last_.arms.size(); ++arm) {
    if (has(told, arm)) continue;
    keep(arm, look);
    const ArmLook& was = last_.arms[arm];
    look.arms[arm] = was;
    if (!is_latched(was.state)) continue;
    look.state = was.state;
    look.reason = was.reason;
    look.joint = was.joint;
  }
  shared_.look.store(look);
}

}  // namespace rl
