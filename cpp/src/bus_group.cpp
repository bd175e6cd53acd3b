#include "rl/bus_group.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>

namespace rl {
namespace {

constexpr std::int64_t kSpin = 300 * kMicrosecond;
constexpr std::int64_t kUrgentLook = 10 * kMillisecond;

}  // namespace

/// Talking to one motor after another takes its time: each call says how long nobody is to take the loop for
/// dead.
class Busy {
 public:
  Busy(Beats& beats, std::span<ServoChain* const> chains) noexcept : beats_(beats), chains_(chains) {
    for (ServoChain* const chain : chains_) chain->say_busy(&beats_.busy_until);
  }
  ~Busy() {
    for (ServoChain* const chain : chains_) chain->say_busy(nullptr);
    beats_.loop.store(now_ns(), std::memory_order_release);
    beats_.busy_until.store(0, std::memory_order_release);
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  Beats& beats_;
  std::span<ServoChain* const> chains_;
};

BusGroup::BusGroup(std::vector<BusPart> drives, std::vector<BusPart> leaders, SharedLoop& shared)
    : drives_(std::move(drives)),
      leaders_(std::move(leaders)),
      requests_(shared.requests),
      board_(shared.bus),
      beats_(shared.beats),
      period_(shared.plan.house.planner.period),
      source_timeout_(shared.plan.house.planner.safety.heartbeat_timeout),
      estop_off_(shared.plan.house.planner.safety.estop_off) {
  for (const auto* parts : {&drives_, &leaders_}) {
    for (const BusPart& part : *parts) chains_.push_back(&part.bus->chain);
  }
}

bool BusGroup::sleep_until(std::int64_t deadline) noexcept {
  // A long period is slept in parts: an e-stop must not wait for it.
  while (period_ > 2 * kUrgentLook && deadline - now_ns() > 2 * kUrgentLook) {
    if (requests_.urgent() || requests_.source_silent(now_ns(), source_timeout_)) return false;
    sleep_until_ns(std::min(now_ns() + kUrgentLook, deadline));
  }
  sleep_until_ns(spin_ ? deadline - kSpin : deadline);
  while (spin_ && now_ns() < deadline) {
  }
  return !requests_.urgent();
}

/// Bit k: axis k belongs to one of these arms.
std::uint64_t BusGroup::axes_of(std::uint64_t arms) const noexcept {
  std::uint64_t out = 0;
  for (std::size_t arm = 0; arm < drives_.size(); ++arm) {
    const std::size_t size = drives_[arm].bus->chain.size();
    const std::uint64_t own = size >= 64 ? ~0ULL : (1ULL << size) - 1;
    if (((arms >> arm) & 1U) != 0) out |= own << drives_[arm].begin;
  }
  return out;
}

void BusGroup::let_go(std::uint64_t limp) noexcept {
  for (const BusPart& part : drives_) part.bus->chain.let_go(limp >> part.begin);
}

void BusGroup::write_goal(const AxisVector& goal, std::uint64_t withheld) noexcept {
  board_.goal.store(goal);  // before it leaves: who takes over in this very moment must not step back
  for (const BusPart& part : drives_) {
    ServoChain& chain = part.bus->chain;
    chain.write_goals({goal.data() + part.begin, chain.size()}, withheld >> part.begin);
  }
  for (std::size_t arm = 0; arm < drives_.size(); ++arm) {
    if (torque_[arm].repeats == 0) continue;
    --torque_[arm].repeats;
    send_torque(arm);
  }
}

void BusGroup::send_torque(std::size_t arm) noexcept {
  const BusPart& part = drives_[arm];
  part.bus->chain.write_torque_limits(torque_[arm].part, torque_[arm].derated >> part.begin);
}

/// Nobody acknowledges it: it is said three times, in as many cycles, unless something newer is said.
void BusGroup::write_torque(std::size_t arm, double part_of_limit, std::uint64_t derated) noexcept {
  torque_[arm] = {part_of_limit, derated, 2};
  send_torque(arm);
}

void BusGroup::collect() noexcept {
  std::array<pollfd, kMostChains> items{};
  std::array<ServoChain*, kMostChains> waiting{};
  for (;;) {
    std::size_t count = 0;
    std::int64_t end = INT64_MAX;
    for (ServoChain* const chain : chains_) {
      if (!chain->active()) continue;
      items[count] = {chain->descriptor(), POLLIN, 0};
      waiting[count++] = chain;
      end = std::min(end, chain->wait_until());
    }
    if (count == 0) return;
    const std::int64_t left = std::max<std::int64_t>(end - now_ns(), 0);
    const timespec timeout{static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
    ::ppoll(items.data(), count, &timeout, nullptr);
    const std::int64_t now = now_ns();
    for (std::size_t i = 0; i < count; ++i) {
      const auto events = static_cast<unsigned>(items[i].revents);
      if ((events & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        waiting[i]->hang_up();
      } else if ((events & POLLIN) != 0) {
        waiting[i]->pump(now);
      }
      waiting[i]->expire(now);
    }
  }
}

void BusGroup::read_state(Reading& reading, std::int64_t budget_end) noexcept {
  if (reconnector_ != nullptr) reconnector_->attend();
  const std::int64_t now = now_ns();
  for (ServoChain* const chain : chains_) chain->begin_cycle(now, budget_end);
  collect();
  reading.missing = reading.skipped = reading.rebooted = reading.hang_up = 0;
  reading.unguarded = beats_.unguarded(now);
  for (std::size_t arm = 0; arm < drives_.size(); ++arm) {
    const BusPart& part = drives_[arm];
    const ServoChain& chain = part.bus->chain;
    if (chain.lost()) reading.hang_up |= 1ULL << arm;
    if (chain.limp() != 0)
      board_.energised.fetch_and(~(chain.limp() << part.begin), std::memory_order_release);
    const std::span<const JointState> joints = chain.joints();
    for (std::size_t i = 0; i < joints.size(); ++i) {
      const std::size_t axis = part.begin + i;
      reading.values[axis] = joints[i].value;
      reading.captured[axis] = joints[i].captured;
      reading.alarms[axis] = joints[i].alarms;
      reading.load[axis] = joints[i].load;
      reading.temperature[axis] = joints[i].temperature;
      reading.voltage[axis] = joints[i].voltage;
      if (joints[i].rebooted) {
        reading.rebooted |= 1ULL << axis;
        board_.energised.fetch_and(~(1ULL << axis), std::memory_order_release);
      }
      if (!joints[i].fresh) (joints[i].skipped ? reading.skipped : reading.missing) |= 1ULL << axis;
    }
  }
  for (const BusPart& part : leaders_) {
    const ServoChain& chain = part.bus->chain;
    const std::span<const JointState> joints = chain.joints();
    for (std::size_t i = 0; i < joints.size(); ++i) {
      reading.leader[part.begin + i] = joints[i].value;
      reading.leader_captured[part.begin + i] = joints[i].captured;
    }
  }
}

std::uint64_t BusGroup::release(std::uint64_t arms) noexcept {
  const Busy busy(beats_, chains_);
  if (estop_off_ && requests_.estopped()) {
    for (std::size_t arm = 0; arm < drives_.size(); ++arm)
      if (((arms >> arm) & 1U) != 0) drives_[arm].bus->chain.drop();
  }
  std::uint64_t out = 0;
  for (std::size_t arm = 0; arm < drives_.size(); ++arm) {  // every chain, whatever another one says
    if (((arms >> arm) & 1U) == 0) continue;
    const BusPart& part = drives_[arm];
    const std::uint64_t held = part.bus->chain.release() << part.begin;
    if (held != 0) out |= 1ULL << arm;
    const std::uint64_t others = board_.energised.load(std::memory_order_relaxed) & ~axes_of(1ULL << arm);
    board_.energised.store(others | held, std::memory_order_release);
  }
  return out;
}

void BusGroup::answer_arm(const ArmAnswer& answer) noexcept {
  board_.answer = answer;
  board_.answers.store(board_.answers.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

void BusGroup::refuse_arm(State state) noexcept {
  ArmAnswer answer;
  answer.wrong_state = true;
  answer.state = state;
  answer_arm(answer);
}

/// In `chains_` the drives come first.
ArmAnswer BusGroup::check(std::uint64_t arms) noexcept {
  ArmAnswer answer;
  for (std::size_t i = 0; i < chains_.size(); ++i) {
    if (i < drives_.size() && ((arms >> i) & 1U) == 0) continue;
    answer.part = i;
    answer.trouble = taking_over_ ? chains_[i]->recognise() : chains_[i]->check_quick();
    if (!answer.trouble.none()) return answer;
  }
  return answer;
}

Arming BusGroup::arm(std::uint64_t arms, Reading& reading) noexcept {
  if (beats_.unguarded(now_ns())) {
    ArmAnswer answer;
    answer.unguarded = true;
    answer_arm(answer);
    return Arming::refused;
  }
  const Busy busy(beats_, chains_);
  return arm_checked(arms, reading);
}

/// Every motor of one bus. A stop or an e-stop that comes meanwhile is seen before each of them.
bool BusGroup::switch_on(const BusPart& part, ArmAnswer& answer, Reading& reading, std::int64_t& stamp,
                         ServoChain::Found& found) noexcept {
  ServoChain& chain = part.bus->chain;
  for (std::size_t k = 0; k < chain.size(); ++k) {
    if (requests_.urgent() || (requests_.stop_asked() && !taking_over_)) {
      answer.wrong_state = true;
      answer.state = requests_.urgent() ? State::estop : State::rest;
      return false;
    }
    const std::size_t axis = part.begin + k;
    board_.energised.fetch_or(1ULL << axis, std::memory_order_release);
    answer.trouble = chain.energise(k, stamp, found);
    if (!answer.trouble.none()) return false;
    reading.values[axis] = chain.joints()[k].value;
    reading.captured[axis] = chain.joints()[k].captured;
  }
  return true;
}

/// What the motors of these arms hold until their first goal leaves.
void BusGroup::hold_at(std::uint64_t arms, const Reading& reading) noexcept {
  AxisVector goal{};
  static_cast<void>(board_.goal.try_load(goal));  // nobody else writes it
  for (std::size_t arm = 0; arm < drives_.size(); ++arm) {
    const BusPart& part = drives_[arm];
    if (((arms >> arm) & 1U) == 0) continue;
    for (std::size_t k = part.begin; k < part.begin + part.bus->chain.size(); ++k)
      goal[k] = reading.values[k];
  }
  board_.goal.store(goal);
}

Arming BusGroup::arm_checked(std::uint64_t arms, Reading& reading) noexcept {
  ArmAnswer answer = check(arms);
  std::int64_t stamp = 0;
  std::array<ServoChain::Found, kMostChains> found{};
  const std::uint64_t before = board_.energised.load(std::memory_order_relaxed);
  bool on = answer.trouble.none();
  for (std::size_t i = 0; i < drives_.size() && on; ++i) {
    if (((arms >> i) & 1U) == 0) continue;
    answer.part = i;
    on = switch_on(drives_[i], answer, reading, stamp, found[i]);
  }
  if (!on) {
    // An arm in which any motor had torque before, ours or another's, keeps it: what stood must not fall.
    std::uint64_t ours = 0;
    for (std::size_t i = 0; i < drives_.size(); ++i) {
      const std::uint64_t own = axes_of(arms & (1ULL << i));
      const bool any = (board_.energised.load(std::memory_order_relaxed) & own) != 0;
      if (any && (before & own) == 0 && !found[i].on) ours |= 1ULL << i;
    }
    if (ours != 0) static_cast<void>(release(ours));
    answer_arm(answer);
    return Arming::refused;
  }
  std::int64_t none = 0;
  board_.first_goal.compare_exchange_strong(none, stamp, std::memory_order_acq_rel);
  if (taking_over_) {
    for (std::size_t i = 0; i < drives_.size(); ++i)
      if (((arms >> i) & 1U) != 0) drives_[i].bus->chain.raise_torque(0);
  }
  hold_at(arms, reading);
  answer.armed = true;
  answer_arm(answer);
  const bool off = std::any_of(found.begin(), found.end(), [](const auto& arm) { return arm.off; });
  return off ? Arming::switched_on : Arming::taken_over;
}

}  // namespace rl
