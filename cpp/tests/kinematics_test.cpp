#include "rl/kinematics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"
#include "rl/jog.hpp"

namespace {

constexpr double kDegree = M_PI / 180;
using Angles = std::array<double, 5>;

/// Joint degrees; then the tool in the base: x y z, quaternion w x y z. Computed by MuJoCo from the official
/// model.
struct Reference {
  Angles degrees;
  rl::Vec3 position;
  std::array<double, 4> quaternion;
};

constexpr std::array<Reference, 12> kReference{{
    {{0, 0, 0, 0, 0}, {0.3913619, -1.13e-05, 0.2264687}, {0.9997038, 0.0243374, 0, 0}},
    {{-110, 0, 0, 0, 0}, {-0.0817253, 0.3312705, 0.2264687}, {0.5734065, 0.0139593, 0.019936, 0.8189094}},
    {{0, -100, 0, 0, 0}, {-0.0949019, -1.13e-05, 0.4147551}, {0.6425972, 0.0156437, -0.7658175, 0.0186435}},
    {{0, 0, 0, 95, 0}, {0.2103857, -1.13e-05, 0.0764371}, {0.6753901, 0.0164421, 0.737059, -0.0179434}},
    {{0, -100, 90, 70, 0}, {0.1582311, -1.13e-05, 0.0113276}, {0.8657689, 0.0210768, 0.4998519, -0.0121687}},
    {{0, -31.5, 43, 77.3, 2.9},
     {0.1629561, -0.0004112, 0.0460546},
     {0.7144723, -0.0006913, 0.699663, 0.0006769}},
    {{0, -9.8, 41.3, 59, 2.8},
     {0.1861144, -0.0003974, 0.0070895},
     {0.7040147, -6.68e-05, 0.7101854, 6.74e-05}},
    {{97.5772, -28.1158, 55.1553, 17.3429, -63.0257},
     {0.0146001, -0.234814, 0.058561},
     {0.3577906, 0.5699701, -0.1695142, -0.7199896}},
    {{-1.7523, -54.1955, -78.7939, -77.6574, -88.1467},
     {-0.2386076, -0.0007595, 0.2192067},
     {0.1958239, 0.1780202, 0.6791783, -0.6846011}},
    {{-60.0506, 74.077, -4.456, 1.7826, 16.1645},
     {0.1614334, 0.208338, -0.1574372},
     {0.6642994, -0.3718995, 0.4544952, 0.4624188}},
    {{-15.296, -55.4774, 39.4859, 89.6849, 37.4909},
     {0.1562135, 0.0270693, 0.0910184},
     {0.7332333, -0.312705, 0.5355356, 0.2789016}},
    {{92.2781, 2.4769, 9.8347, -27.8905, -148.0856},
     {0.0288692, -0.3475757, 0.2534789},
     {0.2671997, 0.6398903, -0.7150333, -0.0887248}},
}};

Angles radians(const Angles& degrees) {
  Angles out = degrees;
  for (double& v : out) v *= kDegree;
  return out;
}

/// The angle between a rotation matrix and a quaternion.
double angle_between(const rl::Mat3& m, const std::array<double, 4>& q) {
  const auto [w, x, y, z] = q;
  const rl::Mat3 r{1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
                   2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                   2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
  double sum = 0;
  for (std::size_t k = 0; k < 9; ++k) sum += (m[k] - r[k]) * (m[k] - r[k]);
  return std::sqrt(sum / 2);
}

Angles somewhere(std::mt19937& random, double part) {
  const rl::Chain& arm = rl::so101_chain();
  Angles q{};
  for (std::size_t k = 0; k < 5; ++k)
    q[k] = std::uniform_real_distribution<double>(part * arm.low(k), part * arm.high(k))(random);
  return q;
}

struct Limits {
  Angles low{}, high{};
};
Limits limits_of_the_arm() {
  Limits out;
  for (std::size_t k = 0; k < 5; ++k) {
    out.low[k] = rl::so101_chain().low(k);
    out.high[k] = rl::so101_chain().high(k);
  }
  return out;
}

bool inside(const rl::Reach& reach, const Limits& limits) {
  for (std::size_t k = 0; k < 5; ++k) {
    if (!(reach.joints[k] >= limits.low[k] - 1e-12 && reach.joints[k] <= limits.high[k] + 1e-12))
      return false;
  }
  return true;
}

std::vector<rl::JogAxis> jog_axes() {
  std::vector<rl::JogAxis> axes(5, {-90, 90, 15});
  axes.push_back({0, 100, 15});
  return axes;
}

}  // namespace

TEST_CASE("the tool stands where the reference says, to 0.01 mm and 0.01 degrees") {
  for (const Reference& row : kReference) {
    const rl::Frame tool = rl::so101_chain().tool(radians(row.degrees));
    double off = 0;
    for (std::size_t k = 0; k < 3; ++k) off += std::pow(tool.origin[k] - row.position[k], 2);
    CHECK(std::sqrt(off) < 1e-5);
    CHECK(angle_between(tool.rotation, row.quaternion) < 0.01 * kDegree);
  }
}

TEST_CASE("the Jacobian is the slope of the forward kinematics") {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp)
  const rl::Chain& arm = rl::so101_chain();
  constexpr double kStep = 1e-6;
  for (int turn = 0; turn < 200; ++turn) {
    const Angles q = somewhere(random, 1);
    std::array<double, 30> jacobian{};
    arm.jacobian(q, jacobian);
    for (std::size_t k = 0; k < 5; ++k) {
      Angles after = q;
      Angles before = q;
      after[k] += kStep;
      before[k] -= kStep;
      const rl::Frame a = arm.tool(after);
      const rl::Frame b = arm.tool(before);
      for (std::size_t i = 0; i < 3; ++i)
        CHECK(std::abs((a.origin[i] - b.origin[i]) / (2 * kStep) - jacobian[i * 5 + k]) < 1e-7);
      // R' R^T is the cross product matrix of the angular velocity.
      const rl::Mat3 now = arm.tool(q).rotation;
      const auto spin = [&](std::size_t r, std::size_t c) {
        double sum = 0;
        for (std::size_t m = 0; m < 3; ++m)
          sum += (a.rotation[3 * r + m] - b.rotation[3 * r + m]) / (2 * kStep) * now[3 * c + m];
        return sum;
      };
      CHECK(std::abs(spin(2, 1) - jacobian[15 + k]) < 1e-7);
      CHECK(std::abs(spin(0, 2) - jacobian[20 + k]) < 1e-7);
      CHECK(std::abs(spin(1, 0) - jacobian[25 + k]) < 1e-7);
    }
  }
}

