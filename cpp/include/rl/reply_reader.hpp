/// What one request's reply stream means. Pure bookkeeping over bytes: no clock, no descriptor, no
/// allocation.
///
/// The line is hostile: noise, late replies of earlier requests, echoes, lost bytes. A reply counts when its
/// id was asked, its length is the length asked for, its checksum is right and its status is below 0x80; the
/// first of each id counts. Anything else that looks like a packet costs one byte and the search goes on
/// behind it, so that a damaged header never swallows the next reply. A length that does not fit is refused
/// at once, never waited for.
#pragma once

#include <array>
#include <cstring>

#include "rl/packet.hpp"

namespace rl {

constexpr std::size_t kMostIds = 64;
constexpr std::size_t kMostReplyBytes = 64;  ///< data bytes of one reply that the core ever asks for

struct Reply {
  std::uint8_t id = 0;
  std::uint8_t status = 0;
  bool arrived = false;
  std::array<std::uint8_t, kMostReplyBytes> data{};
};

/// What an adapter does with sent bytes: known from the probe, or being found out by it.
enum class EchoMode : std::uint8_t { none, skip, probe };

class ReplyReader {
 public:
  /// Begins a request: `ids` asked for `length` bytes each (0: ping or write). What was fed before is
  /// forgotten. False when the request is larger than the reader (then nothing will be accepted).
  ///
  /// `owed`: a late reply that is one or two bytes shorter may come. When its length byte is damaged so that
  /// it fits, the mark of the next header behind it makes its checksum right, always: sum + (its complement)
  /// + 1 is 0. So a checksum of FF is not believed then.
  bool begin(Bytes sent, Bytes ids, std::size_t length, EchoMode echo, bool owed = false) noexcept {
    owed_ = owed;
    count_ = head_ = size_ = 0;
    arrived_ = rejected_ = 0;
    echo_seen_ = false;
    echo_ = echo;
    sent_size_ = 0;
    if (ids.size() > kMostIds || length > kMostReplyBytes || sent.size() > sent_.size()) return false;
    length_ = length;
    for (const std::uint8_t id : ids) {
      replies_[count_].id = id;
      replies_[count_].status = 0;
      replies_[count_].arrived = false;
      ++count_;
    }
    std::memcpy(sent_.data(), sent.data(), sent.size());
    sent_size_ = sent.size();
    return true;
  }

  /// Takes what arrived. Every byte is looked at a bounded number of times.
  void feed(Bytes input) noexcept {
    while (!input.empty()) {
      if (head_ > 0 && size_ + input.size() > buffer_.size()) compact();
      const std::size_t room = buffer_.size() - size_;
      const std::size_t part = input.size() < room ? input.size() : room;
      std::memcpy(buffer_.data() + size_, input.data(), part);
      size_ += part;
      input = input.subspan(part);
      scan();  // leaves less than one packet, so there is room again
      if (part == 0) compact();
    }
  }

  [[nodiscard]] bool complete() const noexcept { return arrived_ == count_; }
  [[nodiscard]] std::size_t arrived() const noexcept { return arrived_; }
  /// Candidates (FF FF, an id other than FF, a length) that were refused.
  [[nodiscard]] std::size_t rejected() const noexcept { return rejected_; }
  [[nodiscard]] bool echo_seen() const noexcept { return echo_seen_; }
  [[nodiscard]] std::size_t length() const noexcept { return length_; }
  [[nodiscard]] std::span<const Reply> replies() const noexcept { return {replies_.data(), count_}; }

 private:
  [[nodiscard]] Bytes pending() const noexcept { return {buffer_.data() + head_, size_ - head_}; }

  void compact() noexcept {
    std::memmove(buffer_.data(), buffer_.data() + head_, size_ - head_);
    size_ -= head_;
    head_ = 0;
  }

