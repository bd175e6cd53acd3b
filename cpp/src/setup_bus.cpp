/// The line, and looking: what is there. Writing is in setup_writes.cpp.
#include "rl/setup_bus.hpp"

#include <algorithm>
#include <utility>

#include "rl/clock.hpp"
#include "rl/usb_ports.hpp"

namespace rl {
namespace {

constexpr std::int64_t kPatience =
    30 * kMillisecond;  ///< of the first try; each next waits four times as long
constexpr std::int64_t kPingPatience = 8 * kMillisecond;
constexpr std::int64_t kLinger = 8 * kMillisecond;  ///< a second motor with the same id answers within this
constexpr std::int64_t kLateReplies = 250 * kMillisecond;
constexpr int kAsks = 3;
constexpr std::size_t kStatusBytes = 6;
constexpr std::size_t kIdentity = 5;    // registers 0..4: firmware, byte order, model
constexpr std::size_t kConditions = 8;  // registers 56..63: what differs between two equal motors

// The usual one first. 76,800 and 57,600 are two readings of code 5, 38,400 and 19,200 of codes 6 and 7.
constexpr std::array<unsigned, 12> kRates = {1'000'000, 500'000, 250'000, 128'000, 115'200, 76'800,
                                             57'600,    38'400,  19'200,  14'400,  9'600,   4'800};
constexpr std::size_t kRatesOfOneMeaning = 5;

int model_of(Bytes identity, WordOrder usual) noexcept {
  for (const WordOrder order : {WordOrder::little, WordOrder::big}) {
    const std::uint16_t number = decode_word(identity.subspan(3, 2), order);
    const Model* const known = find_model(model_name(number));
    if (known != nullptr && known->order == order) return number;
  }
  return decode_word(identity.subspan(3, 2), usual);
}

}  // namespace

std::span<const unsigned> scan_rates() noexcept { return kRates; }

int rate_code(unsigned baud) noexcept {
  const auto end = kRates.begin() + kRatesOfOneMeaning;
  const auto at = std::find(kRates.begin(), end, baud);
  return at == end ? -1 : static_cast<int>(at - kRates.begin());
}

Result<SetupBus> SetupBus::make(std::string port, std::string_view model, std::map<int, std::string> names) {
  const Model* const found = find_model(model);
  if (found == nullptr) {
    return Error{ErrorCode::usage, "there is no servo model '" + std::string(model) + "'"};
  }
  return SetupBus(std::move(port), found, std::move(names));
}

std::string SetupBus::called(int id) const {
  const auto known = names_.find(id);
  const std::string number = "id " + std::to_string(id);
  return known == names_.end() ? number : known->second + " (" + number + ")";
}

Error SetupBus::lost() const {
  return {ErrorCode::lost, port_ + " is gone; plug the adapter in again and start over"};
}

Error SetupBus::silent(int id) const {
  if (lost_) return lost();
  return {ErrorCode::motor_missing, called(id) + " does not answer on " + port_ + " at " +
                                        std::to_string(baud_) + " baud; check its cable and the supply"};
}

Result<> SetupBus::open(unsigned baud) {
  line_.close();
  auto opened = SerialPort::open(port_, baud);
  if (!opened.ok()) return opened.error();
  line_ = std::move(opened.value());
  baud_ = baud;
  lost_ = false;
  latency_note_ = request_low_latency(line_);
  // The timer after that request: low-latency mode sets it where the driver may.
  if (auto slow = slow_adapter(usb_port(port_)); !slow.empty()) latency_note_ = std::move(slow);
  // A READ's own bytes are never its reply (a PING's may be), and an echo needs no motor.
  const Request probe = encode_read(1, at::kId, 1);
  send(probe);
  collect(now_ns() + wire_time(2 * probe.size()) + kPatience, 2 * probe.size());
  const Bytes sent = probe.bytes();
  echo_ = heard_.size() >= sent.size() && std::equal(sent.begin(), sent.end(), heard_.begin());
  return Done{};
}

std::int64_t SetupBus::wire_time(std::size_t bytes) const noexcept {
  return static_cast<std::int64_t>(bytes) * 10 * kSecond / baud_;
}

bool SetupBus::send(const Request& request) {
  heard_.clear();
  if (request.size() == 0 || !line_.is_open()) return false;
  const Bytes bytes = request.bytes();
  sent_.assign(bytes.begin(), bytes.end());
  IoStatus status = line_.discard_input();
  if (status == IoStatus::ok) status = line_.write(bytes);
  if (status == IoStatus::lost) lost_ = true;
  return status == IoStatus::ok;
}

/// Takes what comes until `end`, or until there are `enough` bytes.
void SetupBus::collect(std::int64_t end, std::size_t enough) {
  constexpr std::size_t kMost = 1 << 16;
  std::array<std::uint8_t, 512> space;  // NOLINT(cppcoreguidelines-pro-type-member-init): read fills it
  while (heard_.size() < enough && heard_.size() < kMost && now_ns() < end) {
    const IoStatus ready = line_.wait_readable(end);
    std::size_t count = 0;
    if (ready == IoStatus::lost || (ready == IoStatus::ok && line_.read(space, count) == IoStatus::lost)) {
      lost_ = true;
      return;
    }
    heard_.insert(heard_.end(), space.begin(), space.begin() + static_cast<std::ptrdiff_t>(count));
  }
}

SetupBus::Heard SetupBus::sort(std::uint8_t id, std::size_t length, std::size_t sent) {
  Heard out;
  Bytes rest(heard_);
  if (echo_ && rest.size() >= sent && std::equal(sent_.begin(), sent_.end(), rest.begin()))
    rest = rest.subspan(sent);
  while (!rest.empty()) {
    const Parsed parsed = parse_packet(rest);
    const bool fits = parsed.kind == ParseKind::packet && parsed.packet.id == id &&
                      parsed.packet.params.size() == length && parsed.packet.error <= kLargestStatus;
    if (!fits) out.disturbed = true;
    if (parsed.kind == ParseKind::need_more) break;
    if (fits && out.packets++ == 0) {
      out.data.assign(parsed.packet.params.begin(), parsed.packet.params.end());
      out.status = parsed.packet.error;
    }
    rest = rest.subspan(parsed.consumed);
  }
  return out;
}

/// A reply that was missed may still come: nothing is asked before it no longer can.
void SetupBus::settle() {
  if (now_ns() < quiet_from_) sleep_until_ns(quiet_from_);
}

SetupBus::Heard SetupBus::ask(const Request& request, std::uint8_t id, std::size_t length,
                              std::int64_t patience, bool linger) {
  settle();
  if (!send(request)) return {};
  const std::size_t whole = (echo_ ? request.size() : 0) + kStatusBytes + length;
  collect(now_ns() + wire_time(request.size() + whole) + patience, whole);
  if (linger && !heard_.empty() && !lost_) collect(now_ns() + wire_time(whole) + kLinger, 4 * whole);
  Heard out = sort(id, length, request.size());
  if (out.packets == 0 && length > 0) quiet_from_ = now_ns() + kLateReplies;
  return out;
}

std::optional<std::vector<std::uint8_t>> SetupBus::fetch(int id, std::uint8_t address, std::size_t count) {
  const auto wire = static_cast<std::uint8_t>(id);
  for (int turn = 0; turn < kAsks && !lost_; ++turn) {
    Heard heard = ask(encode_read(wire, address, static_cast<std::uint8_t>(count)), wire, count,
                      kPatience << (2 * turn), false);
    if (heard.packets > 0) return std::move(heard.data);
  }
  return std::nullopt;
}

std::optional<int> SetupBus::get_value(int id, const Register& reg) {
  const auto data = fetch(id, reg.address, reg.size);
  if (!data) return std::nullopt;
  const std::uint16_t raw = reg.size == 1 ? (*data)[0] : decode_word(*data, model_->order);
  return reg.sign_bit == kUnsigned ? raw : sign_magnitude_decode(raw, reg.sign_bit);
}

Result<int> SetupBus::read(int id, std::string_view name) {
  const Register* const reg = model_->find(name);
  if (reg == nullptr) {
    return Error{ErrorCode::usage,
                 std::string(model_->name) + " has no register '" + std::string(name) + "'"};
  }
  const auto value = get_value(id, *reg);
  if (!value) return silent(id);
  return *value;
}

/// Two motors with one id answer together: twice as many bytes, or damaged ones. Their identities may be
/// equal to the bit, so that one sound reply arrives; what they measure is not. One damaged reply is the
/// line's fault.
Result<std::optional<FoundMotor>> SetupBus::look(int id) {
  constexpr int kLooks = 4;
  constexpr int kEnough = 3;
  const auto wire = static_cast<std::uint8_t>(id);
  int odd = 0;
  std::vector<std::uint8_t> identity;
  const auto listen = [&](std::uint8_t address, std::size_t count, int turn) {
    const Heard heard = ask(encode_read(wire, address, static_cast<std::uint8_t>(count)), wire, count,
                            kPatience << turn, true);
    if (heard.packets > 1 || heard.disturbed) ++odd;
    if (heard.packets > 0 && address == 0) identity = heard.data;
  };
  for (int turn = 0; turn < kAsks && identity.empty() && !lost_; ++turn) listen(0, kIdentity, turn);
  for (int turn = 0; turn < kLooks && (!identity.empty() || odd > 0) && !lost_; ++turn) {
    listen(at::kPresentPosition, kConditions, 0);
  }
  if (lost_) return lost();
  const bool several = odd >= kEnough;
  if (identity.empty() && !several) return std::optional<FoundMotor>{};
  FoundMotor out;
  out.baud = baud_;
  out.id = id;
  out.several = several;
  if (!identity.empty()) {
    out.model = model_of(identity, model_->order);
    out.model_name = model_name(static_cast<std::uint16_t>(out.model));
    out.firmware = identity[0] * 100 + identity[1];
  }
  return std::optional<FoundMotor>{out};
}

void SetupBus::broadcast_ping(std::array<int, 256>& count, bool& disturbed) {
  // Motors answer one after another, up to 3 ms each: the window of all possible ids.
  constexpr std::size_t kIds = 252;
  constexpr std::int64_t kWindow = (3 * kIds + 16) * kMillisecond;
  const Request request = encode_plain(Instruction::ping, kBroadcast);
  settle();
  if (!send(request)) return;
  collect(now_ns() + wire_time(kIds * kStatusBytes) + kWindow, std::size_t{1} << 16);
  std::array<int, 256> answers{};
  Bytes rest(heard_);
  if (echo_ && rest.size() >= request.size()) rest = rest.subspan(request.size());
  while (!rest.empty()) {
    const Parsed parsed = parse_packet(rest);
    const bool answer =
        parsed.kind == ParseKind::packet && parsed.packet.id <= kLargestId && parsed.packet.params.empty();
    if (answer) ++answers[parsed.packet.id];
    if (!answer) disturbed = true;
    if (parsed.kind == ParseKind::need_more) break;
    rest = rest.subspan(parsed.consumed);
  }
  for (std::size_t id = 0; id < answers.size(); ++id) count[id] = std::max(count[id], answers[id]);
}

/// Only the ids that have not answered.
void SetupBus::ping_each(std::array<int, 256>& count) {
  for (int id = 0; id <= kLargestId && !lost_; ++id) {
    const auto wire = static_cast<std::uint8_t>(id);
    if (count[wire] > 0) continue;
    const Heard heard = ask(encode_plain(Instruction::ping, wire), wire, 0, kPingPatience, false);
    if (heard.packets > 0 || heard.disturbed) count[wire] = 1;
  }
}

Result<std::vector<FoundMotor>> SetupBus::scan() {
  std::array<int, 256> count{};
  bool disturbed = false;
  // SCS motors answer a broadcast all at once: they are asked one by one, as are motors that disturb each
  // other. Where a motor was heard the others are given a second chance: a reply is lost or late at times.
  const auto ask_all = [&] {
    if (model_->sync_read) broadcast_ping(count, disturbed);
    if (!model_->sync_read || disturbed) ping_each(count);
  };
  ask_all();
  if (std::any_of(count.begin(), count.end(), [](int n) { return n > 0; })) ask_all();
  std::vector<FoundMotor> out;
  for (int id = 0; id <= kLargestId && !lost_; ++id) {
    const int answers = count[static_cast<std::size_t>(id)];
    if (answers == 0) continue;
    const auto found = look(id);
    if (!found.ok()) return found.error();
    const std::optional<FoundMotor>& motor = found.value();
    if (!motor.has_value()) continue;  // noise looked like an answer
    out.push_back(*motor);
    if (answers > 1) out.back().several = true;
  }
  if (lost_) return lost();
  return out;
}

/// The replies to one sync-read of all, as they came.
void SetupBus::read_together(Bytes wire, const std::function<void(std::uint8_t, Bytes)>& take) {
  settle();
  const Request request = encode_sync_read(at::kPresentPosition, 2, wire);
  if (send(request)) {
    const std::size_t whole = (echo_ ? request.size() : 0) + wire.size() * (kStatusBytes + 2);
    collect(now_ns() + wire_time(request.size() + whole) + kPatience, whole);
  }
  Bytes rest(heard_);
  if (echo_ && rest.size() >= request.size()) rest = rest.subspan(request.size());
  while (!rest.empty()) {
    const Parsed parsed = parse_packet(rest);
    if (parsed.kind == ParseKind::need_more) return;
    const bool good = parsed.kind == ParseKind::packet && parsed.packet.params.size() == 2 &&
                      parsed.packet.error <= kLargestStatus;
    if (good) take(parsed.packet.id, parsed.packet.params);
    rest = rest.subspan(parsed.consumed);
  }
}

Result<std::vector<RawPosition>> SetupBus::positions(std::span<const int> ids) {
  std::vector<RawPosition> out;
  std::vector<std::uint8_t> wire;
  for (const int id : ids) {
    out.push_back({id, 0, 0});
    wire.push_back(static_cast<std::uint8_t>(id));
  }
  const auto take = [&](std::uint8_t id, Bytes two) {
    for (RawPosition& one : out) {
      if (one.id != id || one.captured != 0) continue;
      const std::uint16_t raw = decode_word(two, model_->order);
      one.steps = model_->sync_read ? sign_magnitude_decode(raw, kPositionSign) : raw;
      one.captured = now_ns();
    }
  };
  if (model_->sync_read) read_together(wire, take);
  for (const RawPosition& one : out) {
    if (one.captured != 0 || lost_) continue;
    const auto id = static_cast<std::uint8_t>(one.id);
    const Heard heard = ask(encode_read(id, at::kPresentPosition, 2), id, 2, kPatience, false);
    if (heard.packets > 0) take(id, heard.data);
    quiet_from_ = 0;  // a late position is still a position: a sweep does not wait for it
  }
  if (lost_) return lost();
  return out;
}

}  // namespace rl
