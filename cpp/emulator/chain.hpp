#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "arm.hpp"
#include "goal_log.hpp"
#include "servo.hpp"
#include "statistics.hpp"
#include "wire.hpp"

namespace rl::emulator {

/// One status packet and the instant at which its first byte begins to cross the wire.
struct Answer {
  std::uint8_t id = 0;
  Bytes packet;
  std::int64_t start = 0;
  std::int64_t byte = kByteNs;  ///< ns that each byte takes

  [[nodiscard]] std::int64_t end() const { return start + byte * static_cast<std::int64_t>(packet.size()); }
};

/// Six servos on one wire: carries out requests and says what they answer and when. No thread, no descriptor:
/// times come in as arguments, so it can be tested alone.
class Chain {
 public:
  static constexpr std::int64_t kProcessingNs = 20'000;  ///< of each servo before it answers
  static constexpr std::int64_t kFlashNs = 3'000'000;    ///< more when it stored something

  /// An arm as it is after its set-up: calibrated, in position mode, at its start pose, torque off.
  /// `started`: monotonic ns of the wave's time zero; only used when `wave`.
  Chain(Kind kind, bool wave, double lag_s, std::int64_t started);

  /// Carries out one request; the wire is free for answers from `wire_free` on. Answers in order of time.
  [[nodiscard]] std::vector<Answer> execute(const Request& request, std::int64_t wire_free);

  void advance(std::int64_t now);  ///< moves every body to `now`
  [[nodiscard]] Servo& servo(std::size_t place) { return servos_.at(place); }
  [[nodiscard]] const Servo& servo(std::size_t place) const { return servos_.at(place); }
  void mute(std::size_t place, bool on) {
    muted_.at(place) = on;
  }  ///< loose cable: neither hears nor answers
  void restart(std::size_t place, std::int64_t now);  ///< its supply broke down for a moment
  [[nodiscard]] const GoalLog& goals() const { return goals_; }
  [[nodiscard]] const Joints& joints() const { return joints_; }
  [[nodiscard]] Statistics& statistics() { return statistics_; }
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }

 private:
  void move(std::size_t place, std::int64_t now);
  void set_up(std::size_t place, double steps);
  [[nodiscard]] bool hears(std::size_t place, const Request& request) const;
  [[nodiscard]] std::array<std::size_t, kJoints> by_id() const;
  [[nodiscard]] Outcome obey(std::size_t place, const Request& request);
  void sync_read(const Request& request);
  void sync_write(const Request& request);
  void addressed(const Request& request);
  void answer(std::size_t place, const Outcome& outcome);
  void count(const Request& request);
  void count_stored(const Outcome& outcome);
  void note_goals(const Request& request);

  Joints joints_;
  std::array<Servo, kJoints> servos_;
  std::array<bool, kJoints> muted_{};
  bool wave_;
  std::int64_t started_;
  Goals written_{};  // the newest goals on the wire, whoever heard them
  GoalLog goals_;
  Statistics statistics_;
  // While a request is carried out: when the wire is free, ns a byte, the answers, and the first of those
  // that servos of one id give at once.
  std::int64_t clock_ = 0;
  std::int64_t byte_ = kByteNs;
  std::vector<Answer> answers_;
  std::size_t together_ = 0;
};

}  // namespace rl::emulator
