/// The cycle of a chain: requests and replies without waiting, allocation or exceptions.
#include <algorithm>
#include <cstdlib>

#include "rl/servo_chain.hpp"

namespace rl {
namespace {

constexpr std::size_t kPositionBytes = 2;
constexpr std::size_t kBlockBytes = 8;  // position, velocity, load, voltage, temperature
constexpr std::size_t kLoadAt = 4;
constexpr std::size_t kVoltageAt = 6;
constexpr std::size_t kTemperatureAt = 7;
constexpr unsigned kLoadSign = 10;
constexpr std::int64_t kBlockEvery = 200 * kMillisecond;
constexpr std::uint8_t kSilentAfter = 3;  // misses in a row: asked singly from then on
constexpr std::int64_t kSilentEvery =
    60 * kMillisecond;  // or it would use up the lengths that can be told apart
constexpr std::int64_t kTorqueEvery = 20 * kMillisecond;  // one motor's torque, in turn
constexpr std::int64_t kReserve = kMillisecond / 2;       // spare time behind what could as well come later
constexpr std::int64_t kMargin = kMillisecond / 10;       // and behind what must be asked, at least
constexpr std::int64_t kMostMargin = 2 * kMillisecond;    // a rate of 200 Hz and less has that to spare
constexpr std::int64_t kLearn = 10 * kMicrosecond;        // in one cycle
// An answer in a hundred may miss the end of the budget: each bars a length, of which there are eight.
constexpr std::int64_t kWiden = 100 * kMicrosecond, kNarrow = kMicrosecond;
constexpr int kBelieved = 3;  // cycles in a row that are far off
constexpr std::int64_t kMostTurnaround = 20 * kMillisecond;

}  // namespace

Request ServoChain::words_request(std::span<const int> raws, std::uint8_t address, unsigned sign_bit,
                                  std::uint64_t withheld) const noexcept {
  std::array<std::uint8_t, kMostIds> ids{};
  std::array<std::uint8_t, 2 * kMostIds> data{};
  std::size_t count = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    if (((withheld >> i) & 1U) != 0) continue;
    const std::uint16_t word = sign_bit == kUnsigned ? static_cast<std::uint16_t>(raws[i])
                                                     : sign_magnitude_encode(raws[i], sign_bit);
    const auto bytes = encode_word(word, model_->order);
    ids[count] = ids_[i];
    data[2 * count] = bytes[0];
    data[2 * count + 1] = bytes[1];
    ++count;
  }
  return encode_sync_write(address, 2, {ids.data(), count}, {data.data(), 2 * count});
}

void ServoChain::let_go(std::uint64_t joints) noexcept {
  going_limp_ |= joints;
  std::array<std::uint8_t, kMostIds> ids{};
  const std::array<std::uint8_t, kMostIds> off{};
  std::size_t count = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    if ((((going_limp_ & ~limp_) >> i) & 1U) != 0) ids[count++] = ids_[i];
  }
  if (count == 0 || !port_.is_open()) return;
  const Request request = encode_sync_write(at::kTorqueEnable, 1, {ids.data(), count}, {off.data(), count});
  if (port_.write(request.bytes()) == IoStatus::lost) lost_ = true;
  occupy_wire(request.size());
}

/// By what nobody answers.
void ServoChain::occupy_wire(std::size_t bytes) noexcept {
  wire_free_ = std::max(wire_free_, now_ns()) + wire_time(bytes);
}

IoStatus ServoChain::write_goals(std::span<const double> values, std::uint64_t withheld) noexcept {
  const std::uint64_t all = size() >= 64 ? ~0ULL : (1ULL << size()) - 1;
  if ((withheld & all) == all) return IoStatus::ok;
  std::array<int, kMostIds> raws{};
  for (std::size_t i = 0; i < size(); ++i) raws[i] = config_.joints[i].nearest(values[i]);
  const Request request = words_request(raws, at::kGoalPosition, kPositionSign, withheld);
  const IoStatus status = port_.is_open() ? port_.write(request.bytes()) : IoStatus::lost;
  if (status == IoStatus::lost) lost_ = true;
  occupy_wire(request.size());
  return status;
}

