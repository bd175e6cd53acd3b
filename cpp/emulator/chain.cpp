#include "chain.hpp"

#include <algorithm>
#include <utility>

namespace rl::emulator {

namespace {

constexpr bool is_write(Instruction instruction) {
  return instruction == Instruction::write || instruction == Instruction::reg_write;
}

/// The goal inside `data` written at `address`, if the write covers the whole register.
bool goal_in(std::size_t address, std::span<const std::uint8_t> data, std::int32_t& goal) {
  if (address > reg::kGoalPosition || address + data.size() < reg::kGoalPosition + 2) return false;
  const std::size_t at = reg::kGoalPosition - address;
  goal = from_sign_magnitude(static_cast<std::uint16_t>(data[at] | (data[at + 1] << 8)), kPositionSign);
  return true;
}

}  // namespace

Chain::Chain(Kind kind, bool wave, double lag_s, std::int64_t started)
    : joints_(joints_of(kind)),
      servos_{Servo(1, lag_s), Servo(2, lag_s), Servo(3, lag_s),
              Servo(4, lag_s), Servo(5, lag_s), Servo(6, lag_s)},
      wave_(wave),
      started_(started) {
  const Pose start = to_steps(joints_, wave_pose(0.0));
  for (std::size_t place = 0; place < kJoints; ++place) set_up(place, start[place]);
  advance(started);
}

/// What calibration and set-up leave behind in a servo of an SO-101.
void Chain::set_up(std::size_t place, double steps) {
  const Joint& joint = joints_[place];
  Memory fresh(joint.id);
  fresh.place_byte(reg::kReturnDelay, 0);
  fresh.place_word(reg::kHomingOffset, to_sign_magnitude(joint.homing_offset, kHomingSign));
  fresh.place_word(reg::kMinLimit, static_cast<std::uint16_t>(joint.range_min));
  fresh.place_word(reg::kMaxLimit, static_cast<std::uint16_t>(joint.range_max));
  fresh.place_byte(reg::kPGain, 16);
  if (place + 1 == kJoints) {  // the gripper may be blocked by what it holds
    fresh.place_word(reg::kMaxTorque, 500);
    fresh.place_word(reg::kTorqueLimit, 500);
    fresh.place_word(reg::kProtectionCurrent, 250);
    fresh.place_byte(reg::kOverloadTorque, 25);
  }
  Servo& servo = servos_[place];
  servo.place(0, fresh.bytes(0, kStoredSize));
  servo.place(reg::kTorqueLimit, fresh.bytes(reg::kTorqueLimit, 2));
  servo.carry(steps + joint.homing_offset, 0.0);
  fresh.place_word(reg::kGoalPosition, to_sign_magnitude(servo.position(), kPositionSign));
  servo.place(reg::kGoalPosition, fresh.bytes(reg::kGoalPosition, 2));
  written_[place] = servo.position();
}

void Chain::advance(std::int64_t now) {
  for (std::size_t place = 0; place < kJoints; ++place) move(place, now);
}

void Chain::move(std::size_t place, std::int64_t now) {
  if (!wave_) {
    servos_[place].advance(now);
    return;
  }
  constexpr double kSlopeS = 1e-3;
  const double seconds = static_cast<double>(now - started_) * 1e-9;
  const double here = to_steps(joints_, wave_pose(seconds))[place];
  const double before = to_steps(joints_, wave_pose(seconds - kSlopeS))[place];
  servos_[place].carry(here + joints_[place].homing_offset, (here - before) / kSlopeS);
}

bool Chain::hears(std::size_t place, const Request& request) const {
  return !muted_[place] && servos_[place].rate() == request.rate && !servos_[place].booting(request.arrived);
}

void Chain::restart(std::size_t place, std::int64_t now) {
  servos_.at(place).reboot(now);
  ++statistics_.reboots;
}

/// The places in the order in which their servos answer a broadcast.
std::array<std::size_t, kJoints> Chain::by_id() const {
  std::array<std::size_t, kJoints> places{};
  for (std::size_t i = 0; i < kJoints; ++i) places[i] = i;
  std::sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) {
    return servos_[a].id() != servos_[b].id() ? servos_[a].id() < servos_[b].id() : a < b;
  });
  return places;
}

std::vector<Answer> Chain::execute(const Request& request, std::int64_t wire_free) {
  answers_.clear();
  together_ = 0;
  clock_ = std::max(request.arrived, wire_free);
  byte_ = byte_ns(request.rate);
  count(request);
  const auto listens = [&](const Servo& servo) { return servo.rate() == request.rate; };
  if (std::none_of(servos_.begin(), servos_.end(), listens)) {
    ++statistics_.wrong_rate;
    return {};
  }
  switch (request.instruction) {
    case Instruction::sync_read:
      sync_read(request);
      break;
    case Instruction::sync_write:
      sync_write(request);
      break;
    default:
      addressed(request);
  }
  statistics_.replies += static_cast<std::int64_t>(answers_.size());
  return std::exchange(answers_, {});
}

void Chain::count(const Request& request) {
  ++statistics_.requests;
  if (request.instruction == Instruction::ping) ++statistics_.pings;
  if (request.instruction == Instruction::read) ++statistics_.reads;
  if (is_write(request.instruction)) ++statistics_.writes;
  if (request.instruction == Instruction::sync_read) ++statistics_.sync_reads;
  if (request.instruction == Instruction::sync_write) ++statistics_.sync_writes;
}

void Chain::count_stored(const Outcome& outcome) {
  if (outcome.stored_bytes == 0) return;
  ++statistics_.eeprom_writes;
  statistics_.eeprom_bytes += static_cast<std::int64_t>(outcome.stored_bytes);
}

