/// Serial arms as data: where the tool is, how it moves, and which joint angles bring it somewhere. Pure,
/// without allocation. Lengths in m, angles in rad; base frame: x forward, y left, z up.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace rl {

constexpr std::size_t kMostChainJoints = 8;
constexpr std::size_t kPoseNumbers = 5;  ///< x y z pitch roll

using Vec3 = std::array<double, 3>;
using Mat3 = std::array<double, 9>;  ///< row by row; columns are the axes

struct Frame {
  Mat3 rotation{1, 0, 0, 0, 1, 0, 0, 0, 1};
  Vec3 origin{};
};

/// One joint as the arm's description has it: the fixed transform from the parent's frame, then a turn about
/// its own z.
struct ChainJoint {
  const char* name = "";
  Vec3 origin{};
  std::array<double, 4> quaternion{1, 0, 0, 0};  ///< w x y z; normalised when the chain is built
  double low = 0;
  double high = 0;
};

/// What a person means by a tool's place on an arm of five joints, whose heading follows from its position.
///
/// `pitch`: how far the tool's x axis (its approach) points below the horizontal, counted on through straight
/// down. `roll`: the turn about that axis, 0 where the tool's y axis lies along the pitch axis.
struct Pose {
  Vec3 position{};
  double pitch = 0;
  double roll = 0;
};

struct Reach {
  std::array<double, kMostChainJoints> joints{};
  double off_position = 0;  ///< m left over
  double off_angle = 0;     ///< rad left over, the larger of pitch and roll
  int rounds = 0;
  [[nodiscard]] bool reached(double metres, double radians) const noexcept {
    return off_position <= metres && off_angle <= radians;
  }
};

class Chain {
 public:
  /// `pitch_joint`: the last joint whose axis is horizontal at every pose; joints after it roll the tool.
  Chain(std::span<const ChainJoint> joints, const ChainJoint& tool, std::size_t pitch_joint) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const char* name(std::size_t joint) const noexcept { return links_[joint].name; }
  [[nodiscard]] double low(std::size_t joint) const noexcept { return links_[joint].low; }
  [[nodiscard]] double high(std::size_t joint) const noexcept { return links_[joint].high; }

  /// The tool's frame in the base. `q` has `size()` angles.
  [[nodiscard]] Frame tool(std::span<const double> q) const noexcept;
  /// Geometric Jacobian at the tool's point in the base frame: rows vx vy vz wx wy wz, `out` is 6 x size() by
  /// rows.
  void jacobian(std::span<const double> q, std::span<double> out) const noexcept;
  [[nodiscard]] Pose pose(std::span<const double> q) const noexcept;

  /// Angles near `seed` that bring the tool to `target` as far as the limits allow: damped least squares, the
  /// damping from the error itself (Sugihara 2011, "Solvability-Unconcerned Inverse Kinematics by the
  /// Levenberg-Marquardt Method", IEEE Transactions on Robotics 27(5)), joints at a limit left out while they
  /// push against it. Bounded: at most 60 rounds. Limits narrower than the chain's own may be given; a seed
  /// beyond them may only go inward. A target that is not finite gives the seed, with an infinite rest.
  [[nodiscard]] Reach solve(const Pose& target, std::span<const double> seed, std::span<const double> low,
                            std::span<const double> high) const noexcept;

 private:
  struct Link {
    const char* name = "";
    Frame fixed;
    double low = 0;
    double high = 0;
  };
  struct Axes {
    std::array<Vec3, kMostChainJoints> axis{};
    std::array<Vec3, kMostChainJoints> point{};
    Frame tool;
  };

  using TaskRows = std::array<std::array<double, kMostChainJoints>, kPoseNumbers>;

  [[nodiscard]] Axes walk(std::span<const double> q) const noexcept;
  [[nodiscard]] Pose pose_of(const Axes& axes) const noexcept;
  [[nodiscard]] TaskRows rows_of(const Axes& axes) const noexcept;

  std::array<Link, kMostChainJoints> links_{};
  std::size_t size_ = 0;
  std::size_t pitch_joint_ = 0;
  Frame tool_;
};

/// The SO-101 (five joints; the gripper does not move the tool's frame). Zero is the middle of each joint's
/// range: upper arm vertical, forearm and tool forward. From the official model's numbers (SO-ARM100, new
/// calibration).
[[nodiscard]] const Chain& so101_chain() noexcept;

}  // namespace rl
