#include "wire.hpp"

#include <algorithm>

namespace rl::emulator {

namespace {
constexpr std::size_t kShortest = 6;   // FF FF id length instruction checksum
constexpr std::size_t kUncounted = 4;  // FF FF id length: what the length byte leaves out
}  // namespace

Bytes status_packet(std::uint8_t id, std::uint8_t status, std::span<const std::uint8_t> parameters) {
  Bytes packet(parameters.size() + kShortest, 0xFF);
  packet[2] = id;
  packet[3] = static_cast<std::uint8_t>(parameters.size() + 2);
  packet[4] = status;
  std::copy(parameters.begin(), parameters.end(), packet.begin() + 5);
  unsigned sum = 0;
  for (std::size_t i = 2; i + 1 < packet.size(); ++i) sum += packet[i];
  packet.back() = static_cast<std::uint8_t>(~sum & 0xFFU);
  return packet;
}

void RequestReader::feed(std::span<const std::uint8_t> bytes, std::int64_t start, unsigned rate) {
  if (!pending_.empty() && (rate != rate_ || start > pending_.back().at + kPatienceNs)) {
    ++truncated_;
    pending_.clear();
  }
  rate_ = rate;
  for (const std::uint8_t byte : bytes) {
    start += byte_ns(rate);
    pending_.push_back({byte, start});
  }
}

std::optional<Request> RequestReader::next() {
  for (;;) {
    skip_noise();
    if (pending_.size() < kShortest) return std::nullopt;
    const std::size_t total = pending_[3].value + kUncounted;
    if (total < kShortest) {
      pending_.pop_front();  // the damage may be the length: look again one byte later
      ++noise_bytes_;
      continue;
    }
    if (pending_.size() < total) return std::nullopt;
    if (!checksum_holds(total)) {
      pending_.pop_front();
      ++checksum_errors_;
      continue;
    }
    Request request;
    request.id = pending_[2].value;
    request.instruction = static_cast<Instruction>(pending_[4].value);
    for (std::size_t i = 5; i + 1 < total; ++i) request.parameters.push_back(pending_[i].value);
    request.arrived = pending_[total - 1].at;
    request.rate = rate_;
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(total));
    return request;
  }
}

/// Drops bytes until the head can be FF FF id.
void RequestReader::skip_noise() {
  while (!pending_.empty()) {
    const bool first = pending_[0].value == 0xFF;
    const bool second = pending_.size() < 2 || pending_[1].value == 0xFF;
    const bool id = pending_.size() < 3 || pending_[2].value != 0xFF;
    if (first && second && id) return;
    pending_.pop_front();
    ++noise_bytes_;
  }
}

bool RequestReader::checksum_holds(std::size_t total) const {
  unsigned sum = 0;
  for (std::size_t i = 2; i + 1 < total; ++i) sum += pending_[i].value;
  return pending_[total - 1].value == static_cast<std::uint8_t>(~sum & 0xFFU);
}

}  // namespace rl::emulator
