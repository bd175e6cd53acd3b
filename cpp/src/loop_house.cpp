#include "rl/loop_house.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace rl {
namespace {

constexpr std::uint64_t kManyClamps = 10;      // 1 in so many of the ticks is a warning
constexpr double kUnreadAfter = 3;             // s of ACTIVE
constexpr double kLargestEnsembleGrowth = 60;  // exp of it is still a float
constexpr std::int64_t kStartPatience = 10 * kSecond;
constexpr std::int64_t kArmPatience = 10 * kSecond;
constexpr std::int64_t kClosePatience = 2 * kSecond;  // beyond the rest move

/// "" or what is wrong with one axis.
std::string axis_problem(const PlannerAxis& axis) {
  const AxisLimits& l = axis.limits;
  for (const double v : {l.low, l.high, l.speed, l.acceleration, l.jerk, axis.soft_speed, axis.jump,
                         axis.rest, axis.deviation}) {
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
  for (std::size_t i = 0; i < drives.size(); ++i) {
    for (std::size_t k = 0; k < drives[i].bus->chain.size(); ++k)
      config.planner.axes[drives[i].begin + k].arm = static_cast<std::uint8_t>(i);
  }
  SessionPlan plan;
  plan.house = config;
  for (const BusPart& part : drives)
    plan.chains.push_back(ChainPlan::of(part.bus->chain.config(), part.begin, false));
  for (const BusPart& part : leaders)
    plan.chains.push_back(ChainPlan::of(part.bus->chain.config(), part.begin, true));
  auto memory = LoopMemory::make(plan);
  if (!memory.ok()) return memory.error();
  return std::make_unique<LoopHouse>(std::move(memory.value()), std::move(drives), std::move(leaders));
}

LoopHouse::LoopHouse(LoopMemory memory, std::vector<BusPart> drives, std::vector<BusPart> leaders)
    : memory_(std::move(memory)),
      shared_(memory_.shared()),
      config_(shared_.plan.house),
      drives_(std::move(drives)),
      leaders_(std::move(leaders)),
      records_(memory_.records()) {}

/// Takes one chain for this loop.
Result<> LoopHouse::claim(const BusPart& part) {
  const std::lock_guard lock(part.bus->mutex);
  const ServoChain& chain = part.bus->chain;
  if (part.bus->driven.exchange(true))
    return Error{ErrorCode::usage, chain.config().port + " is driven by another loop"};
  claimed_.push_back(part.bus.get());
  if (!chain.is_open()) return Error{ErrorCode::usage, chain.config().port + " is not open"};
  return Done{};
}

void LoopHouse::give_up_buses() noexcept {
  for (SharedChain* const bus : claimed_) bus->driven = false;
  claimed_.clear();
}

Result<> LoopHouse::claim_buses() {
  for (const auto* parts : {&drives_, &leaders_}) {
    for (const BusPart& part : *parts) {
      if (auto claimed = claim(part); !claimed.ok()) return claimed;
    }
  }
  return Done{};
}

Result<> LoopHouse::start_thread() {
  worker_ = std::make_unique<LoopWorker>(memory_, drives_, leaders_);
  if (auto looked = worker_->look(); !looked.ok()) return looked;
  shared_.house.phase = Phase::running;
  thread_ = std::thread([this] { worker_->run(); });
  return Done{};
}

/// The guardian opens the ports that this process closes: the descriptors never travel.
Result<> LoopHouse::start_guardian() {
  for (const auto* parts : {&drives_, &leaders_}) {
    for (const BusPart& part : *parts) {
      const std::lock_guard lock(part.bus->mutex);
      part.bus->chain.close();
    }
  }
  shared_.beats.guarded = true;
  if (auto spawned = guardian_.spawn(config_.guardian.string(), memory_); !spawned.ok()) return spawned;
  const std::int64_t patience = now_ns() + kStartPatience;
  while (shared_.house.phase.load() == Phase::made && now_ns() < patience && guardian_.alive(shared_)) {
    wait_phase(shared_, Phase::made, now_ns() + 5 * kMillisecond);
  }
  const Phase phase = shared_.house.phase.load(std::memory_order_acquire);
  if (phase == Phase::running) return Done{};
  if (phase == Phase::refused)
    return Error{shared_.house.refusal_code.load(), shared_.house.refusal.string()};
  return Error{ErrorCode::io, "the guardian did not start; see " + config_.guardian.string()};
}

Result<> LoopHouse::start() {
  if (closed_) return Error{ErrorCode::usage, "loop: closed"};
  if (started_) return Error{ErrorCode::usage, "loop: already started"};
  auto result = claim_buses();
  if (result.ok()) result = in_process() ? start_thread() : start_guardian();
  if (!result.ok()) {
    worker_.reset();
    give_up_buses();
    return result;
  }
  started_ = true;
  const std::int64_t patience = now_ns() + kSecond;
  while (shared_.journal.cycles.load(std::memory_order_acquire) == 0 && now_ns() < patience) {
    sleep_until_ns(now_ns() + kMillisecond / 5);
  }
  return Done{};
}

Result<> LoopHouse::arm() {
  if (!started()) return Error{ErrorCode::usage, "loop: not started"};
  const BusBoard& board = shared_.bus;
  const std::uint32_t before = board.answers.load(std::memory_order_acquire);
  shared_.requests.arm();
  std::int64_t patience = now_ns() + kArmPatience;
  bool taken = false;
  while (board.answers.load(std::memory_order_acquire) == before) {
    if (ended()) return Error{ErrorCode::usage, "loop: has ended"};
    if (now_ns() > patience) {
      // Nothing may take torque after the caller was told that nothing will; what has begun is waited for.
      if (taken || shared_.requests.withdraw_arm()) {
        return Error{ErrorCode::timeout, "loop: no answer to the request to arm"};
      }
      taken = true;
      patience = now_ns() + kArmPatience;
    }
    sleep_until_ns(now_ns() + kMillisecond / 2);
  }
  if (board.answer.armed) return Done{};
  return arm_error(board.answer);
}

Error LoopHouse::arm_error(const ArmAnswer& answer) const {
  if (answer.unguarded)
    return {ErrorCode::lost, "not armed: the guardian's second hand is gone; start the session again"};
  if (answer.wrong_state) {
    const bool latched = answer.state == State::fault || answer.state == State::estop;
    return {ErrorCode::usage,
            std::string("cannot arm in ") + to_string(answer.state) + (latched ? "; reset first" : "")};
  }
  const std::size_t drives = drives_.size();
  const bool leads = answer.part >= drives;
  if (leads && answer.part - drives >= leaders_.size()) return {ErrorCode::io, "not armed"};
  const BusPart& part = leads ? leaders_[answer.part - drives] : drives_[answer.part];
  return part.bus->chain.tell(answer.trouble);
}

Refusal LoopHouse::push(const ChunkView& chunk, std::int64_t now) noexcept {
  Refusal refusal = judge_chunk(chunk, axes(), now);
  if (refusal == Refusal::none && chunk.observed == newest_observed_) refusal = Refusal::duplicate;
  if (refusal == Refusal::none && chunk.observed < newest_observed_) refusal = Refusal::stale;
  ChunkSlot* const slot = refusal == Refusal::none ? shared_.chunks.front_free() : nullptr;
  if (refusal == Refusal::none && slot == nullptr) refusal = Refusal::full;
  if (refusal != Refusal::none) {
    count(shared_.tally.refused[static_cast<std::size_t>(refusal)]);
    return refusal;
  }
  newest_observed_ = chunk.observed;
  slot->observed = chunk.observed;
  slot->period = chunk.period;
  slot->rows = chunk.rows;
  slot->promised = chunk.promised;
  std::copy(chunk.values.begin(), chunk.values.end(), slot->values.begin());
  shared_.chunks.publish();
  shared_.requests.beat(now);  // only what was taken is a sign of life
  return Refusal::none;
}

Refusal LoopHouse::push_setpoint(std::span<const double> values, std::int64_t at, std::int64_t now) noexcept {
  std::array<float, kMostAxes> row{};
  if (values.size() != axes()) {
    count(shared_.tally.refused[static_cast<std::size_t>(Refusal::width)]);
    return Refusal::width;
  }
  std::transform(values.begin(), values.end(), row.begin(), [](double v) { return static_cast<float>(v); });
  return push({at, config_.planner.period, 1, {row.data(), values.size()}}, now);
}

bool LoopHouse::ended() {
  if (shared_.house.phase.load(std::memory_order_acquire) == Phase::ended) return true;
  if (in_process() || !started_ || guardian_.alive(shared_)) return false;
  // Both hands are dead: nothing in software can reach the servos now.
  shared_.house.add_note(
      "the guardian and its second hand are gone; the arm keeps its torque: cut its power");
  end_house(shared_, 1);
  return true;
}

bool LoopHouse::wait(double timeout_s) {
  constexpr std::int64_t kSlice = 50 * kMillisecond;  // the guardian may die without a word
  const std::int64_t end = now_ns() + static_cast<std::int64_t>(std::clamp(timeout_s, 0.0, 1e6) * 1e9);
  while (!ended()) {
    const std::int64_t now = now_ns();
    if (now >= end) return false;
    const Phase phase = shared_.house.phase.load(std::memory_order_acquire);
    if (phase != Phase::ended) wait_phase(shared_, phase, in_process() ? end : std::min(end, now + kSlice));
  }
  return true;
}

void LoopHouse::close() {
  const std::lock_guard one_at_a_time(closing_);
  if (closed_) return;
  if (started_) {
    shared_.requests.close(Closing::orderly);
    const std::int64_t patience = config_.planner.safety.rest_at_most + kClosePatience;
    if (!wait(static_cast<double>(patience) * 1e-9)) shared_.requests.close(Closing::at_once);
    if (thread_.joinable()) thread_.join();
    guardian_.reap(true);
  }
  closed_ = true;
  for (const auto* parts : {&drives_, &leaders_}) {
    for (const BusPart& part : *parts) {
      const bool ours = std::find(claimed_.begin(), claimed_.end(), part.bus.get()) != claimed_.end();
      const std::lock_guard lock(part.bus->mutex);
      if (ours || !part.bus->driven) part.bus->chain.close();  // another loop may have it by now
    }
  }
  give_up_buses();
}

Look LoopHouse::look() const noexcept {
  Look out;
  shared_.look.load(out);
  return out;
}

const JointCalibration* LoopHouse::joint(std::size_t axis) const noexcept {
  for (const BusPart& part : drives_) {
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
  std::vector<std::string> out;
  for (std::size_t k = 0; k < axes(); ++k) {
    for (unsigned bit = 0; bit < 6; ++bit) {
      if (((look.alarms[k] >> bit) & 1U) != 0)
        out.push_back(joint_text(k) + ": " + std::string(alarm_name(bit)));
    }
    if (((look.silent >> k) & 1U) != 0) out.push_back(joint_text(k) + ": no reply");
  }
  for (const BusPart& part : leaders_) {
    const auto& joints = part.bus->chain.config().joints;
    for (std::size_t i = 0; i < joints.size(); ++i) {
      if (((look.leader_silent >> (part.begin + i)) & 1U) != 0)
        out.push_back("leader's " + joints[i].name + " (id " + std::to_string(joints[i].id) + "): no reply");
    }
  }
  warn(look.warm, look.low_voltage, out);
  const Beats& beats = shared_.beats;
  if (beats.guarded.load() && now_ns() - beats.second_hand.load() > kSecond)
    out.emplace_back("the guardian's second hand is gone: nobody watches the guardian");
  return out;
}

std::vector<std::string> LoopHouse::warnings() const {
  std::vector<std::string> out;
  warn(tally().warm.load(), tally().low_voltage.load(), out);
  return out;
}

/// A temperature that nobody reads warns of nothing.
std::string LoopHouse::unread() const {
  const Look look = this->look();
  if (static_cast<double>(look.active_cycles) < kUnreadAfter * config_.rate_hz) return "";
  for (std::size_t k = 0; k < axes(); ++k) {
    if (look.temperature[k] == 0)
      return joint_text(k) +
             ": load, voltage and temperature are not read; a lower rate leaves time for them";
  }
  return "";
}

void LoopHouse::warn(std::uint64_t warm, std::uint64_t low_voltage, std::vector<std::string>& out) const {
  if (const std::string text = unread(); !text.empty()) out.push_back(text);
  for (std::size_t k = 0; k < axes(); ++k) {
    if (((warm >> k) & 1U) != 0) out.push_back(joint_text(k) + ": warm, 60 deg C or more");
    if (((low_voltage >> k) & 1U) != 0)
      out.push_back(joint_text(k) + ": supply below 90 % of what it was at connect");
  }
  const std::uint64_t followed = tally().followed.load();
  const std::uint64_t clamped = tally().clamped.load();
  if (static_cast<double>(followed) >= config_.rate_hz && clamped * kManyClamps > followed)
    out.push_back("limits: " + std::to_string(100 * clamped / followed) +
                  " % of the set points ask for more than they allow");
}

std::vector<std::string> LoopHouse::still_energised() const {
  std::vector<std::string> out;
  for (std::size_t k = 0; k < axes(); ++k) {
    if (((shared_.bus.energised.load() >> k) & 1U) != 0) out.push_back(joint_text(k));
  }
  return out;
}

std::vector<std::string> LoopHouse::notes() const {
  std::vector<std::string> out;
  for (const Note& note : shared_.house.note) {
    if (note.ready.load(std::memory_order_acquire)) out.push_back(note.text.string());
  }
  return out;
}

}  // namespace rl
