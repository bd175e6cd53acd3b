/// A pose that a person pushes along, joint by joint or by the tool: what keyboard and gamepad say to the
/// loop.
///
/// Only a wish: the loop's limits and states decide what of it moves the arm. Pure; no allocation once it is
/// made.
#pragma once

#include <span>
#include <vector>

#include "rl/kinematics.hpp"

namespace rl {

/// Robot units.
struct JogAxis {
  double low = 0;
  double high = 0;
  double leash = 0;  ///< how far the wish may run ahead of the measured pose
};

/// m/s in the base frame, and rad/s of the pose's pitch and roll.
struct ToolSpeed {
  Vec3 linear{};
  double pitch = 0;
  double roll = 0;
};

class Jog {
 public:
  /// `chain`: moves the first axes, which are in degrees then; nullptr: joint by joint only.
  Jog(std::vector<JogAxis> axes, const Chain* chain);

  [[nodiscard]] std::size_t size() const noexcept { return axes_.size(); }
  [[nodiscard]] bool by_tool() const noexcept { return chain_ != nullptr; }
  /// False until the first `place`: a pose that nobody has seen is no wish.
  [[nodiscard]] bool placed() const noexcept { return placed_; }
  /// The wish is this pose, at rest. Ignored when a value is not finite.
  void place(std::span<const double> pose) noexcept;
  /// The arm was held or stopped: what was wished before counts no more. The next pose seen is the wish then.
  void forget() noexcept;
  /// The measured pose, from which the leash is counted; it also places what was not placed yet.
  void see(std::span<const double> measured) noexcept;
  /// Goes on for `dt` s (at most 0.1) toward these speeds, units/s, inside limits and leash. Speeds grow and
  /// fall within a tenth of a second or so: steps of them would make the limited goal swing. Zero is said
  /// too, each time.
  void move_joints(std::span<const double> speeds, double dt) noexcept;
  /// The same for the tool; axes beyond the chain's (the gripper) go at `others`. What cannot be reached is
  /// left out: the tool slides along the edge of its reach. False when nothing of the tool's motion was
  /// possible.
  bool move_tool(const ToolSpeed& speed, std::span<const double> others, double dt) noexcept;
  [[nodiscard]] std::span<const double> target() const noexcept { return target_; }
  /// Of the wish; zero without a chain.
  [[nodiscard]] Pose tool() const noexcept;

 private:
  void push(std::size_t axis, double wanted, double dt) noexcept;
  [[nodiscard]] bool try_tool(const Pose& aim, double dt) noexcept;

  std::vector<JogAxis> axes_;
  const Chain* chain_;
  std::vector<double> target_;
  std::vector<double> measured_;
  std::vector<double> speeds_;
  ToolSpeed speed_;
  Pose aim_;  ///< what the tool's motion has come to; the solution's own small rest must not add up
  bool aiming_ = false;
  bool placed_ = false;
};

}  // namespace rl
