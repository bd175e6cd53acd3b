/// Packets of the Feetech serial protocols, as pure functions over spans.
///
/// FF FF | id | length | instruction or status | parameters... | checksum. `length` counts what follows it;
/// the checksum is the complement of the sum from `id` on. Layout and checksum are the same on STS (protocol
/// 0, words little-endian) and SCS (protocol 1, words big-endian).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace rl {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t kBroadcast = 0xFE;
constexpr std::uint8_t kLargestId = 0xFD;
constexpr std::uint8_t kLargestStatus = 0x7F;  ///< bits above are not defined: such a packet is damaged
constexpr std::size_t kLargestPacket = 250;    ///< what the vendor's own code accepts

enum class Instruction : std::uint8_t {
  ping = 0x01,
  read = 0x02,
  write = 0x03,
  reg_write = 0x04,
  action = 0x05,
  recovery = 0x06,
  reboot = 0x08,
  sync_read = 0x82,
  sync_write = 0x83,
};

/// A status packet. `params` points into the bytes given to `parse_packet`.
struct Packet {
  std::uint8_t id = 0;
  std::uint8_t error = 0;  ///< bit field of the servo: voltage, encoder, heat, current, angle, overload
  Bytes params;
};

enum class ParseKind : std::uint8_t { need_more, noise, corrupt, packet };

/// What the first bytes of a stream are. The caller drops `consumed` bytes and asks again.
struct Parsed {
  ParseKind kind = ParseKind::need_more;
  std::size_t consumed = 0;
  Packet packet;  ///< only meaningful when kind == packet
};

[[nodiscard]] constexpr std::uint8_t checksum(Bytes after_header) noexcept {
  unsigned sum = 0;
  for (const std::uint8_t byte : after_header) sum += byte;
  return static_cast<std::uint8_t>(~sum & 0xFFU);
}

/// Looks at the head of `input`. Pure: no state, no allocation, never reads past the span.
/// A failed packet costs one byte (its first FF), not the declared length: the length may be the damage.
[[nodiscard]] constexpr Parsed parse_packet(Bytes input) noexcept {
  constexpr std::size_t kHeader = 2;
  constexpr std::size_t kSmallest = 6;
  std::size_t skip = 0;
  while (skip < input.size() &&
         !(input[skip] == 0xFF && (skip + 1 == input.size() || input[skip + 1] == 0xFF))) {
    ++skip;
  }
  if (skip > 0) return {ParseKind::noise, skip, {}};
  if (input.size() >= 3 && input[2] == 0xFF) return {ParseKind::noise, 1, {}};  // the header starts one later
  if (input.size() < 4) return {ParseKind::need_more, 0, {}};

  const std::size_t length = input[3];
  const std::size_t total = length + 4;
  if (total < kSmallest) return {ParseKind::corrupt, 1, {}};
  if (input.size() < total) return {ParseKind::need_more, 0, {}};
  if (input[total - 1] != checksum(input.subspan(kHeader, total - kHeader - 1))) {
    return {ParseKind::corrupt, 1, {}};
  }
  return {ParseKind::packet, total, {input[2], input[4], input.subspan(5, length - 2)}};
}

