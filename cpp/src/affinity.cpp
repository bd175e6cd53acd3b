#include "rl/affinity.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>

namespace rl {
namespace {

constexpr std::size_t kTooFew = 2;

std::vector<int> allowed_cores() {
  std::vector<int> out;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::pthread_getaffinity_np(::pthread_self(), sizeof set, &set) != 0) return out;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<std::size_t>(core), &set)) out.push_back(core);
  }
  return out;
}

bool run_on(int core) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(core), &set);
  return ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set) == 0;
}

}  // namespace

std::vector<int> cores_in(std::string_view list) {
  std::vector<int> out;
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(part.size() + 1, list.size()));
    const char* const begin = std::to_address(part.begin());
    const char* const end = std::to_address(part.end());
    int first = 0;
    const auto begun = std::from_chars(begin, end, first);
    if (begun.ec != std::errc() || first < 0) continue;
    int last = first;
    if (begun.ptr != end && *begun.ptr == '-') std::from_chars(begun.ptr + 1, end, last);
    for (int core = first; core <= last && core < CPU_SETSIZE; ++core) out.push_back(core);
  }
  return out;
}

std::vector<int> cores_for_loop(const std::vector<int>& allowed, const std::vector<int>& isolated) {
  if (allowed.size() <= kTooFew) return {};
  std::vector<int> out(isolated.rbegin(), isolated.rend());
  for (std::size_t i = allowed.size(); i-- > 1;) {
    if (std::find(out.begin(), out.end(), allowed[i]) == out.end()) out.push_back(allowed[i]);
  }
  return out;
}

std::string CorePin::pin(bool realtime) {
  if (!realtime) return "not pinned to a core: no real-time priority";
  std::string list;
  std::ifstream("/sys/devices/system/cpu/isolated") >> list;
  const std::vector<int> allowed = allowed_cores();
  const std::vector<int> cores = cores_for_loop(allowed, cores_in(list));
  if (cores.empty()) return "not pinned to a core: only " + std::to_string(allowed.size()) + " cores";
  for (const int core : cores) {
    taken_ = NamedSocket::bind("rl-core-" + std::to_string(core));
    if (taken_.is_open() && run_on(core)) return "pinned to core " + std::to_string(core);
  }
  taken_ = {};
  return "not pinned to a core: each has a loop already";
}

}  // namespace rl