IoStatus ServoChain::write_torque_limits(double part, std::uint64_t derated) noexcept {
  if (model_->find("Torque_Limit") == nullptr) return IoStatus::ok;
  std::array<int, kMostIds> limits{};
  for (std::size_t i = 0; i < size(); ++i) {
    limits[i] = found_limits_[i] < 0 ? static_cast<int>(torque_limits_[i] * part) : found_limits_[i];
    if (((derated >> i) & 1U) != 0) limits[i] /= 2;
  }
  const Request request = words_request(limits, at::kTorqueLimit, kUnsigned, 0);
  const IoStatus status = port_.is_open() ? port_.write(request.bytes()) : IoStatus::lost;
  if (status == IoStatus::lost) lost_ = true;
  occupy_wire(request.size());
  return status;
}

void ServoChain::begin_cycle(std::int64_t now, std::int64_t budget_end) noexcept {
  begun_before_ = budget_begin_;
  budget_begin_ = now;
  budget_end_ = budget_end;
  active_ = false;
  queue_size_ = queue_next_ = first_tries_ = 0;
  std::size_t answering = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    states_[i].fresh = states_[i].rebooted = states_[i].skipped = false;
    if (misses_[i] < kSilentAfter) ++answering;
  }
  const std::int64_t left = budget_end - std::max(now, wire_free_);
  // What else must be known comes behind the positions; where it does not fit there, it has a cycle of its
  // own.
  const bool crowded = left < group_time(answering, kPositionBytes) + single_time(kBlockBytes) + kMargin;
  alone_ = answering == 0 || (crowded && !alone_ && something_due(now));
  std::array<std::uint8_t, kMostIds> together{};
  std::size_t count = 0;
  if (alone_) {
    for (std::size_t i = 0; i < size(); ++i) states_[i].skipped = misses_[i] < kSilentAfter;
  } else {
    const std::size_t room = std::max<std::size_t>(room_for_answers(left), 1);
    count = choose(std::min(room, answering), room < answering || !model_->sync_read, together);
  }
  if (!model_->sync_read) {
    for (std::size_t i = 0; i < count; ++i) queue_[queue_size_++] = together[i];
    count = 0;
  }
  // The silent ones come after the others and only as far as the budget goes: they cost the others nothing.
  // Another one begins in each cycle.
  const std::size_t turn = answering < size() ? silent_turn_++ % size() : 0;
  for (std::size_t k = 0; k < size(); ++k) {
    const std::size_t i = (turn + k) % size();
    if (silent_due(i, now)) queue_[queue_size_++] = ids_[i];
  }
  first_tries_ = queue_size_;
  if (count > 0) return ask({together.data(), count}, true, now);
  next(now);
}

/// How long a request to `count` motors together takes, with the adapter's usual way of taking its time.
std::int64_t ServoChain::group_time(std::size_t count, std::size_t bytes) const noexcept {
  const auto motors = static_cast<std::int64_t>(count);
  if (!model_->sync_read) return motors * single_time(bytes);
  return wire_time(8) + motors * (wire_time(1 + bytes + 6) + motor_delay_) + turnaround_;
}

std::int64_t ServoChain::single_time(std::size_t bytes) const noexcept {
  return wire_time(8 + bytes + 6) + motor_delay_ + turnaround_;
}

std::size_t ServoChain::room_for_answers(std::int64_t time) const noexcept {
  std::size_t room = size();
  while (room > 0 && group_time(room, kPositionBytes) + margin_ > time) --room;
  return room;
}

std::int64_t ServoChain::oldest_at(std::int64_t period, std::int64_t budget) const noexcept {
  const std::int64_t goals = config_.energise ? wire_time(8 + 3 * size()) : 0;
  const std::size_t room = room_for_answers(budget - goals);
  if (room == 0) return INT64_MAX;
  const bool crowded =
      budget - goals < group_time(size(), kPositionBytes) + single_time(kBlockBytes) + kMargin;
  const auto turns = static_cast<std::int64_t>((size() + room - 1) / room);
  return turns * period * (crowded ? 2 : 1);  // at most every second cycle is another question's
}

std::size_t ServoChain::room_in(std::int64_t budget) const noexcept {
  return room_for_answers(budget - (config_.energise ? wire_time(8 + 3 * size()) : 0));
}

bool ServoChain::silent_due(std::size_t joint, std::int64_t now) const noexcept {
  return misses_[joint] >= kSilentAfter && now - silent_asked_[joint] >= kSilentEvery;
}

bool ServoChain::torque_due(std::int64_t now) const noexcept {
  if (energised_ == 0) return false;
  return ((returned_ | going_limp_) & energised_) != 0 || now - torque_at_ >= kTorqueEvery;
}

