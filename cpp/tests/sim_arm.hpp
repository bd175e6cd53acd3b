/// An emulated arm with a house for its loop, and patience for hosts that stop everything for a moment.
#pragma once

#include <array>
#include <utility>

#include "check.hpp"
#include "emulator.hpp"
#include "rl/loop_house.hpp"

namespace sim {

constexpr std::int64_t kPeriod = 20'000'000;

inline rl::ServoChain chain_of(const rl::emulator::Emulator& emulator, bool energise = true) {
  rl::ChainConfig config;
  config.port = emulator.port();
  config.energise = energise;
  for (const auto& joint : emulator.joints()) {
    const bool gripper = joint.id == 6;
    config.joints.push_back({std::string(joint.name), joint.id, 0, joint.homing_offset, joint.range_min,
                             joint.range_max, gripper ? rl::UnitMode::range_0_100 : rl::UnitMode::degrees});
  }
  auto made = rl::ServoChain::make(std::move(config));
  REQUIRE(made.ok());
  return std::move(made.value());
}

inline rl::BusPart part_of(const rl::emulator::Emulator& emulator, bool energise = true) {
  auto shared = std::make_shared<rl::SharedChain>(chain_of(emulator, energise));
  REQUIRE(shared->chain.open().ok());
  REQUIRE(shared->chain.configure().ok());
  return {0, shared};
}

inline rl::HouseConfig house_config(rl::SourceKind source) {
  rl::HouseConfig config;
  config.duration_s = 0.6;
  config.planner.source = source;
  config.planner.safety.soft_start = 200'000'000;
  config.planner.safety.heartbeat_timeout = 2'000'000'000;
  config.planner.safety.has_rest_pose = false;
  config.planner.safety.stop_policy = rl::StopPolicy::off;
  for (int k = 0; k < 6; ++k) {
    rl::PlannerAxis axis;
    axis.limits = {k == 5 ? 0.0 : -110.0, k == 5 ? 100.0 : 110.0, 240, 4000, 100'000};
    axis.soft_speed = 30;
    axis.jump = 5;
    config.planner.axes.push_back(axis);
  }
  return config;
}

constexpr std::int64_t kPatience = 30 * rl::kSecond;  // a shared host may stop a test for a while

/// True as soon as `condition` holds; a host that stops this process for a moment makes it later, not false.
template <typename Condition>
bool eventually(const Condition& condition) {
  const std::int64_t end = rl::now_ns() + kPatience;
  while (!condition() && rl::now_ns() < end) rl::sleep_until_ns(rl::now_ns() + rl::kMillisecond);
  return condition();
}

inline rl::State state_of(const rl::LoopHouse& house) {
  rl::Look look;
  look = house.look();
  return look.state;
}

/// Waits for the end as a session does: a HOLD that the host caused by stopping everything is resumed.
inline bool run_out(rl::LoopHouse& house) {
  const std::int64_t end = rl::now_ns() + kPatience;
  while (!house.wait(0.05) && rl::now_ns() < end) {
    if (state_of(house) == rl::State::hold) house.requests().resume();
  }
  return house.ended();
}

}  // namespace sim
