/// On which core a loop's thread runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rl/session_watch.hpp"

namespace rl {

/// The numbers of a list as the kernel writes it, `2-3,6`; what is no number is left out.
[[nodiscard]] std::vector<int> cores_in(std::string_view list);
/// The cores that a loop may be pinned to, best first: the isolated ones, then the allowed ones from the
/// last. Never the first, which takes most interrupts. None where no more than two are allowed: the rest of
/// the session needs them.
[[nodiscard]] std::vector<int> cores_for_loop(const std::vector<int>& allowed,
                                              const std::vector<int>& isolated);

/// The calling thread on a core of its own; several loops of a machine take different ones. Does not pin a
/// thread that the scheduler may push aside: it is better off where there is room.
class CorePin {
 public:
  /// Says what it did, for people.
  [[nodiscard]] std::string pin(bool realtime);

 private:
  NamedSocket taken_;  ///< the core's name, as long as this lives
};

}  // namespace rl
