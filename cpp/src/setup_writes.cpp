/// What set-up writes: torque off, the lock, stored registers of motors without torque. Each is read back.
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "rl/clock.hpp"
#include "rl/setup_bus.hpp"

namespace rl {
namespace {

constexpr std::int64_t kFlashPatience = 40 * kMillisecond;
constexpr std::int64_t kRestart = 500 * kMillisecond;
constexpr int kStoreTries = 3;

bool fits(const Register& reg, int value) noexcept {
  if (reg.sign_bit != kUnsigned) return sign_magnitude_fits(value, reg.sign_bit);
  return value >= 0 && value <= (reg.size == 1 ? 0xFF : 0xFFFF);
}

}  // namespace

/// An acknowledgement may be missing (response level 0, flash) or be a late one: reading back decides.
bool SetupBus::put(int id, std::uint8_t address, Bytes data) {
  const auto wire = static_cast<std::uint8_t>(id);
  const Heard heard =
      ask(encode_write(Instruction::write, wire, address, data), wire, 0, kFlashPatience, false);
  return heard.packets > 0;
}

bool SetupBus::set_value(int id, const Register& reg, int value) {
  const auto raw = reg.sign_bit == kUnsigned ? static_cast<std::uint16_t>(value)
                                             : sign_magnitude_encode(value, reg.sign_bit);
  const auto both = encode_word(raw, model_->order);
  const std::array<std::uint8_t, 1> one = {static_cast<std::uint8_t>(raw & 0xFFU)};
  for (int turn = 0; turn < kStoreTries && !lost_; ++turn) {
    put(id, reg.address, reg.size == 1 ? Bytes(one) : Bytes(both));
    if (get_value(id, reg) == value) return true;
  }
  return false;
}

bool SetupBus::lock(int id, bool closed) {
  return set_value(id, {"Lock", model_->lock, 1, kUnsigned, true}, closed ? 1 : 0);
}

Result<std::vector<int>> SetupBus::relax(std::span<const int> ids) {
  const Register torque{"Torque_Enable", at::kTorqueEnable, 1, kUnsigned, true};
  for (const int id : ids) {  // every one is tried, also behind one that fails
    if (get_value(id, torque) != 0) set_value(id, torque, 0);
  }
  std::vector<std::uint8_t> wire;  // all at once as well: one that does not answer may still hear
  for (const int id : ids) wire.push_back(static_cast<std::uint8_t>(id));
  const std::vector<std::uint8_t> off(wire.size(), 0);
  settle();
  send(encode_sync_write(at::kTorqueEnable, 1, wire, off));
  std::vector<int> held;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(held),
               [&](int id) { return get_value(id, torque) != 0; });
  if (lost_) return lost();
  return held;
}

Result<> SetupBus::must_be_limp(int id) {
  const auto torque = read(id, "Torque_Enable");
  if (!torque.ok()) return torque.error();
  if (torque.value() == 0) return Done{};
  return Error{ErrorCode::usage, called(id) + " on " + port_ +
                                     " stands energised; lay the arm down, switch its supply off and on, "
                                     "and try again"};
}

Result<> SetupBus::check_wanted(const std::vector<StoredValue>& wanted) const {
  for (const StoredValue& one : wanted) {
    const Register* const reg = model_->find(one.name);
    const bool stored = reg != nullptr && reg->writable && reg->address < at::kFirstRam &&
                        reg->name != "ID" && reg->name != "Baud_Rate";
    if (!stored) return Error{ErrorCode::usage, "'" + one.name + "' is no register that set-up stores"};
    if (one.id < 0 || one.id > kLargestId || !fits(*reg, one.value)) {
      return Error{ErrorCode::usage,
                   called(one.id) + ": " + std::to_string(one.value) + " does not fit " + one.name};
    }
  }
  return Done{};
}

Result<> SetupBus::read_before(std::vector<StoredValue>& wanted) {
  for (StoredValue& one : wanted) {
    const auto value = get_value(one.id, *model_->find(one.name));
    if (!value) return silent(one.id);
    one.before = *value;
    one.written = false;
  }
  int checked = -1;
  for (const StoredValue& one : wanted) {
    if (one.before == one.value || one.id == checked) continue;
    if (const auto limp = must_be_limp(one.id); !limp.ok()) return limp;
    checked = one.id;
  }
  return Done{};
}

Result<> SetupBus::write_one(StoredValue& wanted) {
  const Register& reg = *model_->find(wanted.name);
  wanted.written = true;
  if (set_value(wanted.id, reg, wanted.value)) return Done{};
  const auto kept = get_value(wanted.id, reg);
  if (!kept) return silent(wanted.id);
  return Error{ErrorCode::io, called(wanted.id) + " on " + port_ + " does not keep " + wanted.name + " " +
                                  std::to_string(wanted.value) + " (holds " + std::to_string(*kept) +
                                  "); nothing was changed, check its supply and try again"};
}

/// Undoes, as far as the motors answer.
void SetupBus::put_back(std::span<StoredValue> wanted) {
  for (StoredValue& one : wanted) {
    if (!one.written || lost_) continue;
    lock(one.id, false);
    one.written = !set_value(one.id, *model_->find(one.name), one.before);
    lock(one.id, true);
  }
}

