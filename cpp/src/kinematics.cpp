#include "rl/kinematics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rl {
namespace {

constexpr std::size_t kTasks = kPoseNumbers;
constexpr double kReachScale = 0.2;  // m that weigh as much as 1 rad: about the arm's length
constexpr int kMostRounds = 60;
constexpr double kDamping = 1e-9;      // beside the error's own part, for singular poses
constexpr double kEnough = 1e-12;      // squared, scaled error: 0.2 um, 1 urad
constexpr double kNoProgress = 1e-9;   // rad: a round that moves no joint farther is the last
constexpr double kLargestStep = 0.35;  // rad in a round: farther than that the tangent says little

using Vec5 = std::array<double, kTasks>;
using Mat5 = std::array<Vec5, kTasks>;
using Angles = std::array<double, kMostChainJoints>;
using Rows = std::array<Angles, kTasks>;

Vec3 cross(const Vec3& a, const Vec3& b) noexcept {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
Vec3 minus(const Vec3& a, const Vec3& b) noexcept { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
double dot(const Vec3& a, const Vec3& b) noexcept { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Vec3 column(const Mat3& m, std::size_t k) noexcept { return {m[k], m[3 + k], m[6 + k]}; }

Mat3 product(const Mat3& a, const Mat3& b) noexcept {
  Mat3 out{};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) {
      out[3 * r + c] = a[3 * r] * b[c] + a[3 * r + 1] * b[3 + c] + a[3 * r + 2] * b[6 + c];
    }
  }
  return out;
}

Frame product(const Frame& a, const Frame& b) noexcept {
  Frame out{product(a.rotation, b.rotation), a.origin};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) out.origin[r] += a.rotation[3 * r + c] * b.origin[c];
  }
  return out;
}

Mat3 turned_about_z(const Mat3& m, double angle) noexcept {
  const double c = std::cos(angle);
  const double s = std::sin(angle);
  return product(m, {c, -s, 0, s, c, 0, 0, 0, 1});
}

Mat3 rotation_of(std::array<double, 4> q) noexcept {
  const double norm = std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  for (double& v : q) v /= norm;
  const auto [w, x, y, z] = q;
  return {1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
          2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
          2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
}

double wrapped(double angle) noexcept { return std::remainder(angle, 2 * M_PI); }

/// What is left to go, positions scaled to the weight of angles.
Vec5 error_of(const Pose& target, const Pose& now) noexcept {
  Vec5 e{};
  for (std::size_t k = 0; k < 3; ++k) e[k] = (target.position[k] - now.position[k]) / kReachScale;
  e[3] = wrapped(target.pitch - now.pitch);
  e[4] = wrapped(target.roll - now.roll);
  return e;
}

double squared(const Vec5& e) noexcept {
  double sum = 0;
  for (const double v : e) sum += v * v;
  return sum;
}

/// x of a x = b for a symmetric positive definite matrix (Cholesky, in place).
Vec5 solved(Mat5& a, Vec5 b) noexcept {
  for (std::size_t c = 0; c < kTasks; ++c) {
    for (std::size_t k = 0; k < c; ++k) a[c][c] -= a[c][k] * a[c][k];
    a[c][c] = std::sqrt(std::max(a[c][c], std::numeric_limits<double>::min()));
    for (std::size_t r = c + 1; r < kTasks; ++r) {
      for (std::size_t k = 0; k < c; ++k) a[r][c] -= a[r][k] * a[c][k];
      a[r][c] /= a[c][c];
    }
  }
  for (std::size_t r = 0; r < kTasks; ++r) {
    for (std::size_t k = 0; k < r; ++k) b[r] -= a[r][k] * b[k];
    b[r] /= a[r][r];
  }
  for (std::size_t r = kTasks; r-- > 0;) {
    for (std::size_t k = r + 1; k < kTasks; ++k) b[r] -= a[k][r] * b[k];
    b[r] /= a[r][r];
  }
  return b;
}

/// The damped step J^T (J J^T + damping)^-1 e over `n` joints; columns that are zero stay still.
Angles damped_step(const Rows& j, const Vec5& e, std::size_t n) noexcept {
  const double damping = kDamping + 0.5 * squared(e) * 1e-2;
  Mat5 a{};
  for (std::size_t r = 0; r < kTasks; ++r) {
    for (std::size_t c = 0; c <= r; ++c) {
      for (std::size_t k = 0; k < n; ++k) a[r][c] += j[r][k] * j[c][k];
    }
    a[r][r] += damping;
  }
  const Vec5 y = solved(a, e);
  Angles step{};
  double largest = 0;
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t r = 0; r < kTasks; ++r) step[k] += j[r][k] * y[r];
    largest = std::max(largest, std::abs(step[k]));
  }
  if (largest > kLargestStep) {
    for (double& v : step) v *= kLargestStep / largest;
  }
  return step;
}

