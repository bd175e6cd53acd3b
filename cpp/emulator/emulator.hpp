#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "arm.hpp"
#include "chain.hpp"
#include "faults.hpp"
#include "pty.hpp"
#include "statistics.hpp"
#include "wire.hpp"

namespace rl::emulator {

[[nodiscard]] std::int64_t monotonic_ns();

/// How the adapter between host and wire passes bytes on.
struct Adapter {
  int usb_us =
      125;  ///< it takes and hands over bytes on this grid; 0: takes them at once, gives whole packets
  int hold_us = 0;  ///< it keeps replies until 62 bytes are there or so long after the first; 0: it does not
};

/// wire (no adapter), usb (125 us), usb-1ms, ftdi-1ms, ftdi-16ms (latency timer). std::invalid_argument
/// otherwise.
[[nodiscard]] Adapter adapter_named(const std::string& name);

struct Options {
  Kind kind = Kind::follower;
  bool wave = false;  ///< leader only: moves by itself along `wave_pose`
  Adapter adapter;
  std::uint64_t seed = 0;  ///< of the faults
  double lag_s = 0.06;     ///< of a body behind its servo's set point
};

/// Bytes on their way to the host: a whole packet, or a piece of one.
struct Piece {
  Bytes bytes;
  bool whole = true;
  bool last = true;  ///< of its packet
};

/// A chain of six STS3215 behind a pseudo-terminal, in real time: a request is complete when its bytes have
/// crossed the wire (10 us each from the instant at which the first one came), and an answer reaches the host
/// when it has crossed the wire back and the adapter's next USB slot has come.
///
/// One thread of its own; it sleeps in `ppoll` when nothing is under way. Every public call may come from any
/// thread. Not copyable, not movable.
class Emulator {
 public:
  /// std::invalid_argument for an option out of range, std::system_error without a pseudo-terminal.
  explicit Emulator(const Options& options);
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  [[nodiscard]] std::string port() const;  ///< where it is plugged in, or was last
  [[nodiscard]] const Joints& joints() const { return joints_of(options_.kind); }
  [[nodiscard]] std::int64_t started() const { return started_; }  ///< monotonic ns: the wave's time zero

  [[nodiscard]] Pose rest_pose(Unit body) const { return pose_at(0.0, body); }
  /// The pose of the leader at seconds since `started`; without the wave the rest pose.
  [[nodiscard]] Pose wave_at(double seconds, Unit body) const;

  [[nodiscard]] std::vector<std::int64_t> goal_times() const;
  [[nodiscard]] std::vector<Goals> goals() const;
  [[nodiscard]] std::array<int, kJoints> positions();  ///< Present_Position of each, now
  /// Ids 1..6 are places in the chain, also after an id register was written. std::invalid_argument
  /// otherwise.
  [[nodiscard]] Bytes registers(int id);
  void set_register(int id, int address, std::span<const std::uint8_t> data);
  /// A hand puts a joint to a place of its encoder, steps 0 .. 4095 before any offset. With torque the servo
  /// brings it back.
  void carry(int id, double encoder);

  /// Those of `Faults`; mute, unmute (id), overload (id, on), reboot (id), twin (id, of: it takes the other's
  /// id), baud (id, code), model (id, number), stall (ms, both directions), echo (on), hangup, replug (the
  /// port comes back under another name). std::invalid_argument names what does not fit.
  void fault(const std::string& kind, const Fields& fields);

  [[nodiscard]] std::map<std::string, std::int64_t> statistics() const;

  void close();  ///< ends the thread; the host sees a hang-up. May be called twice.

 private:
  [[nodiscard]] Pose pose_at(double seconds, Unit body) const;
  [[nodiscard]] static std::size_t place_of(int id);
  [[nodiscard]] bool fault_of_servo(const std::string& kind, const Fields& fields);
  [[nodiscard]] bool fault_of_adapter(const std::string& kind, const Fields& fields);
  void start();
  void stop();
  void unplug();
  void plug_in();
  void run();
  void work(std::int64_t now);
  void wait();
  void listen(std::int64_t now);
  void reply(Answer answer);
  void hand_over(std::int64_t ready, Piece piece);
  void send_split(const Answer& answer, const Fate& fate);
  void pass_on(const Answer& answer);
  void collect(const Answer& answer);
  void flush(std::int64_t at, bool last);
  [[nodiscard]] std::int64_t next_slot(std::int64_t at) const;
  void deliver(std::int64_t now);
  [[nodiscard]] std::optional<std::int64_t> next_due() const;
  [[nodiscard]] bool listening(std::int64_t now) const;
  void wake() const;

  const Options options_;
  const std::int64_t started_;
  Pty pty_;
  Descriptor wake_;

  mutable std::mutex mutex_;  // guards everything down to the next blank line
  std::string port_;
  Chain chain_;
  RequestReader reader_;
  Faults faults_;
  std::deque<Request> requests_;                 // heard, their last byte still on the wire
  std::multimap<std::int64_t, Piece> outgoing_;  // by the instant at which the adapter hands them over
  bool midway_ = false;                          // the host has the beginning of a packet
  std::int64_t held_up_until_ = 0;               // by the second part of a split packet
  Bytes collected_;                              // by an adapter that waits for more
  std::int64_t collected_until_ = 0;
  std::int64_t host_line_free_ = 0;  // when the bytes heard so far have crossed the wire
  std::int64_t reply_line_free_ = 0;
  std::int64_t stalled_until_ = 0;
  bool echo_ = false;

  std::mutex lifecycle_;  // of the thread and the port
  bool closed_ = false;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace rl::emulator
