/// `rl-guardian N`: started by a session with the descriptor of its shared memory; of no use by hand.
#include <pthread.h>

#include <charconv>
#include <cstddef>
#include <cstdio>
#include <string_view>

#include "rl/guardian.hpp"

namespace {

/// Stacks are locked with the rest: eight megabytes of each thread are time at the start. A sanitizer keeps
/// more than this in each thread.
void small_stacks() {
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
  constexpr std::size_t kBytes = std::size_t{512} * 1024;
  pthread_attr_t usual;
  ::pthread_attr_init(&usual);
  ::pthread_attr_setstacksize(&usual, kBytes);
  static_cast<void>(::pthread_setattr_default_np(&usual));  // refused: they are as large as ever
  ::pthread_attr_destroy(&usual);
#endif
}

}  // namespace

int main(int count, char* const* words) {
  int descriptor = -1;
  if (count == 2) {
    const std::string_view text = words[1];
    std::from_chars(text.data(), text.data() + text.size(), descriptor);
  }
  if (descriptor < 0) {
    std::fputs("rl-guardian is started by rl itself; try `rl teleop --help`\n", stderr);
    return 2;
  }
  small_stacks();
  return rl::run_guardian(descriptor);
}
