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

}  // namespace

Request ServoChain::goal_request(std::span<const int> raws, std::uint8_t address,
                                 unsigned sign_bit) const noexcept {
  std::array<std::uint8_t, 2 * kMostIds> data{};
  for (std::size_t i = 0; i < size(); ++i) {
    const std::uint16_t word = sign_bit == kUnsigned ? static_cast<std::uint16_t>(raws[i])
                                                     : sign_magnitude_encode(raws[i], sign_bit);
    const auto bytes = encode_word(word, model_->order);
    data[2 * i] = bytes[0];
    data[2 * i + 1] = bytes[1];
  }
  return encode_sync_write(address, 2, {ids_.data(), size()}, {data.data(), 2 * size()});
}

IoStatus ServoChain::write_goals(std::span<const double> values) noexcept {
  std::array<int, kMostIds> raws{};
  for (std::size_t i = 0; i < size(); ++i) raws[i] = config_.joints[i].nearest(values[i]);
  const Request request = goal_request(raws, at::kGoalPosition, kPositionSign);
  const IoStatus status = port_.is_open() ? port_.write(request.bytes()) : IoStatus::lost;
  if (status == IoStatus::lost) lost_ = true;
  return status;
}

IoStatus ServoChain::write_torque_limits(double part, std::uint64_t derated) noexcept {
  if (model_->find("Torque_Limit") == nullptr) return IoStatus::ok;
  std::array<int, kMostIds> limits{};
  for (std::size_t i = 0; i < size(); ++i) {
    limits[i] = found_limits_[i] < 0 ? static_cast<int>(torque_limits_[i] * part) : found_limits_[i];
    if (((derated >> i) & 1U) != 0) limits[i] /= 2;
  }
  const Request request = goal_request(limits, at::kTorqueLimit, kUnsigned);
  const IoStatus status = port_.is_open() ? port_.write(request.bytes()) : IoStatus::lost;
  if (status == IoStatus::lost) lost_ = true;
  return status;
}

