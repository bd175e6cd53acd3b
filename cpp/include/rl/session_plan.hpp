/// What a house is told before it starts: numbers and names of fixed size, so that a guardian reads them from
/// shared memory.
#pragma once

#include <type_traits>
#include <vector>

#include "rl/bounded_list.hpp"
#include "rl/planner.hpp"
#include "rl/servo_chain.hpp"
#include "rl/text.hpp"

namespace rl {

struct HouseConfig {
  double rate_hz = 50;
  bool realtime = true;
  double duration_s = 0;
  PlannerConfig planner;
  Text<1024> guardian;  ///< its executable; empty: the loop is a thread of this process
  Text<512>
      black_boxes;  ///< folder, made when it is not there, for the last cycles before a fault; empty: nowhere
};

struct JointPlan {
  Text<64> name;
  int id = 0;
  int drive_mode = 0;
  int homing_offset = 0;
  int range_min = 0;
  int range_max = 0;
  UnitMode mode = UnitMode::degrees;
};

/// One chain and its part of the action vector.
struct ChainPlan {
  std::size_t begin = 0;
  bool leader = false;
  Text<512> port;
  Text<32> model;
  unsigned baud = 0;
  bool energise = true;
  BoundedList<JointPlan, kMostJoints> joints;

  [[nodiscard]] static ChainPlan of(const ChainConfig& config, std::size_t begin, bool leader);
  [[nodiscard]] ChainConfig config() const;
};

struct SessionPlan {
  HouseConfig house;
  BoundedList<ChainPlan, kMostChains> chains;
};
static_assert(std::is_trivially_copyable_v<SessionPlan>);

}  // namespace rl