/// Queues the reply of one servo behind what is already on the wire. Two servos with one id speak at once:
/// each pulls the line low for its zeros.
void Chain::answer(std::size_t place, const Outcome& outcome) {
  const Servo& servo = servos_[place];
  if (answers_.size() > together_ && answers_.back().id == outcome.answers_as) {
    const Bytes other = status_packet(outcome.answers_as, servo.status(), outcome.parameters);
    Bytes& packet = answers_.back().packet;
    for (std::size_t i = 0; i < std::min(packet.size(), other.size()); ++i) packet[i] &= other[i];
    ++statistics_.collisions;
    return;
  }
  clock_ += servo.return_delay_ns() + kProcessingNs + (outcome.stored_bytes > 0 ? kFlashNs : 0);
  answers_.push_back({outcome.answers_as,
                      status_packet(outcome.answers_as, servo.status(), outcome.parameters), clock_, byte_});
  clock_ = answers_.back().end();
}

/// Requests to one servo, or to all of them under the broadcast id.
void Chain::addressed(const Request& request) {
  const bool broadcast = request.id == kBroadcast;
  const bool ping = request.instruction == Instruction::ping;
  const bool read = request.instruction == Instruction::read;
  bool understood = false;
  if (request.instruction == Instruction::write) note_goals(request);
  for (const std::size_t place : by_id()) {
    const bool meant = broadcast || servos_[place].id() == request.id;
    if (!meant || !hears(place, request) || (broadcast && read)) continue;
    move(place, ping || read ? clock_ + servos_[place].return_delay_ns() + kProcessingNs : request.arrived);
    const Outcome outcome = obey(place, request);
    if (!outcome.understood) continue;
    understood = true;
    count_stored(outcome);
    const bool silent = request.instruction == Instruction::reboot || (broadcast && !ping) ||
                        (!ping && !read && !servos_[place].answers_writes());
    if (!silent) answer(place, outcome);
  }
  if (!understood) ++statistics_.rejected;
}

/// What the instruction does to one servo.
Outcome Chain::obey(std::size_t place, const Request& request) {
  Servo& servo = servos_[place];
  const std::span<const std::uint8_t> p = request.parameters;
  switch (request.instruction) {
    case Instruction::ping:
    case Instruction::reset_turns:
      return p.empty() ? Outcome{true, servo.id(), {}, 0} : Outcome{};
    case Instruction::read:
      return p.size() == 2 ? servo.read(p[0], p[1]) : Outcome{};
    case Instruction::write:
      return p.size() >= 2 ? servo.write(p[0], p.subspan(1)) : Outcome{};
    case Instruction::reg_write:
      return p.size() >= 2 ? servo.hold_write(p[0], p.subspan(1)) : Outcome{};
    case Instruction::action:
      return servo.act();
    case Instruction::recovery:
      return servo.restore_factory();
    case Instruction::reboot: {
      const Outcome outcome{true, servo.id(), {}, 0};
      restart(place, request.arrived);
      return outcome;
    }
    default:
      return {};
  }
}

/// One reply of each listed servo, in the order of the list. One that is not there leaves a gap of its
/// length.
void Chain::sync_read(const Request& request) {
  const Bytes& p = request.parameters;
  if (request.id != kBroadcast || p.size() < 3) {
    ++statistics_.rejected;
    return;
  }
  for (std::size_t i = 2; i < p.size(); ++i) {
    together_ = answers_.size();
    for (std::size_t place = 0; place < kJoints; ++place) {
      if (servos_[place].id() != p[i] || !hears(place, request)) continue;
      move(place, clock_ + servos_[place].return_delay_ns() + kProcessingNs);
      const Outcome outcome = servos_[place].read(p[0], p[1]);
      if (outcome.understood) answer(place, outcome);
    }
    if (answers_.size() == together_) clock_ += kProcessingNs + byte_ * (6 + p[1]);
  }
}

void Chain::sync_write(const Request& request) {
  const std::span<const std::uint8_t> p = request.parameters;
  const std::size_t width = p.size() > 1 ? p[1] : 0;
  if (request.id != kBroadcast || width == 0 || p.size() == 2 || (p.size() - 2) % (width + 1) != 0) {
    ++statistics_.rejected;
    return;
  }
  note_goals(request);
  for (std::size_t at = 2; at < p.size(); at += width + 1) {
    for (std::size_t place = 0; place < kJoints; ++place) {
      if (servos_[place].id() != p[at] || !hears(place, request)) continue;
      move(place, request.arrived);
      count_stored(servos_[place].write(p[0], p.subspan(at + 1, width)));
    }
  }
}

/// Logs what a WRITE or SYNC_WRITE of goals asks for, with the instant at which it had arrived.
void Chain::note_goals(const Request& request) {
  const std::span<const std::uint8_t> p = request.parameters;
  const bool sync = request.instruction == Instruction::sync_write;
  if (p.size() < 2) return;
  const std::size_t width = sync ? p[1] : p.size() - 1;
  bool any = false;
  for (std::size_t at = sync ? 2 : 0; at + width < p.size(); at += width + 1) {
    const std::uint8_t id = sync ? p[at] : request.id;
    std::int32_t goal = 0;
    if (!goal_in(p[0], p.subspan(at + 1, width), goal)) continue;
    for (std::size_t place = 0; place < kJoints; ++place) {
      if (id != kBroadcast && servos_[place].id() != id) continue;
      written_[place] = goal;
      any = true;
    }
  }
  if (!any) return;
  ++statistics_.goal_writes;
  goals_.push(request.arrived, written_);
}

}  // namespace rl::emulator
