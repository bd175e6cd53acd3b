#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

/// The servo's side of the wire: what a request is and what a reply looks like. Written from the protocol's
/// tables alone; nothing here is shared with the host's encoder and parser, so the two check each other.
namespace rl::emulator {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t kBroadcast = 0xFE;
constexpr unsigned kUsualRate = 1'000'000;
constexpr std::int64_t kByteNs = 10'000;  ///< ten bit times at the usual rate
/// Ten bit times at `rate` bit/s; as at the usual rate when that is 0.
[[nodiscard]] constexpr std::int64_t byte_ns(unsigned rate) {
  return rate == 0 ? kByteNs : 10'000'000'000 / rate;
}

enum class Instruction : std::uint8_t {
  ping = 0x01,
  read = 0x02,
  write = 0x03,
  reg_write = 0x04,
  action = 0x05,
  recovery = 0x06,
  reboot = 0x08,
  reset_turns = 0x0A,
  sync_read = 0x82,
  sync_write = 0x83,
};

/// One sound request and the instant (monotonic ns) at which its last byte had crossed the wire.
struct Request {
  std::uint8_t id = 0;
  Instruction instruction = Instruction::ping;
  Bytes parameters;
  std::int64_t arrived = 0;
  unsigned rate = kUsualRate;  ///< bit/s at which the host sent it
};

/// FF FF id length status parameters... checksum.
[[nodiscard]] Bytes status_packet(std::uint8_t id, std::uint8_t status,
                                  std::span<const std::uint8_t> parameters);

/// Cuts the stream from the host into requests, each byte with the time at which the wire carried it.
class RequestReader {
 public:
  /// Takes bytes whose first one crosses the wire from `start` on. A request that was left unfinished for
  /// longer than `kPatienceNs` is forgotten: the servo does not wait for its end for ever. So is one whose
  /// rest comes at another rate.
  void feed(std::span<const std::uint8_t> bytes, std::int64_t start, unsigned rate = kUsualRate);

  void forget() { pending_.clear(); }  ///< what was heard of an unfinished request

  /// The next whole request with a right checksum, or nothing.
  [[nodiscard]] std::optional<Request> next();

  [[nodiscard]] std::int64_t checksum_errors() const { return checksum_errors_; }
  [[nodiscard]] std::int64_t noise_bytes() const { return noise_bytes_; }
  [[nodiscard]] std::int64_t truncated() const { return truncated_; }

 private:
  static constexpr std::int64_t kPatienceNs = 5'000'000;

  struct TimedByte {
    std::uint8_t value = 0;
    std::int64_t at = 0;
  };

  void skip_noise();
  [[nodiscard]] bool checksum_holds(std::size_t total) const;

  std::deque<TimedByte> pending_;
  unsigned rate_ = kUsualRate;
  std::int64_t checksum_errors_ = 0;
  std::int64_t noise_bytes_ = 0;
  std::int64_t truncated_ = 0;
};

}  // namespace rl::emulator
