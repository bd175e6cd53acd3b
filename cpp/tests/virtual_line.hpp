/// A chain of the core and emulated servos on a line whose clock is a number: what takes hours on a wire
/// takes seconds here, and no host is in the way. Bytes cross a socket pair inside one thread.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "chain.hpp"
#include "faults.hpp"
#include "rl/servo_chain.hpp"

namespace sim {

class VirtualLine {
 public:
  /// What the servos answer to a request, each packet with its time; as `emulator::Chain::execute`.
  using Servos =
      std::function<std::vector<rl::emulator::Answer>(const rl::emulator::Request&, std::int64_t wire_free)>;

  /// `word` finds the position that an answer carries.
  VirtualLine(rl::ChainConfig config, Servos servos, std::uint64_t seed,
              std::function<int(const rl::emulator::Bytes&)> word)
      : faults(seed), servos_(std::move(servos)), word_(std::move(word)), chain_(made(std::move(config))) {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_.data()) != 0)
      throw std::runtime_error("no socket pair");
    chain_.adopt(rl::SerialPort(ends_[0]));
  }
  ~VirtualLine() { ::close(ends_[1]); }
  VirtualLine(const VirtualLine&) = delete;
  VirtualLine& operator=(const VirtualLine&) = delete;

  /// One cycle at `now`, which never goes back; ns at which its read ended. A host that stands still looks at
  /// nothing for `blind` ns after the request.
  std::int64_t cycle(std::int64_t now, std::int64_t budget, std::int64_t blind = 0) {
    const std::int64_t sees = now + blind;
    for (auto& positions : sent_) positions.clear();
    deliver(now);  // what came while nobody read
    chain_.begin_cycle(now, now + budget);
    hear(now);
    while (chain_.active()) {
      const std::int64_t next = outgoing_.empty() ? INT64_MAX : outgoing_.begin()->first;
      now = std::max({now, sees, std::min(next, chain_.wait_until())});
      if (next <= now) {
        deliver(now);
        chain_.pump(now);
      }
      if (chain_.active()) chain_.expire(now);  // as the group of buses does after each wake-up
      hear(now);
    }
    return now;
  }

  [[nodiscard]] rl::ServoChain& chain() { return chain_; }
  /// Whether the servo of this joint gave that position in answer to a request of the latest cycle.
  [[nodiscard]] bool gave(std::size_t joint, int raw) const {
    const std::vector<int>& positions = sent_.at(joint);
    return std::find(positions.begin(), positions.end(), raw) != positions.end();
  }
  [[nodiscard]] const rl::emulator::Statistics& statistics() const { return statistics_; }

  rl::emulator::Faults faults;

 private:
  static rl::ServoChain made(rl::ChainConfig config) {
    auto chain = rl::ServoChain::make(std::move(config));
    if (!chain.ok()) throw std::runtime_error(chain.error().text);
    return std::move(chain.value());
  }

  void hear(std::int64_t now) {
    std::array<std::uint8_t, 512> buffer{};
    const ssize_t got = ::read(ends_[1], buffer.data(), buffer.size());
    if (got <= 0) return;
    host_free_ = std::max(now, host_free_);
    reader_.feed(std::span(buffer).first(static_cast<std::size_t>(got)), host_free_);
    host_free_ += got * rl::emulator::kByteNs;
    while (const auto request = reader_.next()) {
      for (rl::emulator::Answer& answer : servos_(*request, servos_free_)) reply(std::move(answer));
    }
  }

  void reply(rl::emulator::Answer answer) {
    servos_free_ = answer.end();
    ++statistics_.replies;
    constexpr std::size_t kWithPosition = 8;  // bytes; shorter ones answer a ping or a look at the torque
    if (answer.packet.size() >= kWithPosition) sent_.at(answer.id - 1U).push_back(word_(answer.packet));
    const rl::emulator::Fate fate = faults.strike(answer.id, answer.packet);
    statistics_.dropped += fate.dropped ? 1 : 0;
    statistics_.corrupted += fate.corrupted ? 1 : 0;
    statistics_.noisy += fate.noise > 0 ? 1 : 0;
    statistics_.late += fate.late_ns > 0 ? 1 : 0;
    statistics_.duplicated += fate.duplicated ? 1 : 0;
    if (fate.dropped) return;
    const std::int64_t end = answer.end() + fate.late_ns;
    if (fate.duplicated) outgoing_.emplace(end + rl::emulator::kByteNs, answer.packet);
    outgoing_.emplace(end, std::move(answer.packet));
  }

  void deliver(std::int64_t now) {
    while (!outgoing_.empty() && outgoing_.begin()->first <= now) {
      const rl::emulator::Bytes& packet = outgoing_.begin()->second;
      if (::write(ends_[1], packet.data(), packet.size()) != static_cast<ssize_t>(packet.size()))
        throw std::runtime_error("the socket pair is full");
      outgoing_.erase(outgoing_.begin());
    }
  }

  Servos servos_;
  std::function<int(const rl::emulator::Bytes&)> word_;
  rl::ServoChain chain_;
  std::array<int, 2> ends_{-1, -1};
  rl::emulator::RequestReader reader_;
  std::multimap<std::int64_t, rl::emulator::Bytes> outgoing_;
  std::array<std::vector<int>, rl::emulator::kJoints> sent_;
  rl::emulator::Statistics statistics_;
  std::int64_t host_free_ = 0;
  std::int64_t servos_free_ = 0;
};

/// The six joints of an emulated SO-101, as its calibration has them.
inline rl::ChainConfig six_joints(rl::emulator::Kind kind) {
  rl::ChainConfig config;
  config.port = "pair";
  config.energise = false;
  for (const auto& joint : rl::emulator::joints_of(kind))
    config.joints.push_back({joint.name, joint.id, 0, joint.homing_offset, joint.range_min, joint.range_max,
                             joint.id == 6 ? rl::UnitMode::range_0_100 : rl::UnitMode::degrees});
  return config;
}

/// A leader that waves by itself, read over and over.
class WavingLine {
 public:
  explicit WavingLine(std::uint64_t seed)
      : line(
            six_joints(rl::emulator::Kind::leader),
            [this](const auto& request, std::int64_t free) {
              const auto hesitation = hesitates > 0 ? static_cast<std::int64_t>(random_() % hesitates) : 0;
              return servos.execute(request, std::max(free, request.arrived + hesitation));
            },
            seed, [](const rl::emulator::Bytes& p) { return p.at(5) | (p.at(6) << 8); }) {}

  rl::emulator::Chain servos{rl::emulator::Kind::leader, true, 0.06, 1};
  VirtualLine line;
  std::uint64_t hesitates = 0;  ///< the adapter, with a whole answer, up to so many ns

 private:
  std::minstd_rand random_{1};
};

}  // namespace sim
