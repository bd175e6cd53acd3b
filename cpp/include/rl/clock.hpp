/// One clock for everything: CLOCK_MONOTONIC, nanoseconds in 64 bits.
#pragma once

#include <time.h>

#include <cstdint>

namespace rl {

constexpr std::int64_t kMicrosecond = 1'000;
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

inline std::int64_t now_ns() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::int64_t>(t.tv_sec) * kSecond + t.tv_nsec;
}

/// How long the machine was suspended since it started; the one clock stands still meanwhile. A process that
/// is held up between the two readings sees that as well.
inline std::int64_t suspended_ns() noexcept {
  const std::int64_t awake = now_ns();
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return static_cast<std::int64_t>(t.tv_sec) * kSecond + t.tv_nsec - awake;
}

/// Sleeps to an absolute instant. Never a slept remainder: an early wake-up (a signal) sleeps again.
inline void sleep_until_ns(std::int64_t deadline) noexcept {
  const timespec t{static_cast<time_t>(deadline / kSecond), static_cast<long>(deadline % kSecond)};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) != 0) {
    if (now_ns() >= deadline) return;
  }
}

}  // namespace rl
