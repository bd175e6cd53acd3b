#include "servo.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace rl::emulator {

namespace {

constexpr double kTurn = 4096.0;
constexpr double kNoLoadSpeed = 3072.0;  // steps per second at rated voltage
constexpr double kLargestAcceleration = 25'400.0;
constexpr double kStepS = 1e-3;
constexpr std::int64_t kBootNs = 400'000'000;
constexpr std::uint8_t kSetMiddle = 128;
/// By the code in the baud register, as LeRobot has it; vendors differ on the last three.
constexpr std::array<unsigned, 8> kRates{1'000'000, 500'000, 250'000, 128'000,
                                         115'200,   57'600,  38'400,  19'200};

bool inside(std::size_t address, std::size_t count) {
  return count > 0 && address < kMemorySize && count <= kMemorySize - address;
}

bool touches(std::size_t address, std::size_t count, std::size_t wanted, std::size_t width) {
  return address < wanted + width && wanted < address + count;
}

/// Into [-0.5, 4095.5), so that rounding gives a step of one turn.
double one_turn(double steps) { return steps - kTurn * std::floor((steps + 0.5) / kTurn); }

int rounded(double steps) { return static_cast<int>(std::floor(steps + 0.5)); }

}  // namespace

Servo::Servo(std::uint8_t id, double lag_s) : memory_(id), lag_s_(lag_s) { refresh(); }

std::uint8_t Servo::status() const {
  unsigned bits = forced_status_;
  const auto volts = memory_.byte(reg::kVoltage);
  if (volts > memory_.byte(reg::kMaxVoltage) || volts < memory_.byte(reg::kMinVoltage)) bits |= 1U;
  if (memory_.byte(reg::kTemperature) > memory_.byte(reg::kMaxTemperature)) bits |= 4U;
  if (overload_) bits |= 32U;
  return static_cast<std::uint8_t>(bits);
}

int Servo::position() const { return rounded(position_); }

