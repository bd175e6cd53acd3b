/// Whether idle cores are asked to wait awake, and what is said when they are not.
#include "rl/idle_cores.hpp"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include "check.hpp"

TEST_CASE("no wake-up latency is asked for, as the kernel reads it") {
  std::string path("/tmp/rl-latency-XXXXXX");
  const int file = ::mkstemp(path.data());
  CHECK(file >= 0);
  rl::IdleCores cores;
  CHECK(cores.keep_awake(path.c_str()) == "idle cores wait awake");
  std::array<char, 8> written{1, 1, 1, 1, 1, 1, 1, 1};
  CHECK(::read(file, written.data(), written.size()) == 4);  // a word, not a line of text
  for (std::size_t i = 0; i < 4; ++i) CHECK(written[i] == 0);
  ::close(file);
  ::unlink(path.c_str());
}

TEST_CASE("a system that does not let cores wait awake is reported") {
  rl::IdleCores cores;
  CHECK(cores.keep_awake("/tmp/there-is-no-such-device") ==
        "idle cores may sleep and wake up late: there is no /tmp/there-is-no-such-device here");
  CHECK(cores.keep_awake("/dev/full") == "idle cores may sleep and wake up late: the system refused");
}
