/// The cycle of a chain: requests and replies without waiting, allocation or exceptions.
#include <algorithm>

#include "rl/servo_chain.hpp"

namespace rl {
namespace {

constexpr std::size_t kPositionBytes = 2;
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

IoStatus ServoChain::write_torque_limits(double part) noexcept {
  if (model_->find("Torque_Limit") == nullptr) return IoStatus::ok;
  std::array<int, kMostIds> limits{};
  for (std::size_t i = 0; i < size(); ++i) {
    limits[i] = found_limits_[i] < 0 ? static_cast<int>(torque_limits_[i] * part) : found_limits_[i];
  }
  const Request request = goal_request(limits, at::kTorqueLimit, kUnsigned);
  const IoStatus status = port_.is_open() ? port_.write(request.bytes()) : IoStatus::lost;
  if (status == IoStatus::lost) lost_ = true;
  return status;
}

void ServoChain::begin_cycle(std::int64_t now, std::int64_t budget_end) noexcept {
  budget_end_ = budget_end;
  active_ = false;
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
  const std::size_t length = free_length(ids, kPositionBytes, now);
  if (length == 0) return;  // every length could be answered by a late reply: missed in this cycle
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
    const std::size_t joint = joint_of(reply.id);
    if (!reply.arrived || joint >= size() || states_[joint].fresh) continue;
    JointState& state = states_[joint];
    const std::uint16_t raw = decode_word({reply.data.data(), kPositionBytes}, model_->order);
    state.raw = model_->order == WordOrder::little ? sign_magnitude_decode(raw, kPositionSign) : raw;
    state.value = config_.joints[joint].to_unit(state.raw);
    state.captured = now;
    state.status = reply.status;
    state.fresh = true;
    misses_[joint] = 0;
  }
  if (reader_.complete()) {
    active_ = false;
    next(now);
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
}

}  // namespace rl