TEST_CASE("pitch counts the bent joints, roll the wrist, also straight down") {
  const rl::Chain& arm = rl::so101_chain();
  const double roll = arm.pose(Angles{}).roll;
  std::mt19937 random(11);  // NOLINT(cert-msc51-cpp)
  for (int turn = 0; turn < 200; ++turn) {
    const Angles q = somewhere(random, 1);
    const rl::Pose pose = arm.pose(q);
    CHECK(std::abs(std::remainder(pose.pitch - (q[1] + q[2] + q[3]), 2 * M_PI)) < 1e-6);
    CHECK(std::abs(std::remainder(pose.roll - (roll - q[4]), 2 * M_PI)) < 1e-6);
  }
  const rl::Pose down = arm.pose(Angles{0.3, 0.2, 0.4, M_PI / 2 - 0.6, 0.1});
  CHECK(std::abs(down.pitch - M_PI / 2) < 1e-6);
}

TEST_CASE("the inverse comes back to a pose from nearby, inside the limits") {
  std::mt19937 random(5);  // NOLINT(cert-msc51-cpp)
  std::normal_distribution<double> aside(0, 8 * kDegree);
  const Limits limits = limits_of_the_arm();
  int there = 0;
  constexpr int kTurns = 2000;
  for (int turn = 0; turn < kTurns; ++turn) {
    const Angles wanted = somewhere(random, 0.9);
    Angles seed = wanted;
    for (std::size_t k = 0; k < 5; ++k)
      seed[k] = std::clamp(seed[k] + aside(random), limits.low[k], limits.high[k]);
    const rl::Pose target = rl::so101_chain().pose(wanted);
    const rl::Reach found = rl::so101_chain().solve(target, seed, limits.low, limits.high);
    CHECK(inside(found, limits));
    if (found.reached(1e-5, 1e-4)) ++there;
  }
  CHECK(there >= kTurns * 99 / 100);
}

TEST_CASE("what cannot be reached ends at the nearest, inside the limits, and says what is left") {
  std::mt19937 random(6);  // NOLINT(cert-msc51-cpp)
  std::uniform_real_distribution<double> far(-2, 2);
  const Limits limits = limits_of_the_arm();
  for (int turn = 0; turn < 300; ++turn) {
    const rl::Pose target{{1 + far(random), far(random), far(random)}, 3 * far(random), 3 * far(random)};
    const rl::Reach found = rl::so101_chain().solve(target, somewhere(random, 1), limits.low, limits.high);
    CHECK(inside(found, limits));
    CHECK(std::isfinite(found.off_position) && found.rounds <= 60);
  }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const rl::Reach none =
      rl::so101_chain().solve({{nan, 0, 0}, 0, 0}, Angles{0.1, 0, 0, 0, 0}, limits.low, limits.high);
  CHECK(none.joints[0] == 0.1);
  CHECK(!none.reached(1e3, 1e3));
}

TEST_CASE("a seed beyond a limit only goes inward") {
  Limits limits = limits_of_the_arm();
  limits.high[1] = 0.2;
  const Angles outside{0, 0.5, 0, 0, 0};
  const rl::Pose target = rl::so101_chain().pose(Angles{0, 0.9, 0, 0, 0});
  CHECK(rl::so101_chain().solve(target, outside, limits.low, limits.high).joints[1] <= 0.5);
  const rl::Pose back = rl::so101_chain().pose(Angles{0, 0, 0.3, 0, 0});
  CHECK(rl::so101_chain().solve(back, outside, limits.low, limits.high).reached(1e-5, 1e-4));
}