/// The values of one motor, between opening and closing its lock.
Result<> SetupBus::store_motor(std::span<StoredValue> own) {
  const int id = own.front().id;
  const auto differs = [](const StoredValue& one) { return one.before != one.value; };
  Result<> result = Done{};
  if (std::any_of(own.begin(), own.end(), differs)) {
    if (!lock(id, false)) result = silent(id);
    for (StoredValue& one : own) {
      if (result.ok() && differs(one)) result = write_one(one);
    }
  }
  const auto closed = get_value(id, {"Lock", model_->lock, 1, kUnsigned, true});
  if (closed != 1 && !lock(id, true) && result.ok()) result = silent(id);
  return result;
}

Result<std::vector<StoredValue>> SetupBus::store(std::vector<StoredValue> wanted) {
  if (const auto sound = check_wanted(wanted); !sound.ok()) return sound.error();
  std::sort(wanted.begin(), wanted.end(), [](const StoredValue& x, const StoredValue& y) {
    return x.id != y.id ? x.id < y.id : x.name < y.name;
  });
  if (const auto known = read_before(wanted); !known.ok()) return known.error();
  for (std::size_t i = 0; i < wanted.size();) {
    std::size_t end = i;
    while (end < wanted.size() && wanted[end].id == wanted[i].id) ++end;
    const auto result = store_motor(std::span(wanted).subspan(i, end - i));
    if (!result.ok()) {
      put_back(std::span(wanted).first(end));
      return result.error();
    }
    i = end;
  }
  return wanted;
}

Result<std::vector<StoredValue>> SetupBus::readdress(int from, int to, unsigned baud) {
  if (to < 0 || to > kLargestId || rate_code(baud) < 0) {
    return Error{ErrorCode::usage, "id " + std::to_string(to) + " at " + std::to_string(baud) +
                                       " baud is nothing that a motor can be given"};
  }
  const auto found = look(from);
  if (!found.ok()) return found.error();
  if (!found.value()) return silent(from);
  if (found.value()->several) {
    return Error{ErrorCode::usage, "two motors with id " + std::to_string(from) + " on " + port_ +
                                       "? unplug all but one of them"};
  }
  if (from != to) {
    const auto wire = static_cast<std::uint8_t>(to);
    bool taken = false;
    for (int turn = 0; turn < kStoreTries && !taken; ++turn) {
      const Heard heard = ask(encode_plain(Instruction::ping, wire), wire, 0, kFlashPatience, false);
      taken = heard.packets > 0 || heard.disturbed;
    }
    if (lost_) return lost();
    if (taken) {
      return Error{ErrorCode::usage,
                   "id " + std::to_string(to) + " is another motor's on " + port_ + "; unplug that one"};
    }
  }
  const std::array<int, 1> one = {from};
  const auto held = relax(one);
  if (!held.ok()) return held.error();
  if (!held.value().empty()) return silent(from);
  std::vector<StoredValue> changes;
  const auto result = readdress_locked(from, to, baud, changes);
  // Closed again whatever happened, under whichever id it answers now.
  if (!result.ok() && !lost_ && !lock(to, true)) lock(from, true);
  if (!result.ok()) return result.error();
  return changes;
}

Result<> SetupBus::readdress_locked(int from, int to, unsigned baud, std::vector<StoredValue>& changes) {
  const Register id_register = *model_->find("ID");
  const Register rate_register = *model_->find("Baud_Rate");
  const int code = rate_code(baud);
  const auto rate = get_value(from, rate_register);
  if (!rate) return silent(from);
  changes.push_back({to, "ID", to, from, from != to});
  changes.push_back({to, "Baud_Rate", code, *rate, *rate != code});
  if (from == to && *rate == code) {
    if (baud != baud_) return open(baud);
    return lock(to, true) ? Result<>(Done{}) : Result<>(silent(to));
  }
  if (!lock(from, false)) return silent(from);
  if (from != to) {
    const std::array<std::uint8_t, 1> data = {static_cast<std::uint8_t>(to)};
    bool moved = false;
    for (int turn = 0; turn < kStoreTries && !moved; ++turn) {
      put(from, at::kId, data);  // acknowledged under the old id, or not at all
      moved = get_value(to, id_register) == to;
    }
    if (!moved) return silent(to);
  }
  if (*rate != code) {
    const std::array<std::uint8_t, 1> data = {static_cast<std::uint8_t>(code)};
    put(to, rate_register.address, data);
    if (baud != baud_) {
      if (auto opened = open(baud); !opened.ok()) return opened;
    }
    if (get_value(to, rate_register) != code) return silent(to);
  }
  return lock(to, true) ? Result<>(Done{}) : Result<>(silent(to));
}

Result<> SetupBus::reboot(int id) {
  if (auto limp = must_be_limp(id); !limp.ok()) return limp;
  settle();
  send(encode_plain(Instruction::reboot, static_cast<std::uint8_t>(id)));
  sleep_until_ns(now_ns() + kRestart);
  if (!fetch(id, at::kId, 1)) return silent(id);
  const std::array<int, 1> one = {id};
  const auto held = relax(one);  // some firmware starts with torque
  if (!held.ok()) return held.error();
  return held.value().empty() ? Result<>(Done{}) : Result<>(silent(id));
}

Result<int> SetupBus::restore_factory(int id) {
  if (const auto limp = must_be_limp(id); !limp.ok()) return limp.error();
  const auto wire = static_cast<std::uint8_t>(id);
  ask(encode_plain(Instruction::recovery, wire), wire, 0, kFlashPatience, false);
  sleep_until_ns(now_ns() + kRestart);
  constexpr int kFactoryId = 1;
  for (const int candidate : {id, kFactoryId}) {  // tables differ on whether the id is kept
    if (fetch(candidate, at::kId, 1)) return candidate;
  }
  return silent(id);
}

}  // namespace rl
