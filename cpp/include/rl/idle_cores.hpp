/// How deeply cores may sleep while a loop runs.
#pragma once

#include <string>

namespace rl {

/// A core that slept wakes up late: by microseconds on a board or a PC, by milliseconds in a virtual machine
/// whose host gives a sleeping core away. As long as this lives, idle cores of the machine wait awake (the
/// kernel's PM QoS: 0 us of wake-up latency), at the price of their power.
class IdleCores {
 public:
  IdleCores() = default;
  IdleCores(const IdleCores&) = delete;
  IdleCores& operator=(const IdleCores&) = delete;
  ~IdleCores();

  /// Says what it did, for people. `device`: another one in tests.
  [[nodiscard]] std::string keep_awake(const char* device = "/dev/cpu_dma_latency");

 private:
  int descriptor_ = -1;  ///< the kernel forgets the request with it
};

}  // namespace rl
