/// Torque on and off, one motor after another: what may take several periods and happens where nothing moves.
#include <algorithm>

#include "rl/servo_chain.hpp"

namespace rl {
namespace {

constexpr std::int64_t kReleaseTimeout = 5 * kMillisecond;
constexpr int kReleaseTries = 3;
constexpr int kTorqueStart = 20;  // % of the configured limit, when a motor is switched on

}  // namespace

Trouble ServoChain::energise(std::size_t joint, std::int64_t& stamp, Found& found) noexcept {
  if (!config_.energise) return {};
  const Trouble trouble = switch_on(joint, stamp, found);
  if (!trouble.none()) return lost_ ? Trouble{TroubleKind::lost, trouble.joint, 0, 0, {}} : trouble;
  energised_ |= 1ULL << joint;
  going_limp_ &= ~(1ULL << joint);
  limp_ &= ~(1ULL << joint);
  doubtful_ &= ~energised_;
  returned_ &= ~energised_;
  return {};
}

Trouble ServoChain::switch_on(std::size_t joint, std::int64_t& stamp, Found& found) noexcept {
  const std::uint8_t id = ids_[joint];
  const int j = static_cast<int>(joint);
  const Register* const torque = model_->find("Torque_Enable");
  const Register* const goal = model_->find("Goal_Position");
  const Register* const limit = model_->find("Torque_Limit");
  const Register* const position = model_->find("Present_Position");
  int energised = 0;
  int measured = 0;
  if (!read_value(id, *torque, energised)) return {TroubleKind::silent, j, 0, 0, {}};
  (energised != 0 ? found.on : found.off) = true;
  found_limits_[joint] = -1;
  // Found on: taken over with the torque limit that it has, or it would sag.
  if (energised != 0 && limit != nullptr && !read_value(id, *limit, found_limits_[joint])) {
    return {TroubleKind::silent, j, 0, 0, {}};
  }
  if (energised == 0 && limit != nullptr &&
      !write_value(id, *limit, torque_limits_[joint] * kTorqueStart / 100)) {
    return {TroubleKind::not_written, j, 0, torque_limits_[joint] * kTorqueStart / 100, limit->name};
  }
  if (!read_value(id, *position, measured)) return {TroubleKind::silent, j, 0, 0, {}};
  if (stamp == 0) stamp = now_ns();
  if (!write_value(id, *goal, measured)) return {TroubleKind::goal_refused, j, 0, measured, goal->name};
  if (energised != 1 && !write_value(id, *torque, 1)) return {TroubleKind::not_energised, j, 0, 1, {}};
  misses_[joint] = 0;  // it answers
  JointState& state = states_[joint];
  state.raw = measured;
  state.value = config_.joints[joint].to_unit(measured);
  state.captured = now_ns();
  return {};
}

void ServoChain::drop() noexcept {
  const std::array<std::uint8_t, kMostIds> zeros{};
  const Request all = encode_sync_write(at::kTorqueEnable, 1, {ids_.data(), size()}, {zeros.data(), size()});
  if (port_.is_open() && port_.write(all.bytes()) == IoStatus::lost) lost_ = true;
  occupy_wire(all.size());
}

std::uint64_t ServoChain::release() noexcept {
  energised_ = 0;
  const std::array<std::uint8_t, 1> off = {0};
  const std::array<std::uint8_t, 1> closed = {1};
  // From the wrist inwards, the gripper last: a held object falls last.
  const auto one = [&](std::size_t joint) {
    for (int turn = 0; turn < kReleaseTries; ++turn) {
      if (write_bytes(ids_[joint], at::kTorqueEnable, off, kReleaseTimeout)) return;
    }
  };
  const auto gripper = [&](std::size_t i) { return config_.joints[i].mode == UnitMode::range_0_100; };
  for (std::size_t i = size(); i-- > 0;) {
    if (!gripper(i)) one(i);
  }
  for (std::size_t i = size(); i-- > 0;) {
    if (gripper(i)) one(i);
  }
  drop();
  std::uint64_t held = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    std::array<std::uint8_t, 1> torque = {1};
    if (!read_bytes(ids_[i], at::kTorqueEnable, torque) || torque[0] != 0) held |= 1ULL << i;
    write_bytes(ids_[i], model_->lock, closed, kReleaseTimeout);
  }
  return held;
}

std::uint64_t ServoChain::relax() noexcept {
  const Register* const torque = model_->find("Torque_Enable");
  std::uint64_t held = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    int energised = 0;
    if (read_value(ids_[i], *torque, energised) && energised == 0) continue;
    if (!write_value(ids_[i], *torque, 0)) held |= 1ULL << i;
  }
  return held;
}

}  // namespace rl
