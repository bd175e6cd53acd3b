/// The core's reading cycle on emulated servos in virtual time, in the volumes that a wire would need hours
/// for.
///
///   rl_line_soak STRUCK HOURS SEED
///
/// Reads a waving arm at 200 Hz until STRUCK replies were late, damaged, doubled or preceded by noise; then
/// for HOURS at 50 Hz with one reply in a hundred lost. Prints lines "NAME VALUE"; ages in ms.
#include "line_soak.hpp"

#include <cstdio>
#include <cstdlib>

namespace {

double quantile(std::vector<std::int64_t> ages, double q) {
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(ages.size() - 1));
  std::nth_element(ages.begin(), ages.begin() + at, ages.end());
  return static_cast<double>(ages[static_cast<std::size_t>(at)]) / 1e6;
}

void print(const char* what, const sim::Soak& found) {
  std::printf("%s_cycles %lld\n%s_replies %lld\n%s_struck %lld\n", what, static_cast<long long>(found.cycles),
              what, static_cast<long long>(found.replies), what, static_cast<long long>(found.struck));
  std::printf("%s_fresh %lld\n%s_telling %lld\n%s_wrong %lld\n", what, static_cast<long long>(found.fresh),
              what, static_cast<long long>(found.telling), what, static_cast<long long>(found.wrong));
  std::printf("%s_age_p99.9 %.3f\n%s_age_max %.3f\n", what, quantile(found.ages, 0.999), what,
              static_cast<double>(found.oldest_ns) / 1e6);
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) {
    std::fprintf(stderr, "usage: rl_line_soak STRUCK HOURS SEED\n");
    return 2;
  }
  const std::int64_t struck = std::atoll(words[1]);
  const double hours = std::atof(words[2]);
  const auto seed = static_cast<std::uint64_t>(std::atoll(words[3]));
  {
    sim::WavingLine arm(seed);
    sim::strike(arm, 0.1);
    print("late", sim::soak(arm, 200, struck, INT64_MAX));
  }
  sim::WavingLine arm(seed + 1);
  arm.line.faults.set("drop", {{"rate", 0.01}});
  print("loss", sim::soak(arm, 50, INT64_MAX, static_cast<std::int64_t>(hours * 180'000)));
  return 0;
}
