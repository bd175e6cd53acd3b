/// Campaigns on a line in virtual time: replies that are late, damaged, doubled or lost, and motors that are
/// silent. Short in the tests, long in the program `rl_line_soak`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "rl/control_loop.hpp"
#include "virtual_line.hpp"

namespace sim {

struct Soak {
  std::int64_t cycles = 0;
  std::int64_t replies = 0;
  std::int64_t struck = 0;     ///< replies that were late, damaged, doubled, lost, or had noise before them
  std::int64_t fresh = 0;      ///< values that the core took as this cycle's
  std::int64_t wrong = 0;      ///< of them: not what that servo gave in this cycle
  std::int64_t telling = 0;    ///< of them: different from what it gave in the cycle before, so that an old
                               ///< one would have been found
  std::int64_t oldest_ns = 0;  ///< largest age of any joint's value at the end of a cycle
  std::vector<std::int64_t> ages;  ///< of the oldest joint at the end of each cycle, ns
};

/// Reads the waving arm at `rate` Hz until the faults that are set have struck `struck` replies, or for
/// `cycles`.
inline Soak soak(WavingLine& arm, double rate, std::int64_t struck, std::int64_t cycles) {
  Soak found;
  const auto period = static_cast<std::int64_t>(1e9 / rate);
  std::array<int, rl::emulator::kJoints> before{};
  std::int64_t now = rl::kSecond;
  const auto& counted = arm.line.statistics();
  const auto hits = [&counted] {
    return counted.late + counted.corrupted + counted.duplicated + counted.dropped + counted.noisy;
  };
  for (; hits() < struck && found.cycles < cycles; now += period, ++found.cycles) {
    const std::int64_t end = arm.line.cycle(now, rl::read_budget(period));
    std::int64_t age = 0;
    for (std::size_t j = 0; j < rl::emulator::kJoints; ++j) {
      const rl::JointState& joint = arm.line.chain().joints()[j];
      age = std::max(age, end - (joint.captured == 0 ? rl::kSecond : joint.captured));
      if (!joint.fresh) continue;
      ++found.fresh;
      found.telling += joint.raw != before[j] ? 1 : 0;
      found.wrong += arm.line.gave(j, joint.raw) ? 0 : 1;
      before[j] = joint.raw;
    }
    found.ages.push_back(age);
    found.oldest_ns = std::max(found.oldest_ns, age);
  }
  found.replies = counted.replies;
  found.struck = hits();
  return found;
}

/// Late by 3 to 100 ms, damaged, doubled, noise before them: `rate` of the replies each.
inline void strike(WavingLine& arm, double rate) {
  arm.line.faults.set("late", {{"rate", rate}, {"ms", 3.0}, {"most_ms", 100.0}});
  arm.line.faults.set("corrupt", {{"rate", rate}});
  arm.line.faults.set("duplicate", {{"rate", rate}});
  arm.line.faults.set("noise", {{"rate", rate}});
}

}  // namespace sim
