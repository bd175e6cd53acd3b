#include "rl/session_plan.hpp"

namespace rl {

ChainPlan ChainPlan::of(const ChainConfig& config, std::size_t begin, bool leader) {
  ChainPlan out;
  out.begin = begin;
  out.leader = leader;
  out.port = std::string_view(config.port);
  out.model = std::string_view(config.model);
  out.baud = config.baud;
  out.energise = config.energise;
  for (const JointCalibration& joint : config.joints) {
    out.joints.push_back({std::string_view(joint.name), joint.id, joint.drive_mode, joint.homing_offset,
                          joint.range_min, joint.range_max, joint.mode});
  }
  return out;
}

ChainConfig ChainPlan::config() const {
  ChainConfig out;
  out.port = port.string();
  out.model = model.string();
  out.baud = baud;
  out.energise = energise;
  for (const JointPlan& joint : joints) {
    out.joints.push_back({joint.name.string(), joint.id, joint.drive_mode, joint.homing_offset,
                          joint.range_min, joint.range_max, joint.mode});
  }
  return out;
}

}  // namespace rl
