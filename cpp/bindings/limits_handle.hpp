#pragma once

#include <vector>

#include "rl/planner.hpp"

/// Limits as Python gives them: one entry for each element of the action vector.
struct Limits {
  std::vector<rl::PlannerAxis> axes;
};
