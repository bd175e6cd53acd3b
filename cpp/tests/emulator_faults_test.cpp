/// Faults and adapters of the emulated servo chain.

#include <asm/termbits.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include "emulator_bench.hpp"

namespace rl::emulator {
namespace {

void same_seed_gives_the_same_faults() {
  const auto story = [](std::uint64_t seed, bool noisy) {
    Faults faults(seed);
    faults.set("drop", {{"rate", 0.1}});
    if (noisy) faults.set("noise", {{"rate", 0.5}});
    std::vector<bool> dropped;
    for (int i = 0; i < 2000; ++i) {
      Bytes packet = status_packet(1, 0, {});
      dropped.push_back(faults.strike(1, packet).dropped);
    }
    return dropped;
  };
  CHECK(story(7, false) == story(7, true));
  CHECK(story(7, false) != story(8, false));
  const auto once = story(7, false);
  const auto count = std::count(once.begin(), once.end(), true);
  CHECK(count > 140 && count < 260);
}

void faults_refuse_what_does_not_fit() {
  Faults faults(0);
  const auto refused = [&](const char* kind, const Fields& fields) {
    try {
      faults.set(kind, fields);
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  CHECK(refused("drop", {}));
  CHECK(refused("drop", {{"rate", 1.5}}));
  CHECK(refused("drop", {{"rate", std::nan("")}}));
  CHECK(refused("late", {{"rate", 0.5}}));
  CHECK(refused("corrupt", {{"rate", 0.5}, {"speed", 1.0}}));
  CHECK(!faults.set("unknown", {}));
  CHECK(faults.set("corrupt", {{"rate", 1.0}, {"count", 1.0}, {"id", 2.0}}));
  const Bytes sound = status_packet(2, 0, {});
  Bytes packet = sound;
  CHECK(!faults.strike(1, packet).corrupted && packet == sound);
  CHECK(faults.strike(2, packet).corrupted && packet != sound);
  CHECK(!faults.strike(2, packet).corrupted);
}

void noise_may_fall_inside_a_reply_and_waits_are_drawn() {
  Faults faults(3);
  faults.set("noise", {{"rate", 1.0}, {"inside", 1.0}});
  faults.set("late", {{"rate", 1.0}, {"ms", 1.0}, {"most_ms", 100.0}});
  faults.set("split", {{"rate", 1.0}, {"ms", 2.0}});
  faults.set("duplicate", {{"rate", 1.0}, {"count", 1.0}});
  const Bytes sound = status_packet(2, 0, Bytes{1, 2, 3});
  std::int64_t shortest = kSecond, longest = 0;
  for (int i = 0; i < 200; ++i) {
    Bytes packet = sound;
    const Fate fate = faults.strike(2, packet);
    CHECK(packet.size() == sound.size() + fate.noise && fate.noise > 0);
    CHECK(packet.front() == sound.front() && packet.back() == sound.back());
    CHECK(fate.split > 0 && fate.split < packet.size() && fate.split_ns == 2'000'000);
    CHECK(fate.duplicated == (i == 0));
    shortest = std::min(shortest, fate.late_ns);
    longest = std::max(longest, fate.late_ns);
  }
  CHECK(shortest >= 1'000'000 && shortest < 10'000'000);
  CHECK(longest <= 100'000'000 && longest > 90'000'000);
}

void twins_speak_at_once_and_spoil_each_other() {
  Bench bench;
  bench.write(2, {5, 1});
  const auto pings = bench.ask(1, Instruction::ping, {});
  CHECK(pings.size() == 1 && pings[0].packet == status_packet(1, 0, {}));  // the same bytes: nothing to see
  const auto answers = bench.ask(1, Instruction::read, {56, 2});
  CHECK(answers.size() == 1 && answers[0].packet.size() == 8);
  const int one = bench.position(0), two = bench.position(1);
  CHECK(one != two && answers[0].packet[5] == (one & two & 0xFF));
  CHECK(bench.chain.statistics().collisions == 2);
  CHECK(bench.ask(kBroadcast, Instruction::sync_read, {56, 2, 1, 3}).size() == 2);
  CHECK(bench.ask(kBroadcast, Instruction::sync_read, {56, 2, 3, 3}).size() ==
        2);  // asked twice, not two of them
  CHECK(bench.chain.statistics().collisions == 3);
}

void broadcast_ping_follows_the_ids_not_the_places() {
  Bench bench;
  bench.write(1, {5, 9});
  const auto answers = bench.ask(kBroadcast, Instruction::ping, {});
  CHECK(answers.size() == 6 && answers.front().id == 2 && answers.back().id == 9);
}

void servo_at_another_rate_hears_nothing() {
  Bench bench;
  const auto at_rate = [&](std::uint8_t id, unsigned rate) {
    Request ping = request(id, Instruction::ping, {}, bench.now += kSecond / 100);
    ping.rate = rate;
    return bench.chain.execute(ping, 0);
  };
  CHECK(at_rate(1, 500'000).empty());
  CHECK(bench.chain.statistics().wrong_rate == 1);
  CHECK(bench.ask(1, Instruction::write, {6, 1}).size() == 1);  // answered at the old rate
  CHECK(bench.ask(1, Instruction::ping, {}).empty());
  const auto answers = at_rate(1, 500'000);
  CHECK(answers.size() == 1 && answers[0].end() - answers[0].start == 6 * 20'000);
  CHECK(at_rate(2, 500'000).empty());
  CHECK(bench.ask(2, Instruction::ping, {}).size() == 1);
}

void reader_counts_a_byte_by_its_rate() {
  RequestReader reader;
  reader.feed(request_bytes(1, Instruction::ping), 0, 115'200);
  const auto found = reader.next();
  CHECK(found && found->rate == 115'200 && found->arrived == 6 * byte_ns(115'200));
  const Bytes ping = request_bytes(2, Instruction::ping);
  reader.feed(std::span(ping).first(3), kSecond, 115'200);
  reader.feed(ping, kSecond, 1'000'000);
  CHECK(reader.next().has_value() && reader.truncated() == 1);
}

void servo_that_loses_its_supply_comes_back_without_torque() {
  Bench bench;
  bench.write(1, {40, 1});
  bench.chain.restart(0, bench.now);
  CHECK(bench.ask(1, Instruction::ping, {}).empty());
  bench.run(0.5);
  CHECK(bench.ask(1, Instruction::ping, {}).size() == 1);
  CHECK(bench.chain.servo(0).memory().byte(reg::kTorqueEnable) == 0);
  CHECK(bench.chain.statistics().reboots == 1);
}

// --- through the pseudo-terminal

Descriptor open_port(const Emulator& emulator) {
  return Descriptor(::open(emulator.port().c_str(), O_RDWR | O_NOCTTY));
}

std::int64_t count_of(const Emulator& emulator, const char* name) { return emulator.statistics().at(name); }

void adapters_keep_their_grid() {
  const Bytes question = request_bytes(kBroadcast, Instruction::sync_read, {56, 2, 1, 2, 3, 4, 5, 6});
  for (const auto& [name, least_us] : std::initializer_list<std::pair<const char*, int>>{
           {"wire", 740}, {"usb", 750}, {"usb-1ms", 1'000}, {"ftdi-1ms", 1'700}, {"ftdi-16ms", 16'000}}) {
    Options options;
    options.adapter = adapter_named(name);
    Emulator emulator(options);
    const Descriptor port = open_port(emulator);
    for (int i = 0; i < 3; ++i) {
      const std::int64_t sent = monotonic_ns();
      CHECK(talk(port.get(), question, 48).size() == 48);
      CHECK(monotonic_ns() - sent >= least_us * 1'000);
    }
  }
  try {
    CHECK(adapter_named("carrier pigeon").usb_us < 0);
  } catch (const std::invalid_argument&) {
    return;
  }
  CHECK(false);
}

void port_is_opened_and_closed_as_often_as_one_likes() {
  Emulator emulator({});
  for (int i = 0; i < 200; ++i) {
    const Descriptor port = open_port(emulator);
    CHECK(::ioctl(port.get(), TIOCEXCL) == 0);
    CHECK(talk(port.get(), request_bytes(1, Instruction::ping), 6) == status_packet(1, 0, {}));
  }
}

void set_rate(int fd, unsigned rate) {
  termios2 line{};
  CHECK(::ioctl(fd, TCGETS2, &line) == 0);
  line.c_cflag = (line.c_cflag & ~static_cast<tcflag_t>(CBAUD)) | BOTHER;
  line.c_ispeed = line.c_ospeed = rate;
  CHECK(::ioctl(fd, TCSETS2, &line) == 0);
}

void host_at_the_wrong_rate_gets_silence() {
  Emulator emulator({});
  const Descriptor port = open_port(emulator);
  const Bytes ping = request_bytes(3, Instruction::ping);
  set_rate(port.get(), 115'200);
  CHECK(talk(port.get(), ping, 6, 50).empty());
  CHECK(count_of(emulator, "wrong_rate") == 1);
  emulator.fault("baud", {{"id", 3}, {"code", 4}});
  CHECK(talk(port.get(), ping, 6).size() == 6);
  set_rate(port.get(), 1'000'000);
  CHECK(talk(port.get(), ping, 6, 50).empty());
}

void duplicated_and_split_replies_hold_their_bytes() {
  Emulator emulator({});
  const Descriptor port = open_port(emulator);
  const Bytes ping = request_bytes(1, Instruction::ping);
  const Bytes reply = status_packet(1, 0, {});
  emulator.fault("duplicate", {{"rate", 1.0}, {"count", 1.0}});
  Bytes twice = reply;
  twice.insert(twice.end(), reply.begin(), reply.end());
  CHECK(talk(port.get(), ping, 12) == twice);
  emulator.fault("split", {{"rate", 1.0}, {"ms", 20.0}, {"count", 1.0}});
  const std::int64_t sent = monotonic_ns();
  CHECK(talk(port.get(), ping, 6) == reply);
  CHECK(monotonic_ns() - sent >= 20'000'000);
  CHECK(count_of(emulator, "duplicated") == 1 && count_of(emulator, "split") == 1);
}

/// Damaged order is a matter of whole packets: an adapter shuffles none of its bytes.
void late_and_split_replies_never_fall_into_another_one() {
  for (const char* profile : {"usb", "wire", "ftdi-1ms"}) {
    Options options;
    options.adapter = adapter_named(profile);
    Emulator emulator(options);
    const Descriptor port = open_port(emulator);
    emulator.fault("late", {{"rate", 0.3}, {"ms", 0.0}, {"most_ms", 3.0}});
    emulator.fault("split", {{"rate", 0.3}, {"ms", 0.3}});
    emulator.fault("duplicate", {{"rate", 0.3}});
    const Bytes question = request_bytes(kBroadcast, Instruction::sync_read, {5, 2, 1, 2, 3, 4, 5, 6});
    Bytes stream;
    for (int i = 0; i < 30; ++i) {
      const Bytes got = talk(port.get(), question, 200, 10);
      stream.insert(stream.end(), got.begin(), got.end());
    }
    CHECK(stream.size() % 8 == 0 && stream.size() > 30 * 48);
    for (std::size_t at = 0; at + 8 <= stream.size(); at += 8) {
      const std::uint8_t id = stream[at + 2];
      CHECK(std::equal(stream.begin() + static_cast<std::ptrdiff_t>(at),
                       stream.begin() + static_cast<std::ptrdiff_t>(at + 8),
                       status_packet(id, 0, Bytes{id, 0}).begin()));
    }
  }
}

void port_comes_back_under_another_name_with_the_servos_as_they_were() {
  Emulator emulator({});
  const std::string before = emulator.port();
  Descriptor port = open_port(emulator);
  CHECK(talk(port.get(), request_bytes(1, Instruction::write, {40, 1}), 6).size() == 6);
  emulator.fault("hangup", {});
  std::array<std::uint8_t, 8> buffer{};
  CHECK(::read(port.get(), buffer.data(), buffer.size()) <= 0);
  port.close();
  emulator.fault("replug", {});
  CHECK(emulator.port() != before);
  port = open_port(emulator);
  const Bytes torque = talk(port.get(), request_bytes(1, Instruction::read, {40, 1}), 7);
  CHECK(torque.size() == 7 && torque[5] == 1);
  const auto refused = [&] {
    try {
      emulator.fault("replug", {});
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  CHECK(refused());  // it is plugged in
  emulator.close();
  CHECK(refused());  // it is gone for good
}

void hand_carries_a_joint() {
  Emulator emulator({});
  const int offset = emulator.joints()[1].homing_offset;
  emulator.carry(2, 2000 + offset);
  CHECK(emulator.positions()[1] == 2000);
  try {
    emulator.carry(2, 5000.0);
    CHECK(false);
  } catch (const std::invalid_argument&) {
    CHECK(emulator.positions()[1] == 2000);
  }
}

void faults_of_servos_reach_the_right_one() {
  Emulator emulator({});
  const Descriptor port = open_port(emulator);
  emulator.fault("twin", {{"id", 2}, {"of", 1}});
  CHECK(talk(port.get(), request_bytes(2, Instruction::ping), 6, 50).empty());
  CHECK(talk(port.get(), request_bytes(1, Instruction::read, {56, 2}), 8).size() == 8);
  CHECK(count_of(emulator, "collisions") == 1);
  emulator.fault("reboot", {{"id", 4}});
  CHECK(talk(port.get(), request_bytes(4, Instruction::ping), 6, 50).empty());
  CHECK(count_of(emulator, "reboots") == 1);
  emulator.fault("model", {{"id", 5}, {"number", 2825}});
  const Bytes model = talk(port.get(), request_bytes(5, Instruction::read, {3, 2}), 8);
  CHECK(model.size() == 8 && model[5] == 0x09 && model[6] == 0x0B);
}

}  // namespace

int run_fault_tests() {
  const std::vector<std::function<void()>> tests{
      same_seed_gives_the_same_faults,
      faults_refuse_what_does_not_fit,
      noise_may_fall_inside_a_reply_and_waits_are_drawn,
      twins_speak_at_once_and_spoil_each_other,
      broadcast_ping_follows_the_ids_not_the_places,
      servo_at_another_rate_hears_nothing,
      reader_counts_a_byte_by_its_rate,
      servo_that_loses_its_supply_comes_back_without_torque,
      adapters_keep_their_grid,
      port_is_opened_and_closed_as_often_as_one_likes,
      host_at_the_wrong_rate_gets_silence,
      duplicated_and_split_replies_hold_their_bytes,
      late_and_split_replies_never_fall_into_another_one,
      port_comes_back_under_another_name_with_the_servos_as_they_were,
      hand_carries_a_joint,
      faults_of_servos_reach_the_right_one,
  };
  for (const auto& test : tests) test();
  return static_cast<int>(tests.size());
}

}  // namespace rl::emulator