/// Of one motor, where the period is too short for those of all.
bool ServoChain::block_due(std::int64_t now) const noexcept {
  return model_->sync_read && now - block_at_ >= kBlockEvery && !block_fits(budget_begin_) &&
         now - block_single_at_ >= kBlockEvery / static_cast<std::int64_t>(size());
}

bool ServoChain::something_due(std::int64_t now) const noexcept {
  for (std::size_t i = 0; i < size(); ++i) {
    if (silent_due(i, now)) return true;
  }
  return torque_due(now) || block_due(now);
}

/// `count` of the motors that answer, where it is not all of them in turn; the others are skipped in this
/// cycle.
std::size_t ServoChain::choose(std::size_t count, bool in_turn, std::span<std::uint8_t> ids) noexcept {
  std::size_t chosen = 0;
  const std::size_t first = in_turn ? turn_ : 0;
  for (std::size_t k = 0; k < size(); ++k) {
    const std::size_t i = (first + k) % size();
    if (misses_[i] >= kSilentAfter) continue;
    if (chosen == count) {
      states_[i].skipped = true;
      continue;
    }
    ids[chosen++] = ids_[i];
    turn_ = (i + 1) % size();
  }
  return chosen;
}

void ServoChain::ask(Bytes ids, bool sync, std::int64_t now) noexcept {
  active_ = false;
  asks_ = Question::position;
  if (lost_) return;
  const bool block = sync ? now - block_at_ >= kBlockEvery && block_fits(now)
                          : !model_->sync_read && ids[0] == ids_[block_turn_ % size()];
  if (block) {
    block_at_ = now;
    ++block_turn_;
  }
  const std::size_t smallest = block ? kBlockBytes : kPositionBytes;
  const std::size_t length = free_length(ids, smallest, now);
  if (length == 0) {  // every length could be a late reply's: missed in this cycle
    overhear(now);
    if (sync) hail(now);
    return;
  }
  const auto bytes = static_cast<std::uint8_t>(length);
  const Request request = sync ? encode_sync_read(at::kPresentPosition, bytes, ids)
                               : encode_read(ids[0], at::kPresentPosition, bytes);
  if (!send(request, ids, length, echo_ ? EchoMode::skip : EchoMode::none, length > smallest)) return;
  const std::int64_t answer = wire_time(request.size() + ids.size() * (length + 6)) +
                              static_cast<std::int64_t>(ids.size()) * motor_delay_ + allowance();
  asked_at_ = std::max(now, wire_free_);
  request_end_ = std::min(asked_at_ + answer, budget_end_);
  active_ = true;
}

/// How long a reply may be missing before it is taken for lost.
std::int64_t ServoChain::allowance() const noexcept {
  return std::clamp(turnaround_ + 4 * deviation_, 2 * kMillisecond, 20 * kMillisecond);
}

/// Widens the time behind the positions of several motors when their answers miss the end of the budget, so
/// that fewer are asked together; narrows it again as they come in time.
void ServoChain::learn_margin(bool in_time) noexcept {
  if (asks_ != Question::position || reader_.replies().size() < 2) return;
  if (!in_time && (request_end_ < budget_end_ || last_answered())) return;  // lost, not late
  margin_ = std::clamp(margin_ + (in_time ? -kNarrow : kWiden), kMargin, kMostMargin);
}

/// Follows the medians of what the adapter takes and of how far it strays from that: a probe at start meets
/// one that is busy, or measures another question.
void ServoChain::learn_turnaround(std::int64_t now) noexcept {
  if (asks_ != Question::position || (model_->sync_read && queue_next_ > 0))
    return;  // asked again: not usual
  const std::size_t count = reader_.replies().size();
  const std::int64_t late = now - asked_at_ - group_time(count, reader_.length());
  const bool slower = turnaround_ + late > allowance();
  const bool faster = late < -kMillisecond;
  strays_ = slower ? std::max(strays_, 0) + 1 : faster ? std::min(strays_, 0) - 1 : 0;
  std::int64_t learned = late > 0 ? kLearn : -kLearn;
  if (std::abs(strays_) >= kBelieved) {  // another adapter, or another setting of it
    learned = late;
    strays_ = 0;
  } else {
    deviation_ += std::abs(late) > deviation_ ? kLearn : -kLearn;
  }
  deviation_ = std::clamp<std::int64_t>(deviation_, 0, kMostTurnaround);
  turnaround_ = std::clamp<std::int64_t>(turnaround_ + learned, 0, kMostTurnaround);
}