  /// The echo's state at the head of `rest`: the whole of it, the beginning of it, or not it.
  enum class EchoMatch : std::uint8_t { no, partly, whole };
  [[nodiscard]] EchoMatch match_echo(Bytes rest) const noexcept {
    const std::size_t n = rest.size() < sent_size_ ? rest.size() : sent_size_;
    if (std::memcmp(rest.data(), sent_.data(), n) != 0) return EchoMatch::no;
    return n == sent_size_ ? EchoMatch::whole : EchoMatch::partly;
  }

  /// True when the bytes at the head are the echo (dropped), or may become it (wait).
  enum class EchoStep : std::uint8_t { none, again, wait };
  EchoStep step_echo() noexcept {
    if (echo_ == EchoMode::none || echo_seen_ || sent_size_ == 0) return EchoStep::none;
    switch (match_echo(pending())) {
      case EchoMatch::whole:
        echo_seen_ = true;
        head_ += sent_size_;
        return EchoStep::again;
      case EchoMatch::partly:
        return EchoStep::wait;
      case EchoMatch::no:
        break;
    }
    // An adapter known to echo: until the echo has passed nothing is a reply, or a damaged echo could be
    // taken for one. While probing, what is not the echo is read as usual.
    if (echo_ == EchoMode::probe) return EchoStep::none;
    ++head_;
    return EchoStep::again;
  }

  /// What the bytes behind an echo are: nothing yet, no header, or a header of which id and length are there.
  enum class Head : std::uint8_t { wait, shift, candidate };
  [[nodiscard]] static Head head_of(Bytes rest) noexcept {
    constexpr std::uint8_t kMark = 0xFF;
    if (rest[0] != kMark) return Head::shift;
    if (rest.size() < 2) return Head::wait;
    if (rest[1] != kMark) return Head::shift;
    if (rest.size() < 3) return Head::wait;
    if (rest[2] == kMark) return Head::shift;  // FF FF FF: the header starts one later
    return rest.size() < 4 ? Head::wait : Head::candidate;
  }

  /// False when more bytes are needed.
  bool judge_candidate(Bytes rest) noexcept {
    Reply* const asked = find(rest[2]);
    if (asked == nullptr || rest[3] != length_ + 2) {
      reject();
      return true;
    }
    const Parsed parsed = parse_packet(rest);
    if (parsed.kind == ParseKind::need_more) return false;
    if (parsed.kind != ParseKind::packet || parsed.packet.error > kLargestStatus ||
        (owed_ && rest[parsed.consumed - 1] == 0xFF)) {
      reject();
      return true;
    }
    if (!asked->arrived) accept(*asked, parsed.packet);
    head_ += parsed.consumed;
    return true;
  }

  void scan() noexcept {
    while (head_ < size_) {
      const EchoStep echo = step_echo();
      if (echo == EchoStep::wait) return;
      if (echo == EchoStep::again) continue;
      const Head head = head_of(pending());
      if (head == Head::wait) return;
      if (head == Head::shift) {
        ++head_;
      } else if (!judge_candidate(pending())) {
        return;
      }
    }
    head_ = size_ = 0;
  }

  void reject() noexcept {
    ++rejected_;
    ++head_;
  }

  void accept(Reply& reply, const Packet& packet) noexcept {
    reply.arrived = true;
    reply.status = packet.error;
    std::memcpy(reply.data.data(), packet.params.data(), packet.params.size());
    ++arrived_;
  }

  [[nodiscard]] Reply* find(std::uint8_t id) noexcept {
    if (id > kLargestId) return nullptr;
    for (std::size_t i = 0; i < count_; ++i) {
      if (replies_[i].id == id) return &replies_[i];
    }
    return nullptr;
  }

  std::array<std::uint8_t, 4096> buffer_{};
  std::size_t head_ = 0;
  std::size_t size_ = 0;
  std::array<Reply, kMostIds> replies_{};
  std::size_t count_ = 0;
  std::size_t arrived_ = 0;
  std::size_t rejected_ = 0;
  std::size_t length_ = 0;
  std::array<std::uint8_t, kLargestPacket> sent_{};
  std::size_t sent_size_ = 0;
  EchoMode echo_ = EchoMode::none;
  bool echo_seen_ = false;
  bool owed_ = false;
};

}  // namespace rl
