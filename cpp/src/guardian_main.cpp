/// `rl-guardian N`: started by a session with the descriptor of its shared memory; of no use by hand.
#include <charconv>
#include <cstdio>
#include <string_view>

#include "rl/guardian.hpp"

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
  return rl::run_guardian(descriptor);
}