/// A joint at its limit that the error pushes against stays where it is: its column goes.
void leave_out_blocked(Rows& j, const Vec5& e, const Angles& q, const Angles& low, const Angles& high,
                       std::size_t n) noexcept {
  for (std::size_t k = 0; k < n; ++k) {
    double push = 0;
    for (std::size_t r = 0; r < kTasks; ++r) push += j[r][k] * e[r];
    if ((q[k] <= low[k] && push < 0) || (q[k] >= high[k] && push > 0)) {
      for (Angles& row : j) row[k] = 0;
    }
  }
}

bool finite(const Pose& pose) noexcept {
  return std::isfinite(pose.pitch) && std::isfinite(pose.roll) &&
         std::all_of(pose.position.begin(), pose.position.end(), [](double v) { return std::isfinite(v); });
}

}  // namespace

Chain::Chain(std::span<const ChainJoint> joints, const ChainJoint& tool, std::size_t pitch_joint) noexcept
    : size_(std::min(joints.size(), kMostChainJoints)),
      pitch_joint_(std::min(pitch_joint, size_ == 0 ? 0 : size_ - 1)),
      tool_{rotation_of(tool.quaternion), tool.origin} {
  for (std::size_t k = 0; k < size_; ++k) {
    const ChainJoint& joint = joints[k];
    links_[k] = {joint.name, {rotation_of(joint.quaternion), joint.origin}, joint.low, joint.high};
  }
}

Chain::Axes Chain::walk(std::span<const double> q) const noexcept {
  Axes out;
  Frame at;
  for (std::size_t k = 0; k < size_; ++k) {
    at = product(at, links_[k].fixed);
    out.axis[k] = column(at.rotation, 2);
    out.point[k] = at.origin;
    at.rotation = turned_about_z(at.rotation, q[k]);
  }
  out.tool = product(at, tool_);
  return out;
}

Frame Chain::tool(std::span<const double> q) const noexcept { return walk(q).tool; }

void Chain::jacobian(std::span<const double> q, std::span<double> out) const noexcept {
  const Axes axes = walk(q);
  for (std::size_t k = 0; k < size_; ++k) {
    const Vec3 linear = cross(axes.axis[k], minus(axes.tool.origin, axes.point[k]));
    for (std::size_t i = 0; i < 3; ++i) {
      out[i * size_ + k] = linear[i];
      out[(3 + i) * size_ + k] = axes.axis[k][i];
    }
  }
}

/// The pitch axis is horizontal; ahead is horizontal too and square to it. Both stay defined when the tool
/// points straight down, where heading and roll of usual angles are not.
Pose Chain::pose_of(const Axes& axes) const noexcept {
  const Vec3 approach = column(axes.tool.rotation, 0);
  const Vec3 side = column(axes.tool.rotation, 1);
  const Vec3& pitch_axis = axes.axis[pitch_joint_];
  const Vec3 ahead = cross(pitch_axis, {0, 0, 1});
  return {axes.tool.origin, std::atan2(-approach[2], dot(approach, ahead)),
          std::atan2(dot(cross(pitch_axis, side), approach), dot(pitch_axis, side))};
}

