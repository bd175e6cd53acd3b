/// The cycle of a chain: requests and replies without waiting, allocation or exceptions.
#include <algorithm>

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
constexpr std::int64_t kMotorDelay = 60 * kMicrosecond;
constexpr std::uint8_t kSilentAfter = 3;  // misses in a row: asked singly from then on
constexpr std::int64_t kSilentEvery =
    60 * kMillisecond;  // or it would use up the lengths that can be told apart
constexpr std::int64_t kTorqueEvery = 20 * kMillisecond;  // one motor's torque, in turn
constexpr std::int64_t kReserve = kMillisecond / 2;       // beyond the wire's own time: does it still fit?

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
}

IoStatus ServoChain::write_goals(std::span<const double> values, std::uint64_t withheld) noexcept {
  const std::uint64_t all = size() >= 64 ? ~0ULL : (1ULL << size()) - 1;
  if ((withheld & all) == all) return IoStatus::ok;
  std::array<int, kMostIds> raws{};
  for (std::size_t i = 0; i < size(); ++i) raws[i] = config_.joints[i].nearest(values[i]);
  const Request request = words_request(raws, at::kGoalPosition, kPositionSign, withheld);
  const IoStatus status = port_.is_open() ? port_.write(request.bytes()) : IoStatus::lost;
  if (status == IoStatus::lost) lost_ = true;
  wire_free_ = now_ns() + wire_time(request.size());
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
  return status;
}

void ServoChain::begin_cycle(std::int64_t now, std::int64_t budget_end) noexcept {
  budget_begin_ = now;
  budget_end_ = budget_end;
  active_ = false;
  queue_size_ = queue_next_ = first_tries_ = 0;
  std::size_t silent = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    states_[i].fresh = states_[i].rebooted = states_[i].skipped = false;
    if (misses_[i] >= kSilentAfter) ++silent;
  }
  const std::size_t answering = size() - silent;
  const std::size_t room = std::max<std::size_t>(room_for_answers(budget_end - std::max(now, wire_free_)), 1);
  if (room < answering && look_instead(now)) {
    for (std::size_t i = 0; i < size(); ++i) states_[i].skipped = misses_[i] < kSilentAfter;
    return;
  }
  std::array<std::uint8_t, kMostIds> together{};
  const std::size_t count = choose(std::min(room, answering), room < answering, together);
  // The silent ones come after the others and only as far as the budget goes: they cost the others nothing.
  // Another one begins in each cycle.
  if (silent > 0) {
    const std::size_t turn = silent_turn_++ % size();
    for (std::size_t k = 0; k < size(); ++k) {
      const std::size_t i = (turn + k) % size();
      if (misses_[i] < kSilentAfter || now - silent_asked_[i] < kSilentEvery) continue;
      queue_[queue_size_++] = ids_[i];
    }
  }
  if (model_->sync_read) {
    first_tries_ = queue_size_;
    if (count > 0) return ask({together.data(), count}, true, now);
  } else {
    for (std::size_t i = 0; i < count; ++i) queue_[queue_size_++] = together[i];
    first_tries_ = queue_size_;
  }
  next(now);
}

/// How many motors' positions fit into this time behind the goals, with the adapter's usual way of taking its
/// time.
std::size_t ServoChain::room_for_answers(std::int64_t time) const noexcept {
  const std::int64_t each = wire_time((model_->sync_read ? 1 : 8) + kPositionBytes + 6) + kMotorDelay;
  const std::int64_t left = time - wire_time(8) - std::max(turnaround_, kReserve / 2);
  return left < each ? 0 : static_cast<std::size_t>(left / each);
}

std::size_t ServoChain::room_in(std::int64_t time) const noexcept {
  return std::min(room_for_answers(time - wire_time(8 + 3 * size())), size());
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

/// Where a cycle has no room behind the positions, what else must be known takes a cycle of its own.
bool ServoChain::look_instead(std::int64_t now) noexcept {
  look_at_torque(now);
  look_at_block(now);
  return active_;
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
                              static_cast<std::int64_t>(ids.size()) * kMotorDelay + allowance_;
  request_end_ = std::min(now + answer, budget_end_);
  active_ = true;
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
  reader_.feed({space.data(), count});
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
    next(now);
  }
}

/// Whether the budget has room for the longer block of all motors at once.
bool ServoChain::block_fits(std::int64_t now) const noexcept {
  const std::size_t bytes = 8 + size() + size() * (kBlockBytes + 6);
  const std::int64_t answer = wire_time(bytes) + static_cast<std::int64_t>(size()) * kMotorDelay + kReserve;
  return std::max(now, wire_free_) + answer <= budget_end_;
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
  const std::int64_t answer = wire_time(request.size() + length + 6) + kMotorDelay;
  if (now + answer + kReserve / 3 > budget_end_) return false;  // an answer behind the budget is merely lost
  if (!send(request, {&id, 1}, length, echo_ ? EchoMode::skip : EchoMode::none, length > bytes)) return false;
  request_end_ = std::min(now + answer + allowance_, budget_end_);
  asks_ = question;
  active_ = true;
  return true;
}

/// Load, voltage and temperature of one motor, where the period is too short for those of all.
void ServoChain::look_at_block(std::int64_t now) noexcept {
  if (!model_->sync_read || active_ || lost_) return;
  if (now - block_at_ < kBlockEvery || block_fits(budget_begin_)) return;
  if (now - block_single_at_ < kBlockEvery / static_cast<std::int64_t>(size())) return;
  if (!ask_one(Question::block, ids_[block_turn_ % size()], kBlockBytes, now)) return;
  block_single_at_ = now;
  ++block_turn_;
}

/// A motor that was silent may have started anew: then it has lost its torque, and the arm must not go on. A
/// break of its supply can be shorter than a period, so the others are looked at in turn.
void ServoChain::look_at_torque(std::int64_t now) noexcept {
  returned_ = (returned_ | going_limp_) & energised_;
  if (energised_ == 0 || active_ || lost_) return;
  if (returned_ == 0 && now - torque_at_ < kTorqueEvery) return;
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
  return reader_.replies().size() > 1 && reader_.arrived() == 0;
}

/// The request is over: lengths that may still come late are barred, the missing ids are asked once more,
/// singly. When nobody answered, they are neither asked again (each request bars another length) nor counted
/// as silent.
void ServoChain::settle(std::int64_t now) noexcept {
  const bool was_single = reader_.replies().size() == 1;
  const bool line_silent = nobody_answered();
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
    const std::int64_t cost = wire_time(8 + 6 + kPositionBytes) + kMotorDelay + kReserve;
    if (now + cost > budget_end_) return;
    const std::uint8_t id = queue_[queue_next_++];
    silent_asked_[joint_of(id)] = now;
    ask({&id, 1}, false, now);
  }
  look_at_torque(now);
  look_at_block(now);
}

}  // namespace rl
