#include "rl/loop_house.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

namespace rl {
namespace {

constexpr std::size_t kRecords = 1U << 16U;
constexpr std::size_t kSlots = 8;
constexpr int kPriority = 80;
constexpr double kLargestEnsembleGrowth = 60;  // exp of it is still a float
constexpr std::int64_t kArmPatience = 10 * kSecond;
constexpr std::int64_t kClosePatience = 2 * kSecond;  // beyond the rest move

ChunkSlot blank_slot(std::size_t axes) {
  ChunkSlot slot;
  slot.values.resize(kMostRows * axes);
  return slot;
}

/// "" or what is wrong with one axis.
std::string axis_problem(const PlannerAxis& axis) {
  const AxisLimits& l = axis.limits;
  for (const double v :
       {l.low, l.high, l.speed, l.acceleration, l.jerk, axis.soft_speed, axis.jump, axis.rest}) {
    if (!std::isfinite(v)) return "a limit is not finite";
  }
  if (l.low >= l.high) return "low is not below high";
  if (l.speed <= 0 || l.acceleration <= 0 || axis.soft_speed <= 0)
    return "speed and acceleration must be above 0";
  if (l.jerk < 0 || axis.jump < 0) return "jerk and jump must not be negative";
  return "";
}

/// Every axis exactly once for the drives, at most once for the leaders.
std::string cover_problem(const std::vector<BusPart>& parts, std::size_t axes, bool all,
                          std::uint64_t& mask) {
  mask = 0;
  for (const BusPart& part : parts) {
    for (std::size_t i = 0; i < part.bus->chain.size(); ++i) {
      const std::size_t axis = part.begin + i;
      if (axis >= axes) return "a bus reaches beyond the action vector";
      if (((mask >> axis) & 1U) != 0) return "two buses drive axis " + std::to_string(axis);
      mask |= 1ULL << axis;
    }
  }
  const std::uint64_t whole = axes == 64 ? ~0ULL : (1ULL << axes) - 1;
  return all && mask != whole ? "an axis has no bus" : "";
}

/// The bus that is given more than once, or nullptr.
const SharedChain* named_twice(const std::vector<BusPart>& drives, const std::vector<BusPart>& leaders) {
  std::vector<const SharedChain*> seen;
  for (const auto* parts : {&drives, &leaders}) {
    for (const BusPart& part : *parts) {
      if (std::find(seen.begin(), seen.end(), part.bus.get()) != seen.end()) return part.bus.get();
      seen.push_back(part.bus.get());
    }
  }
  return nullptr;
}

}  // namespace

LoopJournal::LoopJournal(std::size_t axes, std::int64_t period)
    : records(kRecords, axes), axes_(axes), period_(period) {}

void LoopJournal::measure(const CycleRecord& record, std::int64_t skipped) noexcept {
  if (record.state != State::active || record.wrote == 0) {
    last_wrote_ = 0;
    return;
  }
  wake.add(record.woke - record.deadline);
  read.add(record.read - record.wrote);
  if (last_wrote_ != 0) period_error.add(std::abs(record.wrote - last_wrote_ - period_));
  last_wrote_ = record.wrote;
  if (skipped > 0) misses.fetch_add(static_cast<std::uint64_t>(skipped), std::memory_order_relaxed);
  if (record.missing != 0) late_reads.fetch_add(1, std::memory_order_relaxed);
  active_writes.fetch_add(1, std::memory_order_relaxed);
  if (first_active.load(std::memory_order_relaxed) == 0)
    first_active.store(record.wrote, std::memory_order_relaxed);
  last_active.store(record.wrote, std::memory_order_relaxed);
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
  records.push(record, {reading.values.data(), axes_}, {written.data(), axes_},
               {plan.requested.data(), axes_});
  cycles.fetch_add(1, std::memory_order_relaxed);
  if (record.state == State::active) active_cycles.fetch_add(1, std::memory_order_relaxed);

  const Decision& decision = plan.decision;
  if (!any_ || decision.entered || decision.state != last_state_) {
    states.push({decision.state, decision.reason, decision.joint, record.done});
    any_ = true;
    last_state_ = decision.state;
  }
  out.state = decision.state;
  out.reason = decision.reason;
  out.joint = decision.joint;
  out.cycle = record.cycle;
  out.active_cycles = static_cast<std::int64_t>(active_cycles.load(std::memory_order_relaxed));
  out.captured = record.captured;
  out.at = record.done;
  out.first_goal = first_goal != nullptr ? first_goal->load(std::memory_order_relaxed) : 0;
  out.remaining = plan.remaining;
  out.missing = record.missing;
  out.values = reading.values;
  out.goal = written;
  out.requested = plan.requested;
  out.status = reading.status;
  look.store(out);
}

Result<std::unique_ptr<LoopHouse>> LoopHouse::make(const HouseConfig& given, std::vector<BusPart> drives,
                                                   std::vector<BusPart> leaders) {
  HouseConfig config = given;
  const std::size_t axes = config.planner.axes.size();
  if (axes == 0 || axes > kMostAxes) return Error{ErrorCode::usage, "loop: 1 to 64 axes"};
  if (drives.empty()) return Error{ErrorCode::usage, "loop: no bus to drive"};
  if (!(config.rate_hz >= 10 && config.rate_hz <= 1000))
    return Error{ErrorCode::usage, "loop: rate is not in 10..1000 Hz"};
  if (!(config.duration_s >= 0 && config.duration_s < 1e7))
    return Error{ErrorCode::usage, "loop: bad duration"};
  if (-config.planner.queue.coefficient * static_cast<double>(kMostRows) > kLargestEnsembleGrowth ||
      !std::isfinite(config.planner.queue.coefficient)) {
    return Error{ErrorCode::usage, "loop: the ensembling coefficient is too negative"};
  }
  for (std::size_t k = 0; k < axes; ++k) {
    const std::string problem = axis_problem(config.planner.axes[k]);
    if (!problem.empty())
      return Error{ErrorCode::usage, "limits of axis " + std::to_string(k) + ": " + problem};
  }
  if (drives.size() + leaders.size() > kMostChains)
    return Error{ErrorCode::usage, "loop: more than " + std::to_string(kMostChains) + " buses"};
  if (const SharedChain* const twice = named_twice(drives, leaders); twice != nullptr)
    return Error{ErrorCode::usage, "loop: " + twice->chain.config().port + " is given twice"};
  std::uint64_t mask = 0;
  if (const std::string problem = cover_problem(drives, axes, true, mask); !problem.empty()) {
    return Error{ErrorCode::usage, "loop: " + problem};
  }
  if (const std::string problem = cover_problem(leaders, axes, false, mask); !problem.empty()) {
    return Error{ErrorCode::usage, "leaders: " + problem};
  }
  if (config.planner.source == SourceKind::leader && mask == 0)
    return Error{ErrorCode::usage, "loop: no leader given"};
  config.planner.led = mask;
  config.planner.period = static_cast<std::int64_t>(std::llround(1e9 / config.rate_hz));
  config.planner.active_cycles = static_cast<std::int64_t>(std::llround(config.duration_s * config.rate_hz));
  config.planner.queue.width = axes;
  return std::make_unique<LoopHouse>(config, std::move(drives), std::move(leaders));
}

LoopHouse::LoopHouse(const HouseConfig& config, std::vector<BusPart> drives, std::vector<BusPart> leaders)
    : config_(config),
      chunks_(kSlots, blank_slot(config.planner.axes.size())),
      bus_(std::move(drives), std::move(leaders), requests_, config.planner.period),
      planner_(config_.planner, requests_, chunks_, tally_),
      journal_(config.planner.axes.size(), config.planner.period) {
  journal_.first_goal = &bus_.first_goal_word();
}

Result<> LoopHouse::first_look(const BusPart& part) {
  const std::lock_guard lock(part.bus->mutex);
  ServoChain& chain = part.bus->chain;
  if (part.bus->driven.exchange(true))
    return Error{ErrorCode::usage, chain.config().port + " is driven by another loop"};
  claimed_.push_back(part.bus.get());
  if (!chain.is_open()) return Error{ErrorCode::usage, chain.config().port + " is not open"};
  bool heard = false;
  for (int turn = 0; turn < 5 && !heard && !chain.lost(); ++turn) heard = chain.read_now(100 * kMillisecond);
  if (chain.lost()) return chain.tell({TroubleKind::lost, 0, 0, 0, {}});
  const std::span<const JointState> joints = chain.joints();
  const auto silent =
      std::find_if(joints.begin(), joints.end(), [](const JointState& j) { return j.captured == 0; });
  if (silent == joints.end()) return Done{};
  return chain.tell({TroubleKind::silent, static_cast<int>(silent - joints.begin()), 0, 0, {}});
}

void LoopHouse::give_up_buses() noexcept {
  for (SharedChain* const bus : claimed_) bus->driven = false;
  claimed_.clear();
}

Result<> LoopHouse::claim_buses() {
  for (const auto* parts : {&bus_.drives(), &bus_.leaders()}) {
    for (const BusPart& part : *parts) {
      if (auto seen = first_look(part); !seen.ok()) return seen;
    }
  }
  for (const BusPart& part : bus_.leaders()) {  // a leader is moved by hand: never under torque
    const std::uint64_t held = part.bus->chain.relax();
    if (held != 0) {
      return part.bus->chain.tell({TroubleKind::still_energised, __builtin_ctzll(held), 0, 0, {}});
    }
  }
  return Done{};
}

Result<> LoopHouse::start() {
  if (closed_) return Error{ErrorCode::usage, "loop: closed"};
  if (started()) return Error{ErrorCode::usage, "loop: already started"};
  if (auto claimed = claim_buses(); !claimed.ok()) {
    give_up_buses();
    return claimed;
  }
  thread_ = std::thread([this] { live(); });
  const std::int64_t patience = now_ns() + kSecond;
  while (journal_.cycles.load(std::memory_order_relaxed) == 0 && now_ns() < patience) {
    sleep_until_ns(now_ns() + kMillisecond / 5);
  }
  return Done{};
}

void LoopHouse::ask_for_realtime() {
  std::vector<std::string> notes;
  bool granted = false;
  if (config_.realtime) {
    sched_param parameters{};
    parameters.sched_priority = kPriority;
    const int refused =
        ::pthread_setschedparam(::pthread_self(), SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters);
    granted = refused == 0;
    notes.emplace_back(granted ? "real-time priority: SCHED_FIFO 80"
                               : "no real-time priority; allow it with `@realtime - rtprio 95` in "
                                 "/etc/security/limits.d and a new login");
    if (granted) journal_.records.touch();  // 15 MB for six axes, else taken page by page
  } else {
    notes.emplace_back("real-time priority: not asked for");
  }
  if (!granted) ::prctl(PR_SET_TIMERSLACK, 1UL);
  bus_.spin(granted);
  for (const auto* parts : {&bus_.drives(), &bus_.leaders()}) {
    for (const BusPart& part : *parts) {
      if (part.bus->chain.latency_note().empty()) continue;
      notes.push_back(part.bus->chain.config().port + ": " + part.bus->chain.latency_note());
    }
  }
  const std::lock_guard lock(mutex_);
  realtime_ = std::move(notes);
}

void LoopHouse::live() {
  ::pthread_setname_np(::pthread_self(), "rl-loop");
  ask_for_realtime();
  ControlLoop loop(bus_, planner_, journal_, config_.planner.period);
  const int code = loop.run();
  const std::lock_guard lock(mutex_);
  exit_code_ = code != 0 || bus_.energised() != 0 ? 1 : 0;
  ended_ = true;
  end_.notify_all();
}

Result<> LoopHouse::arm() {
  if (!started()) return Error{ErrorCode::usage, "loop: not started"};
  const std::uint32_t before = bus_.answers();
  requests_.arm();
  std::int64_t patience = now_ns() + kArmPatience;
  bool taken = false;
  while (bus_.answers() == before) {
    if (ended()) return Error{ErrorCode::usage, "loop: has ended"};
    if (now_ns() > patience) {
      // Nothing may take torque after the caller was told that nothing will; what has begun is waited for.
      if (taken || requests_.withdraw_arm()) {
        return Error{ErrorCode::timeout, "loop: no answer to the request to arm"};
      }
      taken = true;
      patience = now_ns() + kArmPatience;
    }
    sleep_until_ns(now_ns() + kMillisecond / 2);
  }
  const ArmAnswer& answer = bus_.answer();
  if (answer.armed) return Done{};
  if (answer.wrong_state) {
    const bool latched = answer.state == State::fault || answer.state == State::estop;
    return Error{ErrorCode::usage,
                 std::string("cannot arm in ") + to_string(answer.state) + (latched ? "; reset first" : "")};
  }
  const std::size_t drives = bus_.drives().size();
  const BusPart& part =
      answer.part < drives ? bus_.drives()[answer.part] : bus_.leaders()[answer.part - drives];
  return part.bus->chain.tell(answer.trouble);
}

Refusal LoopHouse::push(const ChunkView& chunk, std::int64_t now) noexcept {
  Refusal refusal = judge_chunk(chunk, axes(), now);
  if (refusal == Refusal::none && chunk.observed == newest_observed_) refusal = Refusal::duplicate;
  if (refusal == Refusal::none && chunk.observed < newest_observed_) refusal = Refusal::stale;
  ChunkSlot* const slot = refusal == Refusal::none ? chunks_.front_free() : nullptr;
  if (refusal == Refusal::none && slot == nullptr) refusal = Refusal::full;
  if (refusal != Refusal::none) {
    count(tally_.refused[static_cast<std::size_t>(refusal)]);
    return refusal;
  }
  newest_observed_ = chunk.observed;
  slot->observed = chunk.observed;
  slot->period = chunk.period;
  slot->rows = chunk.rows;
  std::copy(chunk.values.begin(), chunk.values.end(), slot->values.begin());
  chunks_.publish();
  requests_.beat(now);  // only what was taken is a sign of life
  return Refusal::none;
}

Refusal LoopHouse::push_setpoint(std::span<const double> values, std::int64_t at, std::int64_t now) noexcept {
  std::array<float, kMostAxes> row{};
  if (values.size() != axes()) {
    count(tally_.refused[static_cast<std::size_t>(Refusal::width)]);
    return Refusal::width;
  }
  std::transform(values.begin(), values.end(), row.begin(), [](double v) { return static_cast<float>(v); });
  return push({at, config_.planner.period, 1, {row.data(), values.size()}}, now);
}

bool LoopHouse::ended() {
  const std::lock_guard lock(mutex_);
  return ended_;
}

bool LoopHouse::wait(double timeout_s) {
  std::unique_lock lock(mutex_);
  const double bounded = std::clamp(timeout_s, 0.0, 1e6);
  return end_.wait_for(lock, std::chrono::duration<double>(bounded), [this] { return ended_; });
}

void LoopHouse::close() {
  const std::lock_guard one_at_a_time(closing_);
  if (closed_) return;
  if (thread_.joinable()) {
    requests_.close(Closing::orderly);
    const std::int64_t patience = config_.planner.safety.rest_at_most + kClosePatience;
    if (!wait(static_cast<double>(patience) * 1e-9)) requests_.close(Closing::at_once);
    thread_.join();
  }
  closed_ = true;
  for (const auto* parts : {&bus_.drives(), &bus_.leaders()}) {
    for (const BusPart& part : *parts) {
      const bool ours = std::find(claimed_.begin(), claimed_.end(), part.bus.get()) != claimed_.end();
      const std::lock_guard lock(part.bus->mutex);
      if (ours || !part.bus->driven) part.bus->chain.close();  // another loop may have it by now
    }
  }
  give_up_buses();
}

const JointCalibration* LoopHouse::joint(std::size_t axis) const noexcept {
  for (const BusPart& part : bus_.drives()) {
    const auto& joints = part.bus->chain.config().joints;
    if (axis >= part.begin && axis < part.begin + joints.size()) return &joints[axis - part.begin];
  }
  return nullptr;
}

std::string LoopHouse::joint_name(std::size_t axis) const {
  const JointCalibration* const found = joint(axis);
  return found != nullptr ? found->name : "axis " + std::to_string(axis);
}

std::string LoopHouse::joint_text(std::size_t axis) const {
  const JointCalibration* const found = joint(axis);
  return found != nullptr ? found->name + " (id " + std::to_string(found->id) + ")" : joint_name(axis);
}

std::string LoopHouse::reason_text(Reason reason, int axis) const {
  std::string text = to_string(reason);
  if (axis >= 0) text += ": " + joint_text(static_cast<std::size_t>(axis));
  return text;
}

std::vector<std::string> LoopHouse::faults(const Look& look) const {
  constexpr double kStale = 0.1;
  std::vector<std::string> out;
  for (std::size_t k = 0; k < axes(); ++k) {
    for (unsigned bit = 0; bit < 6; ++bit) {
      if (((look.status[k] >> bit) & 1U) != 0)
        out.push_back(joint_text(k) + ": " + std::string(status_bit_name(bit)));
    }
    if (look.age[k] > kStale) out.push_back(joint_text(k) + ": no reply");
  }
  return out;
}

std::vector<std::string> LoopHouse::still_energised() const {
  std::vector<std::string> out;
  for (std::size_t k = 0; k < axes(); ++k) {
    if (((bus_.energised() >> k) & 1U) != 0) out.push_back(joint_text(k));
  }
  return out;
}

std::vector<std::string> LoopHouse::realtime_notes() const {
  const std::lock_guard lock(mutex_);
  return realtime_;
}

}  // namespace rl