Pose Chain::pose(std::span<const double> q) const noexcept { return pose_of(walk(q)); }

/// How pose_of's numbers change with the joints, scaled as error_of's.
Chain::TaskRows Chain::rows_of(const Axes& axes) const noexcept {
  TaskRows j{};
  for (std::size_t k = 0; k < size_; ++k) {
    const Vec3 linear = cross(axes.axis[k], minus(axes.tool.origin, axes.point[k]));
    for (std::size_t i = 0; i < 3; ++i) j[i][k] = linear[i] / kReachScale;
    j[3][k] = dot(axes.axis[k], axes.axis[pitch_joint_]);
    // Roll is counted from the pitch axis, which joints up to that one carry along.
    j[4][k] = k > pitch_joint_ ? dot(axes.axis[k], column(axes.tool.rotation, 0)) : 0;
  }
  return j;
}

Reach Chain::solve(const Pose& target, std::span<const double> seed, std::span<const double> low,
                   std::span<const double> high) const noexcept {
  Reach best;
  std::copy(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(size_), best.joints.begin());
  best.off_position = best.off_angle = std::numeric_limits<double>::infinity();
  if (!finite(target)) return best;

  Angles q = best.joints;
  Angles lowest{};
  Angles highest{};
  for (std::size_t k = 0; k < size_; ++k) {
    lowest[k] = std::min(low[k], q[k]);
    highest[k] = std::max(high[k], q[k]);
  }
  double least = std::numeric_limits<double>::infinity();
  double moved = 1;
  for (int round = 0; round <= kMostRounds; ++round) {
    const Axes axes = walk(q);
    const Vec5 e = error_of(target, pose_of(axes));
    const double size = squared(e);
    if (size < least) {
      least = size;
      best.joints = q;
      best.off_position = kReachScale * std::sqrt(e[0] * e[0] + e[1] * e[1] + e[2] * e[2]);
      best.off_angle = std::max(std::abs(e[3]), std::abs(e[4]));
      best.rounds = round;
    }
    if (size < kEnough || moved < kNoProgress) break;

    Rows j = rows_of(axes);
    leave_out_blocked(j, e, q, lowest, highest, size_);
    const Angles step = damped_step(j, e, size_);
    moved = 0;
    for (std::size_t k = 0; k < size_; ++k) {
      const double next = std::clamp(q[k] + step[k], lowest[k], highest[k]);
      moved = std::max(moved, std::abs(next - q[k]));
      q[k] = next;
      lowest[k] = std::min(low[k], q[k]);  // from beyond a limit only inward
      highest[k] = std::max(high[k], q[k]);
    }
  }
  return best;
}

const Chain& so101_chain() noexcept {
  constexpr double kHalf = 0.70710678118654752;
  static constexpr std::array<ChainJoint, 5> kJoints{{
      {"shoulder_pan", {0.0388353, 0.0, 0.0624}, {0.0, 0.0, -1.0, 0.0}, -1.919862, 1.919862},
      {"shoulder_lift", {-0.0303992, -0.0182778, -0.0542}, {0.5, -0.5, -0.5, -0.5}, -1.745329, 1.745329},
      {"elbow_flex", {-0.11257, -0.028, 0.0}, {kHalf, 0.0, 0.0, kHalf}, -1.69, 1.69},
      {"wrist_flex", {-0.1349, 0.0052, 0.0}, {kHalf, 0.0, 0.0, -kHalf}, -1.658063, 1.658063},
      {"wrist_roll",
       {0.0, -0.0611, 0.0181},
       {0.017209108, -0.017209108, 0.706897338, 0.706897338},
       -2.743847,
       2.841206},
  }};
  static constexpr ChainJoint kTool{"tool", {-0.0079, -0.000218121, -0.0981274}, {kHalf, 0.0, kHalf, 0.0}};
  static const Chain chain(kJoints, kTool, 3);
  return chain;
}

}  // namespace rl
