#include "rl/loop_worker.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdio>

namespace rl {
namespace {

constexpr int kPriority = 80;

/// Whether every position stays younger than what is too old to be driven on.
bool fits(const ServoChain& chain, int rate) noexcept {
  constexpr std::int64_t kOldest = 80 * kMillisecond;
  const std::int64_t period = kSecond / rate;
  return chain.oldest_at(period, read_budget(period)) <= std::max(kOldest, period);
}

/// A rate at which no reply can be there in time would look like an arm that does not answer. Asked again
/// before it is refused: a host that stood still for a moment is no slow adapter.
Result<> carries(ServoChain& chain, std::int64_t period) {
  const int asked = static_cast<int>(kSecond / period);
  for (int turn = 0; turn < 3; ++turn) {
    if (fits(chain, asked)) return Done{};
    chain.probe();
  }
  int rate = asked;
  while (rate > 10 && !fits(chain, rate)) rate = std::max(10, rate - std::max(1, rate / 20));
  const int roomy = std::max(10, rate * 9 / 100 * 10);  // it is measured again then
  if (fits(chain, roomy)) rate = roomy;
  std::array<char, 16> late{};
  std::snprintf(late.data(), late.size(), "%.1f ms", static_cast<double>(chain.turnaround()) * 1e-6);
  return Error{ErrorCode::usage, std::to_string(asked) + " Hz is more than " + chain.config().port +
                                     " carries, whose motors answer " + late.data() + " late; " +
                                     (fits(chain, rate) ? "use --rate " + std::to_string(rate) + " or less"
                                                        : std::string("no lower rate helps; see rl doctor"))};
}

/// Its pose, heard at least once of every joint.
Result<> first_look(ServoChain& chain) {
  if (auto opened = chain.open(); !opened.ok()) return opened;
  bool heard = false;
  for (int turn = 0; turn < 5 && !heard && !chain.lost(); ++turn) heard = chain.read_now(100 * kMillisecond);
  if (chain.lost()) return chain.tell({TroubleKind::lost, 0, 0, 0, {}});
  const std::span<const JointState> joints = chain.joints();
  const auto silent =
      std::find_if(joints.begin(), joints.end(), [](const JointState& j) { return j.captured == 0; });
  if (silent == joints.end()) return Done{};
  return chain.tell({TroubleKind::silent, static_cast<int>(silent - joints.begin()), 0, 0, {}});
}

}  // namespace

LoopJournal::LoopJournal(const LoopMemory& memory) noexcept
    : records(memory.records()),
      board(memory.shared().journal),
      look(memory.shared().look),
      beats_(memory.shared().beats),
      first_goal_(memory.shared().bus.first_goal),
      axes_(memory.shared().plan.house.planner.axes.size()),
      led_(memory.shared().plan.house.planner.led),
      period_(memory.shared().plan.house.planner.period) {}

void LoopJournal::measure(const CycleRecord& record, std::int64_t skipped) noexcept {
  if (record.state != State::active || record.wrote == 0) {
    last_wrote_ = 0;
    return;
  }
  board.wake.add(record.woke - record.deadline);
  board.read.add(record.read - record.wrote);
  if (last_wrote_ != 0) {
    board.period_error.add(std::abs(record.wrote - last_wrote_ - period_));
    board.between.fetch_add(record.wrote - last_wrote_, std::memory_order_relaxed);
  }
  last_wrote_ = record.wrote;
  if (skipped > 0) board.misses.fetch_add(static_cast<std::uint64_t>(skipped), std::memory_order_relaxed);
  if (record.missing != 0) count(board.late_reads);
  count(board.active_writes);
}

void LoopJournal::publish(CycleRecord& record, const Reading& reading, const AxisVector& written,
                          const Plan& plan, std::int64_t skipped) noexcept {
  measure(record, skipped);
  Look out;
  for (std::size_t k = 0; k < axes_; ++k) {
    record.captured = std::max(record.captured, reading.captured[k]);
    out.age[k] =
        reading.captured[k] == 0 ? HUGE_VAL : static_cast<double>(record.done - reading.captured[k]) * 1e-9;
  }
  // As old as it can be at the end of the next cycle, before which the planner decides with it: a HOLD says
  // at once for whom, and a silent motor is named before its position is stale, not a cycle after.
  const std::int64_t ahead =
      period_ <= kFastPeriod ? std::max(record.deadline + period_, record.done) + period_ : record.done;
  for (std::size_t k = 0; k < axes_; ++k) {
    const bool led = ((led_ >> k) & 1U) != 0;
    if (ahead - reading.captured[k] > kStateStale) out.silent |= 1ULL << k;
    if (led && ahead - reading.leader_captured[k] > kStateStale) out.leader_silent |= 1ULL << k;
  }
  records.push(record, {reading.values.data(), axes_}, {written.data(), axes_},
               {plan.requested.data(), axes_});
  if (record.state == State::active) count(board.active_cycles);

  const Decision& decision = plan.decision;
  if (!any_ || decision.entered || decision.state != last_state_) {
    board.states.push({decision.state, decision.reason, decision.joint, record.done});
    any_ = true;
    last_state_ = decision.state;
  }
  out.state = decision.state;
  out.reason = decision.reason;
  out.joint = decision.joint;
  for (const Decision& arm : plan.arms) out.arms.push_back({arm.state, arm.reason, arm.joint});
  out.cycle = record.cycle;
  out.active_cycles = static_cast<std::int64_t>(board.active_cycles.load(std::memory_order_relaxed));
  out.captured = record.captured;
  out.at = record.done;
  out.first_goal = first_goal_.load(std::memory_order_relaxed);
  out.remaining = plan.remaining;
  out.missing = record.missing;
  out.warm = plan.warm;
  out.low_voltage = plan.low_voltage;
  out.values = reading.values;
  out.goal = written;
  out.requested = plan.requested;
  out.alarms = reading.alarms;
  out.load = reading.load;
  out.temperature = reading.temperature;
  look.store(out);
  beats_.loop.store(record.done, std::memory_order_release);
  count(board.cycles);  // last: who waits for the first cycle finds a look
}

LoopWorker::LoopWorker(const LoopMemory& memory, std::vector<BusPart> drives, std::vector<BusPart> leaders)
    : shared_(memory.shared()),
      bus_(std::move(drives), std::move(leaders), shared_),
      planner_(shared_.plan.house.planner, shared_.requests, shared_.chunks, shared_.tally),
      journal_(memory) {}

Result<> LoopWorker::look() {
  for (std::size_t i = 0; i < bus_.chains().size(); ++i) {  // the drives come first
    const bool driven = i < bus_.drives().size();
    if (driven && ((bus_.armable() >> i) & 1U) == 0) continue;
    const BusPart& part = driven ? bus_.drives()[i] : bus_.leaders()[i - bus_.drives().size()];
    const std::lock_guard lock(part.bus->mutex);
    if (auto seen = first_look(part.bus->chain); !seen.ok()) return seen;
    if (bus_.taking_over()) continue;
    if (auto carried = carries(part.bus->chain, shared_.plan.house.planner.period); !carried.ok())
      return carried;
  }
  for (const BusPart& part : bus_.leaders()) {  // a leader is moved by hand: never under torque
    const std::uint64_t held = part.bus->chain.relax();
    if (held != 0)
      return part.bus->chain.tell({TroubleKind::still_energised, __builtin_ctzll(held), 0, 0, {}});
  }
  return Done{};
}

void LoopWorker::ask_for_realtime() noexcept {
  bool granted = false;
  if (shared_.plan.house.realtime) {
    sched_param parameters{};
    parameters.sched_priority = kPriority;
    granted = ::pthread_setschedparam(::pthread_self(), SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters) == 0;
    shared_.house.add_note(granted ? "real-time priority: SCHED_FIFO 80"
                                   : "no real-time priority; allow it with `@realtime - rtprio 95` in "
                                     "/etc/security/limits.d and a new login");
    shared_.house.add_note(core_.pin(granted));
    shared_.house.add_note(idle_cores_.keep_awake());
    if (granted) journal_.records.touch();  // else taken page by page
  } else {
    shared_.house.add_note("real-time priority: not asked for");
  }
  if (!granted) ::prctl(PR_SET_TIMERSLACK, 1UL);
  bus_.spin(granted);
  for (const auto* parts : {&bus_.drives(), &bus_.leaders()}) {
    for (const BusPart& part : *parts) {
      const ServoChain& chain = part.bus->chain;
      if (!chain.latency_note().empty())
        shared_.house.add_note(chain.config().port + ": " + chain.latency_note());
      const std::size_t room = chain.room_in(read_budget(shared_.plan.house.planner.period));
      if (room < chain.size())
        shared_.house.add_note(chain.config().port + ": a period has room for " + std::to_string(room) +
                               " of " + std::to_string(chain.size()) + " motors; they are read in turn");
    }
  }
}

void LoopWorker::run() noexcept {
  ::pthread_setname_np(::pthread_self(), "rl-loop");
  Reconnector reconnector(bus_.chains(), shared_);  // before this thread has its priority, which it keeps
  bus_.reconnect_by(&reconnector);
  ask_for_realtime();
  ControlLoop loop(bus_, planner_, journal_, shared_.plan.house.planner.period);
  const int code = loop.run();
  bus_.reconnect_by(nullptr);
  end_house(shared_, code != 0 || shared_.bus.energised.load(std::memory_order_relaxed) != 0 ? 1 : 0);
}

Result<Parts> parts_of(const SessionPlan& plan) {
  Parts out;
  for (const ChainPlan& chain : plan.chains) {
    auto made = ServoChain::make(chain.config());
    if (!made.ok()) return made.error();
    (chain.leader ? out.leaders : out.drives)
        .push_back({chain.begin, std::make_shared<SharedChain>(std::move(made.value()))});
  }
  return out;
}

void end_house(SharedLoop& shared, int exit_code) noexcept {
  shared.house.exit_code.store(exit_code, std::memory_order_relaxed);
  shared.house.phase.store(Phase::ended, std::memory_order_release);
  ::syscall(SYS_futex, &shared.house.phase, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void wait_phase(const SharedLoop& shared, Phase phase, std::int64_t deadline) noexcept {
  static_assert(sizeof(std::atomic<Phase>) == 4);
  while (shared.house.phase.load(std::memory_order_acquire) == phase) {
    const std::int64_t left = deadline - now_ns();
    if (left <= 0) return;
    const timespec timeout{static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
    ::syscall(SYS_futex, &shared.house.phase, FUTEX_WAIT, static_cast<std::uint32_t>(phase), &timeout,
              nullptr, 0);
  }
}

}  // namespace rl