TEST_CASE("a jog wishes nothing before it has seen the arm") {
  rl::Jog jog(jog_axes(), &rl::so101_chain());
  jog.move_joints(std::vector<double>(6, 50), 0.02);
  CHECK(!jog.placed());
  jog.place(std::vector<double>(6, std::numeric_limits<double>::quiet_NaN()));
  CHECK(!jog.placed());
  jog.see(std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(jog.placed() && jog.target()[2] == 3);
  jog.move_joints(std::vector<double>(6, 50), 0.02);
  jog.forget();
  CHECK(!jog.placed());
  jog.see(std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(jog.target()[2] == 3);
}

TEST_CASE("a jog stays within limits and leash, and from beyond them only comes back") {
  rl::Jog jog(jog_axes(), nullptr);
  jog.see(std::vector<double>{0, 80, 100, 0, 0, 50});
  const std::vector<double> speeds{100, 100, 100, -100, 0, std::numeric_limits<double>::infinity()};
  for (int turn = 0; turn < 100; ++turn) jog.move_joints(speeds, 0.02);
  CHECK(jog.target()[0] == 15);   // the leash
  CHECK(jog.target()[1] == 90);   // the limit
  CHECK(jog.target()[2] == 100);  // beyond it already: no farther
  CHECK(jog.target()[3] == -15);
  CHECK(jog.target()[4] == 0);
  CHECK(jog.target()[5] == 50);
  jog.move_joints(std::vector<double>{0, 0, -100, 0, 0, 0}, 0.02);
  CHECK(jog.target()[2] < 100);
  jog.move_joints(std::vector<double>{-6, 0, 0, 0, 0, 0}, 60);  // an absence is no long step
  CHECK(std::abs(jog.target()[0] - 14.4) < 1e-9);
}

TEST_CASE("speeds grow and fall without a step, and end at rest") {
  rl::Jog jog(jog_axes(), nullptr);
  jog.see(std::vector<double>(6, 0));
  const std::vector<double> rest(6, 0);
  std::vector<double> speeds(6, 0);
  speeds[0] = 60;
  double before = 0;
  double speed = 0;
  for (int turn = 0; turn < 40; ++turn) {
    jog.move_joints(turn < 12 ? speeds : rest, 0.01);
    const double now = (jog.target()[0] - before) / 0.01;
    CHECK(std::abs(now - speed) <= 6 + 1e-9);
    before = jog.target()[0];
    speed = now;
  }
  CHECK(before > 4);
  CHECK(std::abs(speed) < 1e-9);
}

TEST_CASE("the tool goes straight where it is pushed and keeps its pitch and roll") {
  rl::Jog jog(jog_axes(), &rl::so101_chain());
  std::vector<double> pose{10, -30, 40, 60, 5, 20};
  jog.see(pose);
  const rl::Pose from = jog.tool();
  const std::vector<double> others(6, 0);
  for (int turn = 0; turn < 50; ++turn) {
    CHECK(jog.move_tool({{0.05, 0, 0}, 0, 0}, others, 0.02));
    jog.see(jog.target());
  }
  const rl::Pose to = jog.tool();
  CHECK(std::abs(to.position[0] - from.position[0] - 0.05) < 3e-3);  // less what the start took
  CHECK(std::abs(to.position[1] - from.position[1]) < 1e-4 &&
        std::abs(to.position[2] - from.position[2]) < 1e-4);
  CHECK(std::abs(to.pitch - from.pitch) < 1e-3 && std::abs(to.roll - from.roll) < 1e-3);
}

TEST_CASE("at the edge of its reach the tool slides or stops, and comes back at once") {
  rl::Jog jog(jog_axes(), &rl::so101_chain());
  jog.see(std::vector<double>{0, -30, 40, 20, 0, 20});
  const std::vector<double> others(6, 0);
  bool stopped = false;
  for (int turn = 0; turn < 400; ++turn) {
    const std::vector<double> before(jog.target().begin(), jog.target().end());
    stopped = !jog.move_tool({{0.1, 0, 0}, 0, 0}, others, 0.02) || stopped;
    for (std::size_t k = 0; k < 6; ++k) {
      CHECK(std::abs(jog.target()[k] - before[k]) <= 120 * 0.02 + 1e-9);
      CHECK(std::abs(jog.target()[k]) <= (k == 5 ? 100 : 90) + 1e-9);
    }
    jog.see(jog.target());
  }
  CHECK(stopped);
  const double edge = jog.tool().position[0];
  CHECK(jog.move_tool({{-0.1, 0, 0}, 0, 0}, others, 0.02));
  CHECK(jog.tool().position[0] < edge);
}
