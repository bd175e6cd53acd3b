#include "rl/jog.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace rl {
namespace {

constexpr double kLongest = 0.1;  // s of motion in one call: who was away for longer does not catch up
constexpr double kDegree = M_PI / 180;
constexpr double kJointSpeed = 120;    // deg/s: near a straight arm a slow tool asks for a fast joint
constexpr double kOffPosition = 5e-4;  // m
constexpr double kGain = 600;          // units/s^2 of a joint's speed
constexpr double kLinearGain = 0.6;    // m/s^2
constexpr double kTurnGain = 600 * kDegree;
constexpr double kOffAngle = 0.2 * kDegree;

using Angles = std::array<double, kMostChainJoints>;

bool finite(std::span<const double> values) noexcept {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

bool still(const ToolSpeed& s) noexcept {
  return s.linear[0] == 0 && s.linear[1] == 0 && s.linear[2] == 0 && s.pitch == 0 && s.roll == 0;
}

double toward(double now, double wanted, double most) noexcept {
  return now + std::clamp((std::isfinite(wanted) ? wanted : 0) - now, -most, most);
}

ToolSpeed toward(const ToolSpeed& now, const ToolSpeed& wanted, double dt) noexcept {
  ToolSpeed out;
  for (std::size_t k = 0; k < 3; ++k)
    out.linear[k] = toward(now.linear[k], wanted.linear[k], kLinearGain * dt);
  out.pitch = toward(now.pitch, wanted.pitch, kTurnGain * dt);
  out.roll = toward(now.roll, wanted.roll, kTurnGain * dt);
  return out;
}

Pose advanced(const Pose& from, const ToolSpeed& speed, double dt) noexcept {
  Pose out = from;
  for (std::size_t k = 0; k < 3; ++k) out.position[k] += speed.linear[k] * dt;
  out.pitch += speed.pitch * dt;
  out.roll += speed.roll * dt;
  return out;
}

/// The k-th of the five numbers alone.
ToolSpeed only(const ToolSpeed& s, std::size_t k) noexcept {
  ToolSpeed out;
  if (k < 3) out.linear[k] = s.linear[k];
  if (k == 3) out.pitch = s.pitch;
  if (k == 4) out.roll = s.roll;
  return out;
}

}  // namespace

Jog::Jog(std::vector<JogAxis> axes, const Chain* chain)
    : axes_(std::move(axes)),
      chain_(chain != nullptr && chain->size() <= axes_.size() ? chain : nullptr),
      target_(axes_.size()),
      measured_(axes_.size()),
      speeds_(axes_.size()) {}

void Jog::forget() noexcept {
  placed_ = false;
  std::fill(speeds_.begin(), speeds_.end(), 0.0);
  speed_ = {};
}

void Jog::place(std::span<const double> pose) noexcept {
  if (pose.size() != size() || !finite(pose)) return;
  std::copy(pose.begin(), pose.end(), target_.begin());
  if (!placed_) std::copy(pose.begin(), pose.end(), measured_.begin());
  placed_ = true;
  aiming_ = false;
}

void Jog::see(std::span<const double> measured) noexcept {
  if (measured.size() != size() || !finite(measured)) return;
  std::copy(measured.begin(), measured.end(), measured_.begin());
  if (!placed_) place(measured);
}

/// Never past a limit or the end of the leash, and from beyond either only back.
void Jog::push(std::size_t axis, double wanted, double dt) noexcept {
  speeds_[axis] = toward(speeds_[axis], wanted, kGain * dt);
  if (speeds_[axis] == 0) return;
  const JogAxis& a = axes_[axis];
  const double now = target_[axis];
  const double low = std::max(std::min(a.low, now), std::min(measured_[axis] - a.leash, now));
  const double high = std::min(std::max(a.high, now), std::max(measured_[axis] + a.leash, now));
  const double next = now + speeds_[axis] * dt;
  target_[axis] = std::clamp(next, low, high);
  if (target_[axis] != next) speeds_[axis] = 0;  // at an end: the way back begins at once
  if (chain_ != nullptr && axis < chain_->size()) aiming_ = false;
}

void Jog::move_joints(std::span<const double> speeds, double dt) noexcept {
  if (!placed_ || speeds.size() != size() || !(dt > 0)) return;
  const double step = std::min(dt, kLongest);
  speed_ = {};
  for (std::size_t k = 0; k < size(); ++k) push(k, speeds[k], step);
}

bool Jog::try_tool(const Pose& aim, double dt) noexcept {
  const std::size_t n = chain_->size();
  Angles seed{};
  Angles low{};
  Angles high{};
  for (std::size_t k = 0; k < n; ++k) {
    seed[k] = target_[k] * kDegree;
    low[k] = std::max(axes_[k].low * kDegree, chain_->low(k));
    high[k] = std::min(axes_[k].high * kDegree, chain_->high(k));
  }
  const Reach found = chain_->solve(aim, {seed.data(), n}, {low.data(), n}, {high.data(), n});
  if (!found.reached(kOffPosition, kOffAngle)) return false;
  for (std::size_t k = 0; k < n; ++k) {
    const double next = found.joints[k] / kDegree;
    const double away = std::abs(next - measured_[k]);
    const bool farther = away > axes_[k].leash && away > std::abs(target_[k] - measured_[k]);
    if (farther || std::abs(next - target_[k]) > kJointSpeed * dt) return false;
  }
  for (std::size_t k = 0; k < n; ++k) target_[k] = found.joints[k] / kDegree;
  aim_ = aim;
  return true;
}

bool Jog::move_tool(const ToolSpeed& speed, std::span<const double> others, double dt) noexcept {
  if (!placed_ || chain_ == nullptr || others.size() != size() || !(dt > 0)) return false;
  const double step = std::min(dt, kLongest);
  std::fill(speeds_.begin(), speeds_.begin() + static_cast<std::ptrdiff_t>(chain_->size()), 0.0);
  for (std::size_t k = chain_->size(); k < size(); ++k) push(k, others[k], step);
  speed_ = toward(speed_, speed, step);
  if (still(speed_)) return true;
  if (!aiming_) {
    aim_ = tool();
    aiming_ = true;
  }
  if (try_tool(advanced(aim_, speed_, step), step)) return true;
  bool any = false;
  for (std::size_t k = 0; k < kPoseNumbers; ++k) {
    const ToolSpeed part = only(speed_, k);
    if (!still(part)) any = try_tool(advanced(aim_, part, step), step) || any;
  }
  if (!any) speed_ = {};
  return any;
}

Pose Jog::tool() const noexcept {
  if (chain_ == nullptr) return {};
  Angles q{};
  for (std::size_t k = 0; k < chain_->size(); ++k) q[k] = target_[k] * kDegree;
  return chain_->pose({q.data(), chain_->size()});
}

}  // namespace rl
