/// Set-up: what may wait, try again and read back. The cycle is in servo_cycle.cpp.
#include "rl/servo_chain.hpp"

#include <algorithm>
#include <utility>

#include "rl/usb_ports.hpp"

namespace rl {
namespace {

// A flash write delays its reply by milliseconds, a busy host by more. Set-up is in no hurry: each try waits
// four times as long as the one before.
constexpr std::int64_t kSetupTimeout = 30 * kMillisecond;
// A length stays barred for this long after its request was given up, if any motor of the line has answered
// since: the adapter keeps the order, and a servo answers at once or never. A whole line that is silent may
// still send everything it owes, so then it stays barred for longer.
constexpr std::int64_t kBarTime = 250 * kMillisecond;
constexpr std::int64_t kOwedTime = 5 * kSecond;
constexpr std::int64_t kQuietTime = 120 * kMillisecond;  // after late replies: they were the last
constexpr std::int64_t kHailEvery = 20 * kMillisecond;   // they are answered all, also after a stall
constexpr int kTries = 3;
constexpr unsigned kMultiTurn = 1U << 4U;

std::int64_t setup_timeout(int turn) noexcept { return kSetupTimeout << (2 * turn); }

int word(Bytes block, std::size_t offset) noexcept {
  return decode_word(block.subspan(offset, 2), WordOrder::little);
}

}  // namespace

ServoChain::ServoChain(ChainConfig config, const Model* model) : config_(std::move(config)), model_(model) {
  for (std::size_t i = 0; i < size(); ++i) ids_[i] = id_of(i);
  torque_limits_.fill(1000);
  found_limits_.fill(-1);
}

Result<ServoChain> ServoChain::make(ChainConfig config) {
  const Model* const model = find_model(config.model);
  if (model == nullptr) return Error{ErrorCode::usage, "there is no servo model '" + config.model + "'"};
  if (config.joints.empty() || config.joints.size() > kMostJoints) {
    return Error{ErrorCode::usage, config.port + ": a chain has 1 to 64 joints"};
  }
  for (std::size_t i = 0; i < config.joints.size(); ++i) {
    config.joints[i].resolution = model->resolution;
    const JointCalibration& joint = config.joints[i];
    if (const std::string problem = joint.problem(); !problem.empty()) {
      return Error{ErrorCode::calibration, joint.name + " (id " + std::to_string(joint.id) + "): " + problem};
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (config.joints[k].id != joint.id) continue;
      return Error{ErrorCode::usage, config.port + ": " + config.joints[k].name + " and " + joint.name +
                                         " both have id " + std::to_string(joint.id)};
    }
  }
  return ServoChain(std::move(config), model);
}

Place ServoChain::place(int joint) const noexcept {
  Place out{config_.port, "", -1, config_.model};
  if (joint >= 0 && std::cmp_less(joint, size())) {
    out.joint = config_.joints[static_cast<std::size_t>(joint)].name;
    out.id = config_.joints[static_cast<std::size_t>(joint)].id;
  }
  return out;
}

Result<> ServoChain::open() {
  if (port_.is_open()) return Done{};
  auto opened = SerialPort::open(config_.port, config_.baud);
  if (!opened.ok()) return opened.error();
  port_ = std::move(opened.value());
  lost_ = false;
  latency_note_ = request_low_latency(port_);
  // The timer after that request: low-latency mode sets it where the driver may.
  if (auto slow = slow_adapter(usb_port(config_.port)); !slow.empty()) latency_note_ = std::move(slow);
  probe();
  return Done{};
}

void ServoChain::take_over(ServoChain& fresh) noexcept {
  std::swap(port_, fresh.port_);
  std::swap(latency_note_, fresh.latency_note_);
  bars_ = fresh.bars_;
  heard_ = fresh.heard_;
  echo_ = fresh.echo_;
  turnaround_ = fresh.turnaround_;
  deviation_ = fresh.deviation_;
  motor_delay_ = fresh.motor_delay_;
  lost_ = active_ = false;
}

std::int64_t ServoChain::wire_time(std::size_t bytes) const noexcept {
  return static_cast<std::int64_t>(bytes) * 10 * kSecond / config_.baud;
}

std::size_t ServoChain::joint_of(std::uint8_t id) const noexcept {
  std::size_t i = 0;
  while (i < size() && ids_[i] != id) ++i;
  return i;
}

void ServoChain::bar(std::uint8_t id, std::size_t length, std::int64_t now) noexcept {
  const std::size_t joint = joint_of(id);
  if (joint < size() && length <= kMostReplyBytes) bars_[joint][length] = now;
}

bool ServoChain::barred(std::size_t joint, std::size_t length, std::int64_t now) const noexcept {
  const std::int64_t set = bars_[joint][length];
  if (set == 0) return false;
  return now - set < (heard_ > set ? kBarTime : kOwedTime);
}

/// What comes while no length is free: who talks again pays its debts now, so that the bars end soon after.
void ServoChain::overhear(std::int64_t now) noexcept {
  std::array<std::uint8_t, 512> space;  // NOLINT(cppcoreguidelines-pro-type-member-init): read fills it
  std::size_t count = 0;
  while (port_.is_open() && !lost_) {
    const IoStatus status = port_.read(space, count);
    if (status == IoStatus::lost) lost_ = true;
    if (status != IoStatus::ok || count == 0) return;
    for (std::size_t at = 0; at < count;) {
      const Parsed parsed = parse_packet({space.data() + at, count - at});
      const std::size_t joint = parsed.kind == ParseKind::packet ? joint_of(parsed.packet.id) : size();
      at += joint < size() ? parsed.consumed : 1;
      if (joint >= size()) continue;
      for (std::int64_t& set : bars_[joint]) set = std::min(set, now - (kBarTime - kQuietTime));
      heard_ = now + 1;
    }
  }
}

/// Asks one motor whether it is there, without waiting: its answer has no data, so nothing can be taken for
/// it, and it is overheard in the next cycle. Behind an echo it could not be told from its question.
void ServoChain::hail(std::int64_t now) noexcept {
  if (echo_ || lost_ || !port_.is_open() || now - hailed_at_ < kHailEvery) return;
  hailed_at_ = now;
  const std::uint8_t id = ids_[hailed_++ % size()];
  if (port_.write(encode_plain(Instruction::ping, id).bytes()) == IoStatus::lost) lost_ = true;
}

/// The smallest of n ... n+7 whose late replies cannot still be under way from any of `ids`; 0 when there is
/// none.
std::size_t ServoChain::free_length(Bytes ids, std::size_t smallest, std::int64_t now) const noexcept {
  for (std::size_t n = smallest; n < smallest + 8 && n <= kMostReplyBytes; ++n) {
    const bool owed = std::any_of(ids.begin(), ids.end(), [&](std::uint8_t id) {
      const std::size_t joint = joint_of(id);
      return joint < size() && barred(joint, n, now);
    });
    if (!owed) return n;
  }
  return 0;
}

bool ServoChain::send(const Request& request, Bytes ids, std::size_t length, EchoMode echo,
                      bool owed) noexcept {
  if (request.size() == 0 || !port_.is_open() || !reader_.begin(request.bytes(), ids, length, echo, owed))
    return false;
  IoStatus status = port_.discard_input();
  if (status == IoStatus::ok) status = port_.write(request.bytes());
  if (status == IoStatus::lost) lost_ = true;
  return status == IoStatus::ok;
}

bool ServoChain::exchange(const Request& request, Bytes ids, std::size_t length, std::int64_t timeout,
                          bool owed) noexcept {
  if (!send(request, ids, length, echo_ ? EchoMode::skip : EchoMode::none, owed)) return false;
  const std::size_t bytes = request.size() + ids.size() * (length + 6);
  const std::int64_t end = now_ns() + wire_time(bytes) + timeout;
  wait_at_most(end);
  std::array<std::uint8_t, 512> space;  // NOLINT(cppcoreguidelines-pro-type-member-init): read fills it
  while (!reader_.complete()) {
    const IoStatus ready = port_.wait_readable(end);
    if (ready == IoStatus::lost) lost_ = true;
    if (ready != IoStatus::ok) break;
    std::size_t count = 0;
    if (port_.read(space, count) == IoStatus::lost) {
      lost_ = true;
      break;
    }
    reader_.feed({space.data(), count});
  }
  return reader_.complete();
}

bool ServoChain::read_bytes(std::uint8_t id, std::uint8_t address, std::span<std::uint8_t> out,
                            int tries) noexcept {
  const Bytes ids{&id, 1};
  for (int turn = 0; turn < tries && !lost_; ++turn) {
    std::size_t length = free_length(ids, out.size(), now_ns());
    if (length == 0) {
      const std::int64_t end = now_ns() + kBarTime;
      wait_at_most(end);
      sleep_until_ns(end);
      overhear(now_ns());
      length = free_length(ids, out.size(), now_ns());
      if (length == 0) continue;
    }
    const Request request = encode_read(id, address, static_cast<std::uint8_t>(length));
    if (exchange(request, ids, length, setup_timeout(turn), length > out.size())) {
      std::copy_n(reader_.replies()[0].data.begin(), out.size(), out.begin());
      heard_ = now_ns();
      return true;
    }
    bar(id, length, now_ns());
  }
  return false;
}

bool ServoChain::write_bytes(std::uint8_t id, std::uint8_t address, Bytes data,
                             std::int64_t timeout) noexcept {
  const Bytes ids{&id, 1};
  // A status bit in the acknowledgement is not a failure of the write.
  return exchange(encode_write(Instruction::write, id, address, data), ids, 0, timeout);
}

bool ServoChain::read_value(std::uint8_t id, const Register& reg, int& value) noexcept {
  std::array<std::uint8_t, 2> space{};
  if (!read_bytes(id, reg.address, {space.data(), reg.size})) return false;
  const std::uint16_t raw = reg.size == 1 ? space[0] : decode_word(space, model_->order);
  value = reg.sign_bit == kUnsigned ? raw : sign_magnitude_decode(raw, reg.sign_bit);
  return true;
}

/// Written and read back: an acknowledgement may be lost, or be a late one of an earlier write.
bool ServoChain::write_value(std::uint8_t id, const Register& reg, int value) noexcept {
  const auto raw = reg.sign_bit == kUnsigned ? static_cast<std::uint16_t>(value)
                                             : sign_magnitude_encode(value, reg.sign_bit);
  const auto both = encode_word(raw, model_->order);
  const std::array<std::uint8_t, 1> one = {static_cast<std::uint8_t>(raw & 0xFFU)};
  for (int turn = 0; turn < kTries && !lost_; ++turn) {
    write_bytes(id, reg.address, reg.size == 1 ? Bytes(one) : Bytes(both), setup_timeout(turn));
    int kept = 0;
    if (read_value(id, reg, kept) && kept == value) return true;
  }
  return false;
}

void ServoChain::probe() noexcept {
  constexpr int kProbes = 9;
  std::array<std::int64_t, kProbes> spent{};
  std::size_t measured = 0;
  for (int i = 0; i < kProbes && !lost_; ++i) {
    const std::uint8_t id = ids_[static_cast<std::size_t>(i) % size()];
    const Request request = encode_read(id, at::kId, 1);
    const std::int64_t began = now_ns();
    // Length 1 to each motor in turn; a motor that is silent here is found by `check`.
    if (!send(request, {&id, 1}, 1, EchoMode::probe)) return;
    std::array<std::uint8_t, 512> space;  // NOLINT(cppcoreguidelines-pro-type-member-init)
    while (!reader_.complete() && port_.wait_readable(began + kSetupTimeout) == IoStatus::ok) {
      std::size_t count = 0;
      if (port_.read(space, count) == IoStatus::lost) break;
      reader_.feed({space.data(), count});
    }
    echo_ = echo_ || reader_.echo_seen();
    if (reader_.complete()) {
      heard_ = now_ns();
      spent[measured++] = std::max<std::int64_t>(0, now_ns() - began - wire_time(15));
    } else {
      bar(id, 1, now_ns());
      if (measured == 0 && i >= 2) return;  // nobody there: do not wait for all of them
    }
  }
  if (measured == 0) return;
  const auto middle_of = [&] {
    std::nth_element(spent.begin(), spent.begin() + measured / 2, spent.begin() + measured);
    return spent[measured / 2];
  };
  const std::int64_t median = middle_of();
  turnaround_ = median;
  for (std::size_t i = 0; i < measured; ++i) spent[i] = std::abs(spent[i] - median);
  deviation_ = middle_of();
  if (measured == kProbes && model_->sync_read) probe_together();
}

/// What each motor adds where all are asked together.
void ServoChain::probe_together() noexcept {
  const Bytes ids{ids_.data(), size()};
  const Request request = encode_sync_read(at::kId, 1, ids);
  std::int64_t least = INT64_MAX;
  for (int i = 0; i < 3; ++i) {
    const std::int64_t began = now_ns();
    if (!exchange(request, ids, 1, kSetupTimeout)) {
      for (const Reply& reply : reader_.replies()) {
        if (!reply.arrived) bar(reply.id, 1, now_ns());
      }
      return;
    }
    heard_ = now_ns();
    least = std::min(least, heard_ - began);
  }
  const auto motors = static_cast<std::int64_t>(size());
  const std::int64_t each = (least - wire_time(request.size()) - turnaround_) / motors - wire_time(7);
  motor_delay_ = std::clamp(each, kMotorDelay, kMillisecond);
}

int ServoChain::ping(std::uint8_t id) noexcept {
  std::array<std::uint8_t, 2> space{};
  if (!read_bytes(id, at::kModel, space)) return -1;
  return decode_word(space, model_->order);
}

Result<int> ServoChain::read_register(std::uint8_t id, std::string_view name) noexcept {
  const Register* const reg = model_->find(name);
  if (reg == nullptr) {
    return Error{ErrorCode::usage, config_.model + " has no register '" + std::string(name) + "'"};
  }
  int value = 0;
  if (read_value(id, *reg, value)) return value;
  if (lost_) return tell({TroubleKind::lost, -1, 0, 0, {}});
  const std::size_t joint = joint_of(id);
  if (joint < size()) return tell({TroubleKind::silent, static_cast<int>(joint), 0, 0, {}});
  return Error{ErrorCode::timeout, "id " + std::to_string(id) + " does not answer on " + config_.port};
}

/// Four reads of documented, unbroken blocks. On SCS the missing registers keep their defaults.
bool ServoChain::read_facts(std::size_t joint, MotorFacts& facts) noexcept {
  std::array<std::uint8_t, 33> space{};
  const std::uint8_t id = ids_[joint];
  if (!read_bytes(id, 0, {space.data(), 5})) return false;
  facts.firmware = space[0] * 100 + space[1];
  facts.model = decode_word({space.data() + 3, 2}, model_->order);
  if (model_->order == WordOrder::big) return read_scs_facts(id, facts);
  if (!read_bytes(id, at::kReturnDelay, {space.data(), 27})) return false;
  facts.min_position = word(space, at::kMinPosition - at::kReturnDelay);
  facts.max_position = word(space, at::kMaxPosition - at::kReturnDelay);
  facts.max_torque = word(space, at::kMaxTorque - at::kReturnDelay);
  facts.phase = space[at::kPhase - at::kReturnDelay];
  facts.homing_offset = sign_magnitude_decode(
      static_cast<std::uint16_t>(word(space, at::kHomingOffset - at::kReturnDelay)), kOffsetSign);
  facts.mode = space[at::kMode - at::kReturnDelay];
  if (!read_bytes(id, at::kTorqueEnable, {space.data(), 10})) return false;
  facts.torque = space[0];
  facts.torque_limit = word(space, at::kTorqueLimit - at::kTorqueEnable);
  if (!read_bytes(id, model_->lock, {space.data(), 1})) return false;
  facts.lock = space[0];
  if (!read_bytes(id, at::kPresentPosition, {space.data(), 11})) return false;
  facts.position = sign_magnitude_decode(static_cast<std::uint16_t>(word(space, 0)), kPositionSign);
  facts.voltage = space[6];
  facts.temperature = space[7];
  facts.status = space[9];
  return true;
}

/// These have neither offset nor mode.
bool ServoChain::read_scs_facts(std::uint8_t id, MotorFacts& facts) noexcept {
  std::array<std::uint8_t, 10> space{};
  if (!read_bytes(id, at::kMinPosition, {space.data(), 4})) return false;
  facts.min_position = decode_word({space.data(), 2}, model_->order);
  facts.max_position = decode_word({space.data() + 2, 2}, model_->order);
  if (!read_bytes(id, at::kTorqueEnable, {space.data(), 1})) return false;
  facts.torque = space[0];
  if (!read_bytes(id, model_->lock, {space.data(), 1})) return false;
  facts.lock = space[0];
  if (!read_bytes(id, at::kPresentPosition, {space.data(), 10})) return false;
  facts.position = decode_word({space.data(), 2}, model_->order);
  facts.voltage = space[6];
  facts.temperature = space[7];
  facts.status = space[9];
  return true;
}

Trouble ServoChain::judge(std::size_t joint, const MotorFacts& facts) const noexcept {
  const JointCalibration& want = config_.joints[joint];
  const int j = static_cast<int>(joint);
  if (facts.model != model_->number) return {TroubleKind::wrong_model, j, facts.model, model_->number, {}};
  if (model_->find("Homing_Offset") != nullptr && facts.homing_offset != want.homing_offset) {
    return {TroubleKind::calibration, j, facts.homing_offset, want.homing_offset, "Homing_Offset"};
  }
  if (facts.min_position != want.range_min) {
    return {TroubleKind::calibration, j, facts.min_position, want.range_min, "Min_Position_Limit"};
  }
  if (facts.max_position != want.range_max) {
    return {TroubleKind::calibration, j, facts.max_position, want.range_max, "Max_Position_Limit"};
  }
  if (facts.mode != 0) return {TroubleKind::mode, j, facts.mode, 0, {}};
  if ((static_cast<unsigned>(facts.phase) & kMultiTurn) != 0) return {TroubleKind::multi_turn, j, 0, 0, {}};
  if (!config_.energise) return {};  // a leader is moved by hand: it may stand anywhere
  const int slack = (want.range_max - want.range_min) * 3 / 100;  // it comes back inside by itself, slowly
  if (facts.position < want.range_min - slack || facts.position > want.range_max + slack) {
    return {TroubleKind::outside, j, facts.position, 0, {}};
  }
  if (facts.status != 0) return {TroubleKind::status_bits, j, facts.status, 0, {}};
  if (facts.temperature >= kWarm) return {TroubleKind::hot, j, facts.temperature, 0, {}};
  return {};
}

void ServoChain::note(std::size_t joint, const MotorFacts& facts, const MotorFacts& first,
                      std::vector<Trouble>& notes) const {
  const int j = static_cast<int>(joint);
  if (facts.firmware != first.firmware)
    notes.push_back({TroubleKind::firmware, j, facts.firmware, first.firmware, {}});
  if (facts.lock == 0) notes.push_back({TroubleKind::lock_open, j, 0, 0, {}});
  if (facts.torque == 1) notes.push_back({TroubleKind::torque_on, j, 0, 0, {}});
}

Trouble ServoChain::check(std::vector<Trouble>& notes) {
  MotorFacts first;
  std::size_t silent = 0;
  Trouble worst;
  for (std::size_t i = 0; i < size(); ++i) {
    MotorFacts facts;
    if (!read_facts(i, facts)) {
      if (lost_) return {TroubleKind::lost, static_cast<int>(i), 0, 0, {}};
      if (worst.kind != TroubleKind::silent) worst = {TroubleKind::silent, static_cast<int>(i), 0, 0, {}};
      ++silent;
      continue;
    }
    if (i == silent) first = facts;
    torque_limits_[i] = facts.max_torque > 0 ? facts.max_torque : 1000;
    // A motor that is missing outranks a register that differs.
    if (const Trouble trouble = judge(i, facts); !trouble.none() && worst.none()) worst = trouble;
    note(i, facts, first, notes);
  }
  if (silent == size()) return {TroubleKind::all_silent, 0, 0, 0, {}};
  return worst;
}

/// The first trouble of any motor; `identity`: only what says that it is another motor or calibrated
/// otherwise.
Trouble ServoChain::judge_all(bool identity) noexcept {
  std::array<int, kMostJoints> voltages{};
  for (std::size_t i = 0; i < size(); ++i) {
    MotorFacts facts;
    if (!read_facts(i, facts)) {
      return {lost_ ? TroubleKind::lost : TroubleKind::silent, static_cast<int>(i), 0, 0, {}};
    }
    torque_limits_[i] = facts.max_torque > 0 ? facts.max_torque : 1000;
    voltages[i] = facts.voltage;
    const Trouble trouble = judge(i, facts);
    const bool other = trouble.kind == TroubleKind::wrong_model || trouble.kind == TroubleKind::calibration;
    if (!trouble.none() && (other || !identity)) return trouble;
  }
  return identity || !config_.energise ? Trouble{} : judge_supply({voltages.data(), size()});
}

/// One motor that has much less or more than the others: a bad cable, or the wrong supply behind it.
Trouble ServoChain::judge_supply(std::span<const int> voltages) noexcept {
  std::array<int, kMostJoints> sorted{};
  const auto end = std::copy(voltages.begin(), voltages.end(), sorted.begin());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(voltages.size() / 2);
  std::nth_element(sorted.begin(), middle, end);
  for (std::size_t i = 0; i < voltages.size(); ++i) {
    if (bad_supply(voltages[i], *middle))
      return {TroubleKind::supply, static_cast<int>(i), voltages[i], *middle, {}};
  }
  return {};
}

std::vector<ServoChain::Wanted> ServoChain::wanted(std::size_t joint) const {
  const JointCalibration& calibration = config_.joints[joint];
  std::vector<Wanted> out;
  const auto want = [&](std::string_view name, int value) {
    const Register* const reg = model_->find(name);
    if (reg != nullptr) out.push_back({reg, value});
  };
  want("Homing_Offset", calibration.homing_offset);
  want("Min_Position_Limit", calibration.range_min);
  want("Max_Position_Limit", calibration.range_max);
  for (const Setting& setting : arm_settings()) {
    if (setting.follower_only && !config_.energise) continue;
    if (setting.gripper_only && calibration.mode != UnitMode::range_0_100) continue;
    want(setting.name, setting.value);
  }
  return out;
}

int ServoChain::write_wanted(std::size_t joint, std::span<const Wanted> differing, Trouble& trouble) {
  const std::uint8_t id = ids_[joint];
  const Register lock{"Lock", model_->lock, 1, kUnsigned, true};
  const bool stored = std::any_of(differing.begin(), differing.end(), [](const Wanted& w) {
    return w.reg->address < at::kFirstRam || w.reg->address >= at::kFirstFactory;
  });
  int writes = 0;
  if (stored && !write_value(id, lock, 0))
    trouble = {TroubleKind::not_written, static_cast<int>(joint), 1, 0, "Lock"};
  for (const Wanted& w : differing) {
    if (!trouble.none()) break;
    ++writes;
    if (write_value(id, *w.reg, w.value)) continue;
    int kept = 0;
    read_value(id, *w.reg, kept);
    trouble = {TroubleKind::not_written, static_cast<int>(joint), kept, w.value, w.reg->name};
  }
  // Closed again whatever happened above.
  if (stored && !write_value(id, lock, 1) && trouble.none()) {
    trouble = {TroubleKind::not_written, static_cast<int>(joint), 0, 1, "Lock"};
  }
  return writes;
}

Trouble ServoChain::identify(std::size_t joint) noexcept {
  const int j = static_cast<int>(joint);
  const int found = ping(ids_[joint]);
  if (found < 0) return {lost_ ? TroubleKind::lost : TroubleKind::silent, j, 0, 0, {}};
  if (found != model_->number) return {TroubleKind::wrong_model, j, found, model_->number, {}};
  return {};
}

Result<int> ServoChain::configure_joint(std::size_t joint) {
  const std::uint8_t id = ids_[joint];
  const int j = static_cast<int>(joint);
  std::vector<Wanted> differing;
  const auto silent = [&] { return tell({lost_ ? TroubleKind::lost : TroubleKind::silent, j, 0, 0, {}}); };
  for (const Wanted& w : wanted(joint)) {
    int held = 0;
    if (!read_value(id, *w.reg, held)) return silent();
    if (held != w.value) differing.push_back(w);
  }
  int phase = 0;
  const Register* const phase_register = model_->find("Phase");
  if (!read_value(id, *phase_register, phase)) return silent();
  if ((static_cast<unsigned>(phase) & kMultiTurn) != 0) {
    differing.push_back({phase_register, static_cast<int>(static_cast<unsigned>(phase) & ~kMultiTurn)});
  }
  int lock = 1;
  const Register lock_register{"Lock", model_->lock, 1, kUnsigned, true};
  if (!read_value(id, lock_register, lock)) return silent();
  if (differing.empty() && lock == 1) return 0;

  int torque = 0;
  if (!read_value(id, *model_->find("Torque_Enable"), torque)) return silent();
  if (torque != 0 && !differing.empty()) {
    return Error{ErrorCode::usage,
                 config_.joints[joint].name + " (id " + std::to_string(id) + ") on " + config_.port +
                     " stands energised and its registers differ; lay the arm down, switch it off "
                     "and on, and try again"};
  }
  Trouble trouble;
  int writes = write_wanted(joint, differing, trouble);
  if (trouble.none() && lock == 0) {
    ++writes;
    if (!write_value(id, lock_register, 1)) trouble = {TroubleKind::not_written, j, 0, 1, "Lock"};
  }
  if (!trouble.none()) return lost_ ? tell({TroubleKind::lost, j, 0, 0, {}}) : tell(trouble);
  return writes;
}

Result<int> ServoChain::configure() {
  for (std::size_t i = 0; i < size(); ++i) {  // of all, before the first write: it may be another arm
    if (const Trouble trouble = identify(i); !trouble.none()) return tell(trouble);
  }
  int writes = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    const auto one = configure_joint(i);
    if (!one.ok()) return one.error();
    writes += one.value();
  }
  return writes;
}

bool ServoChain::read_now(std::int64_t timeout) noexcept {
  const std::int64_t end = now_ns() + timeout;
  for (JointState& state : states_) state.fresh = false;
  begin_cycle(now_ns(), end);
  while (active()) {
    const IoStatus ready = port_.wait_readable(wait_until());
    if (ready == IoStatus::lost) {
      lost_ = true;
      active_ = false;
    } else if (ready == IoStatus::ok) {
      pump(now_ns());
    } else {
      expire(now_ns());
    }
  }
  return std::all_of(states_.begin(), states_.begin() + static_cast<std::ptrdiff_t>(size()),
                     [](const JointState& s) { return s.fresh; });
}

}  // namespace rl