std::int64_t Servo::return_delay_ns() const { return 2'000 * std::int64_t{memory_.byte(reg::kReturnDelay)}; }

unsigned Servo::rate() const {
  const std::size_t code = memory_.byte(reg::kBaud);
  return code < kRates.size() ? kRates[code] : 0;
}

int Servo::offset() const { return from_sign_magnitude(memory_.word(reg::kHomingOffset), kHomingSign); }

bool Servo::driven() const { return memory_.byte(reg::kTorqueEnable) == 1 && memory_.byte(reg::kMode) == 0; }

/// The written goal inside the limits; both limits 0 mean several turns, if the phase register allows them.
double Servo::target() const {
  const int goal = from_sign_magnitude(memory_.word(reg::kGoalPosition), kPositionSign);
  const int low = memory_.word(reg::kMinLimit);
  const int high = memory_.word(reg::kMaxLimit);
  if (low == 0 && high == 0) {
    const bool turns = (memory_.byte(reg::kPhase) & 0x10U) != 0;
    return turns ? goal : std::clamp(goal, 0, 4095);
  }
  return std::max(low, std::min(goal, high));  // not clamp: the limits may be written in the wrong order
}

double Servo::top_speed() const {
  const unsigned phase = memory_.byte(reg::kPhase);
  const double unit = (phase & 4U) != 0 ? 1.0 : 50.0;
  const int wanted = std::abs(from_sign_magnitude(memory_.word(reg::kGoalVelocity), kPositionSign));
  if (wanted == 0) return (phase & 8U) != 0 ? kNoLoadSpeed : 0.0;
  return std::min(kNoLoadSpeed, wanted * unit);
}

double Servo::top_acceleration() const {
  const double most = memory_.byte(reg::kMaxAcceleration) * 100.0;
  const double limit = most > 0.0 ? most : kLargestAcceleration;
  const double wanted = memory_.byte(reg::kAcceleration) * 100.0;
  return wanted > 0.0 ? std::min(wanted, limit) : limit;
}

void Servo::advance(std::int64_t now) {
  const double elapsed = static_cast<double>(now - now_) * 1e-9;
  if (elapsed <= 0.0) return;
  now_ = now;
  if (!driven()) {
    rest();
  } else {
    const double goal = target();
    double left = elapsed;
    while (left > 0.0) {
      if (set_speed_ == 0.0 && set_point_ == goal && std::abs(position_ - goal) < 0.01) {
        position_ = goal;  // arrived: the rest of the time, minutes perhaps, changes nothing
        velocity_ = 0.0;
        break;
      }
      const double seconds = std::min(left, kStepS);
      step(seconds, goal);
      left -= seconds;
    }
  }
  refresh();
}

/// One short step: the set point brakes so that it stops on the goal, the body follows it with a lag.
void Servo::step(double seconds, double goal) {
  const double limit = top_acceleration();
  const double distance = goal - set_point_;
  const double half = 0.5 * limit * seconds;
  const double braking = std::sqrt(half * half + 2.0 * limit * std::abs(distance)) - half;
  const double wanted = std::copysign(std::min(top_speed(), braking), distance);
  set_speed_ += std::clamp(wanted - set_speed_, -limit * seconds, limit * seconds);
  set_point_ += set_speed_ * seconds;
  if (std::abs(goal - set_point_) < 0.5 && std::abs(set_speed_) <= 2.0 * limit * seconds) {
    set_point_ = goal;
    set_speed_ = 0.0;
  }
  const double before = position_;
  const double kept = lag_s_ > 0.0 ? std::exp(-seconds / lag_s_) : 0.0;
  position_ = set_point_ + (position_ - set_point_) * kept;
  velocity_ = (position_ - before) / seconds;
}

void Servo::rest() {
  set_point_ = position_;
  set_speed_ = 0.0;
  velocity_ = 0.0;
}

void Servo::carry(double actual, double velocity) {
  position_ = set_point_ = one_turn(actual - offset());
  velocity_ = velocity;
  set_speed_ = 0.0;
  refresh();
}

/// Present = Actual - Offset: another offset renames the place where the body stands.
void Servo::reframe(int old_offset) {
  if (offset() == old_offset) return;
  position_ = one_turn(position_ + old_offset - offset());
  rest();
}

/// Torque_Enable = 128: the present place becomes 2048, for good.
void Servo::take_middle() {
  const double actual = position_ + offset();
  const int wanted = rounded(one_turn(actual - 2048.0));
  const int offset_now = wanted > 2047 ? wanted - 4096 : wanted;  // 2048 becomes -2048, cut to -2047
  memory_.place_word(reg::kHomingOffset, to_sign_magnitude(offset_now, kHomingSign));
  position_ = one_turn(actual - offset());
  memory_.place_word(reg::kGoalPosition, to_sign_magnitude(position(), kPositionSign));
  rest();
}

void Servo::place(std::size_t address, std::span<const std::uint8_t> data) {
  const int before = offset();
  memory_.place(address, data);
  reframe(before);
  if (touches(address, data.size(), reg::kPresentPosition, 2)) {
    position_ = from_sign_magnitude(memory_.word(reg::kPresentPosition), kPositionSign);
    rest();
  }
  if (touches(address, data.size(), reg::kStatus, 1)) forced_status_ = memory_.byte(reg::kStatus);
  refresh();
}

Outcome Servo::read(std::size_t address, std::size_t count) {
  if (!inside(address, count)) return {};
  Outcome outcome = done();
  const auto data = memory_.bytes(address, count);
  outcome.parameters.assign(data.begin(), data.end());
  return outcome;
}

Outcome Servo::write(std::size_t address, std::span<const std::uint8_t> data) {
  if (!inside(address, data.size())) return {};
  Outcome outcome = done();
  const int offset_before = offset();
  const std::uint8_t torque_before = memory_.byte(reg::kTorqueEnable);
  outcome.stored_bytes = memory_.write(address, data);
  reframe(offset_before);
  if (memory_.byte(reg::kTorqueEnable) == kSetMiddle) {
    memory_.place_byte(reg::kTorqueEnable, torque_before);
    take_middle();
    outcome.stored_bytes += 2;
  }
  if (!driven()) rest();
  refresh();
  return outcome;
}

Outcome Servo::hold_write(std::size_t address, std::span<const std::uint8_t> data) {
  if (!inside(address, data.size())) return {};
  held_.emplace(address, Bytes(data.begin(), data.end()));
  refresh();
  return done();
}

Outcome Servo::act() {
  if (!held_) return done();
  const auto [address, data] = *held_;
  held_.reset();
  return write(address, data);
}

Outcome Servo::restore_factory() {
  Outcome outcome = done();
  const int before = offset();
  memory_.restore_factory();
  reframe(before);
  outcome.stored_bytes = kStoredSize;
  refresh();
  return outcome;
}

void Servo::reboot(std::int64_t now) {
  const int before = offset();
  held_.reset();
  memory_.power_on();
  reframe(before);
  position_ = one_turn(position_);  // turns are not remembered
  rest();
  memory_.place_word(reg::kGoalPosition, to_sign_magnitude(position(), kPositionSign));
  booted_at_ = now + kBootNs;
  refresh();
}

/// Brings the read-only registers to the state of the body.
void Servo::refresh() {
  const double unit = (memory_.byte(reg::kPhase) & 4U) != 0 ? 1.0 : 50.0;
  const double pull = driven() ? std::clamp((target() - position_) * 2.0, -1000.0, 1000.0) : 0.0;
  const int load = overload_ ? 800 : rounded(pull);
  memory_.place_word(reg::kPresentPosition, to_sign_magnitude(position(), kPositionSign));
  memory_.place_word(reg::kPresentVelocity, to_sign_magnitude(rounded(velocity_ / unit), kPositionSign));
  memory_.place_word(reg::kPresentLoad, to_sign_magnitude(load, kLoadSign));
  memory_.place_byte(reg::kAsyncFlag, held_ ? 1 : 0);
  memory_.place_byte(reg::kStatus, status());
  memory_.place_byte(reg::kMoving, std::abs(velocity_) > 2.0 ? 1 : 0);
  memory_.place_word(reg::kGoalCopy, to_sign_magnitude(rounded(target()), kPositionSign));
  memory_.place_word(reg::kCurrent, static_cast<std::uint16_t>(std::abs(load) / 5));
}

}  // namespace rl::emulator
