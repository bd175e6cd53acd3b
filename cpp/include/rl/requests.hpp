/// What the other side asks of the loop: single words, never a wait.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "rl/safety.hpp"

namespace rl {

/// Counters and flags that the loop polls once a tick. Any thread may ask; the loop alone takes.
/// Each is a single atomic word, so that a request is seen whole or not yet.
class Requests {
 public:
  void arm() noexcept { arm_.store(true, std::memory_order_release); }
  /// True when the loop had not taken the request: then it never will.
  [[nodiscard]] bool withdraw_arm() noexcept { return arm_.exchange(false, std::memory_order_acq_rel); }
  /// By the stop policy unless a stop is under way already: it never makes one harsher, so that a signal may
  /// ask for it in every process that it reaches. `at_once` is not taken back.
  void close(Closing closing) noexcept {
    Closing none = Closing::no;
    if (closing == Closing::at_once) {
      closing_.store(closing, std::memory_order_release);
    } else {
      closing_.compare_exchange_strong(none, closing, std::memory_order_acq_rel);
    }
  }
  void stop(StopPolicy policy) noexcept {
    policy_.store(policy, std::memory_order_relaxed);
    stop_.fetch_add(1, std::memory_order_release);
  }
  /// For another part of the robot that has to stop.
  void hold() noexcept { hold_.store(true, std::memory_order_release); }
  void estop() noexcept { estop_.store(true, std::memory_order_release); }
  void resume() noexcept { resume_.store(true, std::memory_order_release); }
  void reset() noexcept { reset_.store(true, std::memory_order_release); }
  void release() noexcept { release_.store(true, std::memory_order_release); }
  void beat(std::int64_t now) noexcept { beat_.store(now, std::memory_order_release); }

  /// An e-stop that the loop has not seen: it does not wait for its deadline then.
  [[nodiscard]] bool urgent() const noexcept { return estop_.load(std::memory_order_acquire); }
  /// A request to stop that the loop has not taken.
  [[nodiscard]] bool stop_asked() const noexcept {
    return stop_.load(std::memory_order_acquire) != stop_taken_;
  }
  [[nodiscard]] std::int64_t last_beat() const noexcept { return beat_.load(std::memory_order_acquire); }
  /// Loops slower than 50 Hz look for the source between their deadlines too: from `since` on, at the
  /// earliest; INT64_MAX: not at all.
  void watch_source(std::int64_t since) noexcept { watched_since_ = since; }
  [[nodiscard]] bool source_silent(std::int64_t now, std::int64_t timeout) const noexcept {
    return watched_since_ != INT64_MAX && now - std::max(last_beat(), watched_since_) > timeout;
  }
  /// True once for each request. The loop only.
  [[nodiscard]] bool take_arm() noexcept {
    return arm_.load(std::memory_order_relaxed) && arm_.exchange(false, std::memory_order_acq_rel);
  }
  void take(Events& events) noexcept {
    const std::uint32_t stops = stop_.load(std::memory_order_acquire);
    events.stop_requests = static_cast<int>(stops - stop_taken_);
    stop_taken_ = stops;
    events.stop_policy = policy_.load(std::memory_order_relaxed);
    events.closing = closing_.load(std::memory_order_acquire);
    // Remembered before it is taken: this process may die between the two.
    if (estop_.load(std::memory_order_acquire)) estopped_.store(true, std::memory_order_release);
    events.estop = estop_.exchange(false, std::memory_order_acq_rel);
    events.coupled = hold_.exchange(false, std::memory_order_acq_rel);
    events.resume = resume_.exchange(false, std::memory_order_acq_rel);
    events.reset = reset_.exchange(false, std::memory_order_acq_rel);
    events.release = release_.exchange(false, std::memory_order_acq_rel);
    if (events.estop) estopped_.store(true, std::memory_order_release);
  }
  /// `on`: an arm is in ESTOP now.
  void keep_estop(bool on) noexcept { estopped_.store(on, std::memory_order_release); }
  /// An e-stop was asked for, taken or not, and not reset since: whoever takes over from a loop that died in
  /// its midst moves nothing.
  [[nodiscard]] bool estopped() const noexcept {
    return urgent() || estopped_.load(std::memory_order_acquire);
  }

 private:
  std::atomic<bool> arm_{false};
  std::atomic<Closing> closing_{Closing::no};
  std::atomic<std::uint32_t> stop_{0};
  std::atomic<StopPolicy> policy_{StopPolicy::rest};
  std::atomic<bool> hold_{false};
  std::atomic<bool> estop_{false};
  std::atomic<bool> estopped_{false};
  std::atomic<bool> resume_{false};
  std::atomic<bool> reset_{false};
  std::atomic<bool> release_{false};
  std::atomic<std::int64_t> beat_{0};
  std::uint32_t stop_taken_ = 0;  // the loop's own, as the next
  std::int64_t watched_since_ = INT64_MAX;
};

}  // namespace rl
