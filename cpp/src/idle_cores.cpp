#include "rl/idle_cores.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace rl {

IdleCores::~IdleCores() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string IdleCores::keep_awake(const char* device) {
  if (descriptor_ < 0) descriptor_ = ::open(device, O_WRONLY | O_CLOEXEC);
  const int refused = errno;
  constexpr std::int32_t kMicroseconds = 0;
  if (descriptor_ >= 0 && ::write(descriptor_, &kMicroseconds, sizeof kMicroseconds) == sizeof kMicroseconds)
    return "idle cores wait awake";
  const std::string late = "idle cores may sleep and wake up late";
  if (descriptor_ < 0 && refused == EACCES)
    return late + R"(; allow it with a udev rule `KERNEL=="cpu_dma_latency", GROUP="realtime", MODE="0660"`)";
  if (descriptor_ < 0 && refused == ENOENT) return late + ": there is no " + device + " here";
  return late + ": the system refused";
}

}  // namespace rl