/// A request, ready to be written in one piece. Empty when its content does not fit a packet.
class Request {
 public:
  [[nodiscard]] constexpr Bytes bytes() const noexcept { return {bytes_.data(), size_}; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

  constexpr Request& begin(std::uint8_t id, Instruction instruction) noexcept {
    size_ = 0;
    put(0xFF).put(0xFF).put(id).put(0).put(static_cast<std::uint8_t>(instruction));
    return *this;
  }
  constexpr Request& put(std::uint8_t byte) noexcept {
    if (size_ < kLargestPacket) bytes_[size_] = byte;
    ++size_;  // past the end: noticed by `end`
    return *this;
  }
  constexpr Request& put(Bytes data) noexcept {
    for (const std::uint8_t byte : data) put(byte);
    return *this;
  }
  constexpr Request& end() noexcept {
    if (size_ + 1 > kLargestPacket) {
      size_ = 0;
      return *this;
    }
    bytes_[3] = static_cast<std::uint8_t>(size_ - 3);
    const std::uint8_t sum = checksum({bytes_.data() + 2, size_ - 2});
    return put(sum);
  }

 private:
  std::array<std::uint8_t, kLargestPacket> bytes_{};
  std::size_t size_ = 0;
};

/// PING, ACTION, RECOVERY, REBOOT: no parameters.
[[nodiscard]] constexpr Request encode_plain(Instruction instruction, std::uint8_t id) noexcept {
  return Request{}.begin(id, instruction).end();
}

[[nodiscard]] constexpr Request encode_read(std::uint8_t id, std::uint8_t address,
                                            std::uint8_t count) noexcept {
  return Request{}.begin(id, Instruction::read).put(address).put(count).end();
}

/// WRITE or REG_WRITE.
[[nodiscard]] constexpr Request encode_write(Instruction instruction, std::uint8_t id, std::uint8_t address,
                                             Bytes data) noexcept {
  return Request{}.begin(id, instruction).put(address).put(data).end();
}

[[nodiscard]] constexpr Request encode_sync_read(std::uint8_t address, std::uint8_t count,
                                                 Bytes ids) noexcept {
  return Request{}.begin(kBroadcast, Instruction::sync_read).put(address).put(count).put(ids).end();
}

/// `data` holds `count` bytes for each id, in the order of `ids`; otherwise the request is empty.
[[nodiscard]] constexpr Request encode_sync_write(std::uint8_t address, std::uint8_t count, Bytes ids,
                                                  Bytes data) noexcept {
  if (data.size() != ids.size() * count) return {};
  Request request;
  request.begin(kBroadcast, Instruction::sync_write).put(address).put(count);
  for (std::size_t i = 0; i < ids.size(); ++i) request.put(ids[i]).put(data.subspan(i * count, count));
  return request.end();
}

/// Byte order of words: STS little-endian, SCS big-endian.
enum class WordOrder : std::uint8_t { little, big };

[[nodiscard]] constexpr std::uint16_t decode_word(Bytes two, WordOrder order) noexcept {
  const unsigned low = order == WordOrder::little ? two[0] : two[1];
  const unsigned high = order == WordOrder::little ? two[1] : two[0];
  return static_cast<std::uint16_t>(low | (high << 8U));
}

[[nodiscard]] constexpr std::array<std::uint8_t, 2> encode_word(std::uint16_t word,
                                                                WordOrder order) noexcept {
  const auto low = static_cast<std::uint8_t>(word & 0xFFU);
  const auto high = static_cast<std::uint8_t>(word >> 8U);
  if (order == WordOrder::little) return {low, high};
  return {high, low};
}

/// |value| with a sign bit: the servos do not use two's complement.
[[nodiscard]] constexpr std::uint16_t sign_magnitude_encode(int value, unsigned sign_bit) noexcept {
  const unsigned magnitude = static_cast<unsigned>(value < 0 ? -value : value);
  return static_cast<std::uint16_t>(magnitude | (value < 0 ? 1U << sign_bit : 0U));
}

[[nodiscard]] constexpr int sign_magnitude_decode(std::uint16_t word, unsigned sign_bit) noexcept {
  const int magnitude = static_cast<int>(word & ((1U << sign_bit) - 1U));
  return ((word >> sign_bit) & 1U) != 0 ? -magnitude : magnitude;
}

/// Whether `value` fits into `sign_bit` bits of magnitude.
[[nodiscard]] constexpr bool sign_magnitude_fits(int value, unsigned sign_bit) noexcept {
  const int most = (1 << sign_bit) - 1;
  return value >= -most && value <= most;
}

}  // namespace rl