void ServoChain::begin_cycle(std::int64_t now, std::int64_t budget_end) noexcept {
  budget_end_ = budget_end;
  active_ = asks_torque_ = false;
  queue_size_ = queue_next_ = first_tries_ = 0;
  std::array<std::uint8_t, kMostIds> together{};
  std::size_t count = 0;
  std::size_t silent = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    states_[i].fresh = false;
    if (misses_[i] >= kSilentAfter) {
      ++silent;
    } else {
      together[count++] = ids_[i];
    }
  }
  // The silent ones come after the others and only as far as the budget goes: they cost the others nothing.
  // Another one begins in each cycle.
  if (silent > 0) {
    const std::size_t turn = silent_turn_++ % size();
    for (std::size_t k = 0; k < size(); ++k) {
      const std::size_t i = (turn + k) % size();
      if (misses_[i] >= kSilentAfter) queue_[queue_size_++] = ids_[i];
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

void ServoChain::ask(Bytes ids, bool sync, std::int64_t now) noexcept {
  active_ = false;
  if (lost_) return;
  const std::size_t length = free_length(ids, sync ? block_bytes(now) : kPositionBytes, now);
  if (length == 0) return overhear(now);  // every length could be a late reply's: missed in this cycle
  const auto bytes = static_cast<std::uint8_t>(length);
  const Request request = sync ? encode_sync_read(at::kPresentPosition, bytes, ids)
                               : encode_read(ids[0], at::kPresentPosition, bytes);
  if (!send(request, ids, length, echo_ ? EchoMode::skip : EchoMode::none)) return;
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
    if (reply.arrived) asks_torque_ ? take_torque(reply) : take_state(reply, now);
  }
  if (reader_.complete()) {
    active_ = asks_torque_ = false;
    next(now);
  }
}

/// The longer block a few times a second, where the budget has room for it.
std::size_t ServoChain::block_bytes(std::int64_t now) noexcept {
  if (now - block_at_ < kBlockEvery) return kPositionBytes;
  const std::size_t bytes = 8 + size() + size() * (kBlockBytes + 6);
  const std::int64_t needed = wire_time(bytes) + static_cast<std::int64_t>(size()) * kMotorDelay + allowance_;
  if (now + needed > budget_end_) return kPositionBytes;
  block_at_ = now;
  return kBlockBytes;
}

void ServoChain::take_state(const Reply& reply, std::int64_t now) noexcept {
  const std::size_t joint = joint_of(reply.id);
  if (joint >= size() || states_[joint].fresh) return;
  bars_[joint].answered = now;
  JointState& state = states_[joint];
  const std::uint16_t word = decode_word({reply.data.data(), kPositionBytes}, model_->order);
  const int raw = model_->order == WordOrder::little ? sign_magnitude_decode(word, kPositionSign) : word;
  // Two damaged packets can make one whose checksum holds by accident: such a place is no place of a joint.
  if (raw <= -model_->resolution || raw >= 2 * model_->resolution) return;
  state.raw = raw;
  state.value = config_.joints[joint].to_unit(state.raw);
  state.captured = now;
  state.status = reply.status;
  state.fresh = true;
  if (reader_.length() >= kBlockBytes) {
    const std::uint16_t load = decode_word({reply.data.data() + kLoadAt, 2}, model_->order);
    state.load = static_cast<std::uint8_t>((load & ((1U << kLoadSign) - 1)) / 10);
    state.voltage = reply.data[kVoltageAt];
    state.temperature = reply.data[kTemperatureAt];
  }
  if (misses_[joint] > 0) returned_ |= 1ULL << joint;
  misses_[joint] = 0;
}

/// A motor that was silent may have started anew: then it has lost its torque, and the arm must not go on.
void ServoChain::look_at_torque(std::int64_t now) noexcept {
  if (!energised_) returned_ = 0;
  if (returned_ == 0 || active_ || lost_) return;
  const std::int64_t cost = wire_time(8 + 6 + 1) + kMotorDelay + kMillisecond / 2;
  if (now + cost > budget_end_) return;
  const std::uint8_t id = ids_[static_cast<std::size_t>(__builtin_ctzll(returned_))];
  const std::size_t length = free_length({&id, 1}, 1, now);
  if (length == 0) return;
  const Request request = encode_read(id, at::kTorqueEnable, static_cast<std::uint8_t>(length));
  if (!send(request, {&id, 1}, length, echo_ ? EchoMode::skip : EchoMode::none)) return;
  request_end_ =
      std::min(now + wire_time(request.size() + length + 6) + kMotorDelay + allowance_, budget_end_);
  active_ = asks_torque_ = true;
}

void ServoChain::take_torque(const Reply& reply) noexcept {
  const std::size_t joint = joint_of(reply.id);
  if (joint >= size()) return;
  returned_ &= ~(1ULL << joint);
  if (reply.data[0] == 0) states_[joint].rebooted = true;
}

void ServoChain::expire(std::int64_t now) noexcept {
  if (!active_ || now < request_end_) return;
  if (nobody_answered() && now < budget_end_) {
    // Silence of everybody is rather a late adapter than six lost replies: a second request would not help.
    request_end_ = budget_end_;
    return;
  }
  active_ = false;
  if (asks_torque_) {  // asked again in the next cycle
    asks_torque_ = false;
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
    if (joint >= size() || line_silent) continue;
    const bool first_try = !was_single || queue_next_ <= first_tries_;
    if (first_try && misses_[joint] < kSilentAfter) {
      ++misses_[joint];
      if (queue_size_ < queue_.size()) queue_[queue_size_++] = reply.id;
    }
  }
}

void ServoChain::next(std::int64_t now) noexcept {
  while (!lost_ && queue_next_ < queue_size_ && !active_) {
    const std::int64_t cost = wire_time(8 + 6 + kPositionBytes) + kMotorDelay + kMillisecond / 2;
    if (now + cost > budget_end_) return;
    const std::uint8_t id = queue_[queue_next_++];
    ask({&id, 1}, false, now);
  }
  look_at_torque(now);
}

}  // namespace rl