void ServoChain::pump(std::int64_t now) noexcept {
  if (!active_) return;
  std::array<std::uint8_t, 512> space;  // NOLINT(cppcoreguidelines-pro-type-member-init): read fills it
  std::size_t count = 0;
  if (port_.read(space, count) == IoStatus::lost) {
    lost_ = true;
    active_ = false;
    return;
  }
  const std::size_t before = reader_.arrived();
  reader_.feed({space.data(), count});
  if (reader_.arrived() > before) expect_rest(now);
  for (const Reply& reply : reader_.replies()) {
    if (!reply.arrived || joint_of(reply.id) >= size()) continue;
    heard_ = now;
    if (asks_ == Question::torque) {
      take_torque(reply);
      continue;
    }
    take_position(reply, now);
    if (reader_.length() >= kBlockBytes) take_block(reply);
  }
  if (reader_.complete()) {
    active_ = false;
    learn_turnaround(now);
    learn_margin(true);
    next(now);
  } else if (asks_ == Question::position && last_answered()) {
    active_ = false;
    settle(now);
    next(now);
  }
}

/// Once an answer has begun, the rest of it has its time from here on: an adapter, or this host, was late, no
/// motor.
void ServoChain::expect_rest(std::int64_t now) noexcept {
  const auto rest = static_cast<std::int64_t>(reader_.replies().size() - reader_.arrived());
  const std::int64_t time = rest * (wire_time(reader_.length() + 6) + motor_delay_) + allowance();
  request_end_ = std::clamp(now + time, request_end_, std::max(request_end_, budget_end_));
}

/// Motors that are asked together answer in turn: what the ones before the last have not said by then does
/// not come any more.
bool ServoChain::last_answered() const noexcept {
  return reader_.replies().size() > 1 && reader_.replies().back().arrived;
}

/// Whether the budget has room for the longer block of all motors at once.
bool ServoChain::block_fits(std::int64_t now) const noexcept {
  return std::max(now, wire_free_) + group_time(size(), kBlockBytes) + kReserve <= budget_end_;
}

void ServoChain::take_position(const Reply& reply, std::int64_t now) noexcept {
  const std::size_t joint = joint_of(reply.id);
  JointState& state = states_[joint];
  if (state.fresh) return;
  const std::uint16_t word = decode_word({reply.data.data(), kPositionBytes}, model_->order);
  const int raw = model_->order == WordOrder::little ? sign_magnitude_decode(word, kPositionSign) : word;
  // Two damaged packets can make one whose checksum holds by accident: such a place is no place of a joint.
  if (raw <= -model_->resolution || raw >= 2 * model_->resolution) return;
  state.raw = raw;
  state.value = config_.joints[joint].to_unit(state.raw);
  state.captured = now;
  state.alarms = alarms_of(reply.status);
  state.fresh = true;
  misses_[joint] = 0;
  returned_ |= doubtful_ & (1ULL << joint);
  doubtful_ &= ~(1ULL << joint);
}

void ServoChain::take_block(const Reply& reply) noexcept {
  JointState& state = states_[joint_of(reply.id)];
  const std::uint16_t load = decode_word({reply.data.data() + kLoadAt, 2}, model_->order);
  state.load = static_cast<std::uint8_t>((load & ((1U << kLoadSign) - 1)) / 10);
  state.voltage = reply.data[kVoltageAt];
  state.temperature = reply.data[kTemperatureAt];
}

/// One more question in this cycle, when the budget has room for it. True when it was sent.
bool ServoChain::ask_one(Question question, std::uint8_t id, std::size_t bytes, std::int64_t now) noexcept {
  const std::uint8_t address = question == Question::torque ? at::kTorqueEnable : at::kPresentPosition;
  const std::size_t length = free_length({&id, 1}, bytes, now);
  if (length == 0) return false;
  const Request request = encode_read(id, address, static_cast<std::uint8_t>(length));
  const std::int64_t end = std::max(now, wire_free_) + single_time(length);
  if (end + kMargin > budget_end_) return false;  // an answer behind it is merely lost
  if (!send(request, {&id, 1}, length, echo_ ? EchoMode::skip : EchoMode::none, length > bytes)) return false;
  request_end_ = std::min(end + allowance(), budget_end_);
  asks_ = question;
  active_ = true;
  return true;
}

