/// What the loop and everybody else share: words of fixed size without a pointer, so that the same block may
/// lie in one process (a thread's house) or in memory of three (guardian, second hand, session).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "rl/journal.hpp"
#include "rl/mailbox.hpp"
#include "rl/planner.hpp"
#include "rl/requests.hpp"
#include "rl/session_plan.hpp"
#include "rl/shared_memory.hpp"
#include "rl/text.hpp"
#include "rl/trouble.hpp"

namespace rl {

constexpr std::size_t kNotes = 24;

/// Where one arm of the robot is, and why.
struct ArmLook {
  State state = State::disarmed;
  Reason reason = Reason::none;
  int joint = -1;
};

/// Cycles that stay readable. Who reads them may stand still for a minute; each page of them is locked memory
/// that the guardian waits for at its start.
[[nodiscard]] constexpr std::size_t records_kept(std::int64_t period) noexcept {
  constexpr std::int64_t kMinute = 60'000'000'000;
  constexpr std::int64_t kFewest = 1 << 12;
  constexpr std::int64_t kMost = 1 << 16;
  return std::bit_ceil(
      static_cast<std::size_t>(std::clamp(kMinute / std::max<std::int64_t>(period, 1), kFewest, kMost)));
}

/// One consistent look. Fixed size, so that it can be copied word by word.
struct Look {
  State state = State::disarmed;  ///< of the arm that is worst off
  Reason reason = Reason::none;
  int joint = -1;
  BoundedList<ArmLook, kMostChains> arms;
  std::int64_t cycle = 0;
  std::int64_t active_cycles = 0;
  std::int64_t captured = 0;  ///< newest reply
  std::int64_t at = 0;
  std::int64_t first_goal = 0;
  std::uint64_t remaining = 0;
  std::uint64_t missing = 0;
  std::uint64_t warm = 0;           ///< bit k: joint k, as in Plan
  std::uint64_t low_voltage = 0;    ///< bit k: joint k, as in Plan
  std::uint64_t silent = 0;         ///< bit k: joint k's position is stale, or is at the next deadline
  std::uint64_t leader_silent = 0;  ///< bit k: nothing of late from the leader's joint that axis k follows
  AxisVector values{};
  AxisVector age{};
  AxisVector goal{};
  AxisVector requested{};
  std::array<std::uint8_t, kMostAxes> alarms{};
  std::array<std::uint8_t, kMostAxes> load{};         ///< % of the full duty
  std::array<std::uint8_t, kMostAxes> temperature{};  ///< deg C; 0: not known
};

/// Why an arm request was refused, for the one who asked. Written by the loop, then `answers` is raised.
struct ArmAnswer {
  bool armed = false;
  bool wrong_state = false;
  bool unguarded = false;
  State state = State::disarmed;
  std::size_t part = 0;
  Trouble trouble;
};

/// What the buses of a loop say of themselves.
struct BusBoard {
  ArmAnswer answer;
  std::atomic<std::uint32_t> answers{0};
  std::atomic<std::int64_t> first_goal{0};  ///< when the first goal of the session left, ns; 0 before
  Seqlock<AxisVector> goal;                 ///< the last one that was, or is about to be, on the wire
  std::atomic<std::uint64_t> energised{0};  ///< bit k: the motor of axis k has torque as far as is known
};

// NOLINTNEXTLINE(performance-enum-size): a futex is a word of 32 bits
enum class Phase : std::uint32_t { made, running, refused, ended };

struct Note {
  Text<256> text;
  std::atomic<bool> ready{false};
};

/// How the loop's house stands.
struct HouseBoard {
  std::atomic<Phase> phase{Phase::made};
  std::atomic<int> exit_code{0};
  std::atomic<std::uint32_t> notes{0};  ///< begun
  std::array<Note, kNotes> note{};      ///< real-time permission, adapters, black boxes
  Text<512> refusal;                    ///< why the house did not start
  std::atomic<ErrorCode> refusal_code{ErrorCode::usage};

  void add_note(std::string_view text) noexcept {
    const std::uint32_t n = notes.fetch_add(1, std::memory_order_relaxed);  // guardian and second hand write
    if (n >= kNotes) return;
    note[n].text = text;
    note[n].ready.store(true, std::memory_order_release);
  }
};

/// Signs of life across processes, ns of the one clock; 0: never.
struct Beats {
  std::atomic<std::int64_t> loop{0};
  std::atomic<std::int64_t> busy_until{0};  ///< arming and releasing talk to one motor after another
  std::atomic<std::int64_t> second_hand{0};
  std::atomic<int> guardian{0};      ///< its process id
  std::atomic<bool> guarded{false};  ///< there is to be a second hand

  /// The second hand that should be there is dead or stopped.
  [[nodiscard]] bool unguarded(std::int64_t now) const noexcept {
    constexpr std::int64_t kSilent = 500'000'000;
    return guarded.load(std::memory_order_relaxed) &&
           now - second_hand.load(std::memory_order_acquire) > kSilent;
  }
};

struct SharedLoop {
  SessionPlan plan;
  Requests requests;
  Tally tally;
  ChunkRing chunks;
  JournalBoard journal;
  Seqlock<Look> look;
  BusBoard bus;
  HouseBoard house;
  Beats beats;
};

/// A SharedLoop with its ring of records, in memory that a guardian can map too.
class LoopMemory {
 public:
  /// io error when the system gives no memory.
  static Result<LoopMemory> make(const SessionPlan& plan);
  /// What another process of this very build has made. usage error when it is anything else.
  static Result<LoopMemory> attach(int descriptor);

  [[nodiscard]] SharedLoop& shared() const noexcept { return *shared_; }
  [[nodiscard]] RecordRing records() const noexcept {
    const PlannerConfig& planner = shared_->plan.house.planner;
    return {records_kept(planner.period), planner.axes.size(), records_, shared_->journal.records};
  }
  [[nodiscard]] int descriptor() const noexcept { return memory_.descriptor(); }

 private:
  SharedMemory memory_;
  SharedLoop* shared_ = nullptr;
  RecordRing::Word* records_ = nullptr;
};

}  // namespace rl
