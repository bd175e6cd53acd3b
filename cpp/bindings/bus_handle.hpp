#pragma once

#include <memory>

#include "rl/bus_group.hpp"

/// What Python holds: a way to the house's chain, never its descriptor.
struct BusHandle {
  std::shared_ptr<rl::SharedChain> shared;
};
