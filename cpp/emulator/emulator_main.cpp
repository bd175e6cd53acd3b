/// `rl_emulator [follower|leader] [--wave] [--profile NAME] [--seed N] [--lag S]`: prints the port and runs
/// until SIGINT or SIGTERM, then prints what happened on the bus.

#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "emulator.hpp"

namespace {

rl::emulator::Options parse(const std::vector<std::string>& words) {
  rl::emulator::Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == words.size()) throw std::invalid_argument(word + " needs a value");
      return words[++i];
    };
    if (word == "follower" || word == "leader") {
      options.kind = rl::emulator::kind_named("so101-" + word);
    } else if (word == "--wave") {
      options.wave = true;
    } else if (word == "--profile") {
      options.adapter = rl::emulator::adapter_named(value());
    } else if (word == "--seed") {
      options.seed = std::stoull(value());
    } else if (word == "--lag") {
      options.lag_s = std::stod(value());
    } else {
      throw std::invalid_argument("there is no option '" + word +
                                  "'; use follower, leader, --wave, --profile NAME, --seed N, --lag S");
    }
  }
  return options;
}

int run(const rl::emulator::Options& options) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);  // before the emulator's thread: signals are waited for here
  rl::emulator::Emulator emulator(options);
  std::printf("%s\n", emulator.port().c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&ends, &signal);
  emulator.close();
  for (const auto& [name, count] : emulator.statistics()) {
    if (count != 0) std::fprintf(stderr, "%s %lld\n", name.c_str(), static_cast<long long>(count));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  rl::emulator::Options options;
  try {
    options = parse({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rl_emulator: %s\n", error.what());
    return 2;
  }
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rl_emulator: %s\n", error.what());
    return 1;
  }
}