/// Load, voltage and temperature of one motor.
void ServoChain::look_at_block(std::int64_t now) noexcept {
  if (active_ || lost_ || !block_due(now)) return;
  if (!ask_one(Question::block, ids_[block_turn_ % size()], kBlockBytes, now)) return;
  block_single_at_ = now;
  ++block_turn_;
}

/// A motor that was silent may have started anew: then it has lost its torque, and the arm must not go on. A
/// break of its supply can be shorter than a period, so the others are looked at in turn.
void ServoChain::look_at_torque(std::int64_t now) noexcept {
  returned_ = (returned_ | going_limp_) & energised_;
  if (active_ || lost_ || !torque_due(now)) return;
  const std::size_t joint =
      returned_ != 0 ? static_cast<std::size_t>(__builtin_ctzll(returned_)) : torque_turn_++ % size();
  if (((energised_ >> joint) & 1U) == 0) return;
  if (ask_one(Question::torque, ids_[joint], 1, now)) torque_at_ = now;
}

void ServoChain::take_torque(const Reply& reply) noexcept {
  const std::size_t joint = joint_of(reply.id);
  if (joint >= size()) return;
  returned_ &= ~(1ULL << joint);
  if (reply.data[0] != 0) return;
  energised_ &= ~(1ULL << joint);
  if (((going_limp_ >> joint) & 1U) == 0) {
    states_[joint].rebooted = true;
  } else {
    limp_ |= 1ULL << joint;
  }
}

void ServoChain::expire(std::int64_t now) noexcept {
  if (!active_ || now < request_end_) return;
  if (nobody_answered() && now < budget_end_) {
    // Silence of everybody is rather a late adapter than six lost replies: a second request would not help.
    request_end_ = budget_end_;
    return;
  }
  active_ = false;
  if (asks_ != Question::position) {  // asked again in another cycle
    for (const Reply& reply : reader_.replies()) bar(reply.id, reader_.length(), now);
    return;
  }
  settle(now);
  next(now);
}

/// Of several asked together: then it says nothing about a single motor.
bool ServoChain::nobody_answered() const noexcept {
  if (reader_.arrived() != 0) return false;
  if (reader_.replies().size() > 1) return true;
  // Asked alone since there was no room for others: it is the line that is silent when the one before was,
  // too.
  return queue_next_ == 0 && size() > 1 && begun_before_ != 0 && heard_ < begun_before_;
}

/// The request is over: lengths that may still come late are barred, the missing ids are asked once more,
/// singly. When nobody answered, they are neither asked again (each request bars another length) nor counted
/// as silent.
void ServoChain::settle(std::int64_t now) noexcept {
  const bool was_single = reader_.replies().size() == 1;
  const bool line_silent = nobody_answered();
  learn_margin(false);
  for (const Reply& reply : reader_.replies()) {
    if (reply.arrived) continue;
    bar(reply.id, reader_.length(), now);
    const std::size_t joint = joint_of(reply.id);
    if (joint >= size()) continue;
    doubtful_ |= 1ULL << joint;
    if (line_silent) continue;
    const bool first_try = !was_single || queue_next_ <= first_tries_;
    if (first_try && misses_[joint] < kSilentAfter) {
      ++misses_[joint];
      if (queue_size_ < queue_.size()) queue_[queue_size_++] = reply.id;
    }
  }
}

void ServoChain::next(std::int64_t now) noexcept {
  while (!lost_ && queue_next_ < queue_size_ && !active_) {
    const std::uint8_t id = queue_[queue_next_];
    const std::size_t joint = joint_of(id);
    const bool first = queue_next_ < first_tries_ && misses_[joint] < kSilentAfter;
    const std::int64_t spare = first || alone_ ? kMargin : kReserve;
    if (std::max(now, wire_free_) + single_time(kPositionBytes) + spare > budget_end_) {
      pass_over();
      break;
    }
    ++queue_next_;
    silent_asked_[joint] = now;
    ask({&id, 1}, false, now);
  }
  // In turn, or the one that is always due would be all that is asked.
  if (alone_ && !active_) block_first_ = !block_first_;
  if (alone_ && block_first_) look_at_block(now);
  look_at_torque(now);
  look_at_block(now);
}

/// Those that this cycle had no time for, where motors are asked one by one: they come first in the next.
void ServoChain::pass_over() noexcept {
  for (std::size_t k = first_tries_; k-- > queue_next_;) {
    const std::size_t joint = joint_of(queue_[k]);
    if (misses_[joint] >= kSilentAfter) continue;
    states_[joint].skipped = true;
    turn_ = joint;
  }
}

}  // namespace rl
