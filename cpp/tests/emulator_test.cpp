/// The emulated servo chain, tested without the core: a plain program, exit code 1 when a sentence does not
/// hold.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <thread>

#include "emulator_bench.hpp"

namespace rl::emulator {
namespace {

void reader_cuts_requests_out_of_noise() {
  RequestReader reader;
  Bytes stream{0x00, 0xFF, 0x13, 0xFF};  // the last FF makes FF FF FF with the header
  const Bytes ping = request_bytes(1, Instruction::ping);
  stream.insert(stream.end(), ping.begin(), ping.end());
  reader.feed(stream, 0);
  const auto found = reader.next();
  CHECK(found && found->id == 1 && found->instruction == Instruction::ping);
  CHECK(found && found->arrived == 10 * kByteNs);
  CHECK(reader.noise_bytes() == 4);
  CHECK(!reader.next());
}

void reader_survives_a_bad_checksum_and_a_missing_end() {
  RequestReader reader;
  Bytes damaged = request_bytes(2, Instruction::read, {56, 2});
  damaged.back() ^= 0x10;
  const Bytes sound = request_bytes(3, Instruction::read, {56, 2});
  damaged.insert(damaged.end(), sound.begin(), sound.end());
  reader.feed(damaged, 0);
  const auto found = reader.next();
  CHECK(found && found->id == 3);
  CHECK(reader.checksum_errors() == 1);
  reader.feed(std::span(sound).first(5), kSecond);
  CHECK(!reader.next());
  reader.feed(sound, 2 * kSecond);
  CHECK(reader.next().has_value());
  CHECK(reader.truncated() == 1);
}

void replies_have_the_protocols_bytes() {
  CHECK((status_packet(1, 0, {}) == Bytes{0xFF, 0xFF, 1, 2, 0, 0xFC}));
  const Bytes value{0xFF, 0x07};
  CHECK((status_packet(3, 0, value) == Bytes{0xFF, 0xFF, 3, 4, 0, 0xFF, 0x07, 0xF2}));
}

void sign_magnitude_keeps_value_and_sign() {
  CHECK(to_sign_magnitude(-769, 11) == 2817);
  CHECK(from_sign_magnitude(2817, 11) == -769);
  CHECK(to_sign_magnitude(-2048, 11) == (2047 | 1 << 11));
  for (int v = -2047; v <= 2047; ++v) CHECK(from_sign_magnitude(to_sign_magnitude(v, 11), 11) == v);
}

void eeprom_write_is_lost_at_reboot_while_locked() {
  Bench bench;
  bench.write(1, {21, 99});
  CHECK(bench.chain.servo(0).memory().byte(reg::kPGain) == 99);
  CHECK(bench.chain.statistics().eeprom_writes == 0);
  CHECK(bench.ask(1, Instruction::reboot, {}).empty());
  CHECK(bench.chain.servo(0).memory().byte(reg::kPGain) == 16);
  CHECK(bench.ask(1, Instruction::ping, {}).empty());  // it starts up
  bench.run(0.5);
  CHECK(bench.ask(1, Instruction::ping, {}).size() == 1);
}

void eeprom_write_stays_when_the_lock_is_open() {
  Bench bench;
  bench.write(1, {55, 0});
  bench.write(1, {21, 99});
  bench.write(1, {41, 7});  // RAM: stored nowhere
  CHECK(bench.chain.statistics().eeprom_writes == 1);
  CHECK(bench.ask(1, Instruction::reboot, {}).empty());
  bench.run(0.5);
  CHECK(bench.chain.servo(0).memory().byte(reg::kPGain) == 99);
  CHECK(bench.chain.servo(0).memory().byte(reg::kAcceleration) == 0);
  CHECK(bench.chain.servo(0).memory().byte(reg::kLock) == 1);
}

void read_only_registers_stay() {
  Bench bench;
  bench.write(1, {3, 1, 2});
  bench.write(1, {62, 1});
  CHECK(bench.chain.servo(0).memory().word(reg::kModel) == 777);
  CHECK(bench.chain.servo(0).memory().byte(reg::kVoltage) == 120);
  CHECK(bench.chain.servo(0).status() == 0);
}

void offset_renames_the_place_where_the_body_stands() {
  Bench bench;
  const int before = bench.position(0);
  const int offset = from_sign_magnitude(bench.chain.servo(0).memory().word(reg::kHomingOffset), 11);
  bench.write(1, {31, 0, 0});
  CHECK(bench.position(0) == ((before + offset) % 4096 + 4096) % 4096);
}

void torque_128_makes_the_place_the_middle() {
  Bench bench;
  for (int id = 1; id <= 6; ++id) {
    bench.write(static_cast<std::uint8_t>(id), {40, 128});
    CHECK(bench.position(static_cast<std::size_t>(id - 1)) == 2048);
  }
  CHECK(bench.chain.servo(0).memory().byte(reg::kTorqueEnable) == 0);
}

void body_without_torque_keeps_its_pose() {
  Bench bench;
  const int before = bench.position(0);
  bench.write(1, {42, 0, 8 + 1});
  bench.run(2.0);
  CHECK(bench.position(0) == before);
  bench.write(1, {40, 1});
  bench.run(3.0);
  CHECK(bench.position(0) == 0x900);
  bench.write(1, {40, 0});
  bench.write(1, {42, 0, 8});
  bench.run(1.0);
  CHECK(bench.position(0) == 0x900);
}

void goal_is_cut_at_the_position_limits() {
  Bench bench;
  bench.write(1, {40, 1});
  bench.write(1, {42, 0xFF, 0x0F});
  bench.run(5.0);
  CHECK(bench.position(0) == bench.chain.joints()[0].range_max);
  bench.write(1, {42, 0x64, 0x80});  // -100
  bench.run(5.0);
  CHECK(bench.position(0) == bench.chain.joints()[0].range_min);
}

void motion_keeps_to_its_speed_and_acceleration() {
  Bench bench(Kind::follower, false, 0.0);
  bench.write(1, {41, 50, 3200 & 255, 3200 >> 8});  // 5,000 step/s^2
  bench.write(1, {40, 1});
  const double limit = 5000.0;
  double last = bench.position(0), last_speed = 0.0, fastest = 0.0;
  for (int i = 0; i < 250; ++i) {
    bench.run(0.01);
    const double speed = (bench.position(0) - last) / 0.01;
    CHECK(std::abs(speed - last_speed) / 0.01 < limit + 2 * 1 / 1e-4 + 500);  // two roundings to a step
    fastest = std::max(fastest, speed);
    last = bench.position(0);
    last_speed = speed;
    CHECK(bench.position(0) <= 3200);
  }
  CHECK(bench.position(0) == 3200);
  CHECK(fastest <= 3072 + 100);
  bench.write(1, {46, 200, 0});  // Goal_Velocity 200 step/s
  bench.write(1, {42, 1000 & 255, 1000 >> 8});
  bench.run(1.0);
  CHECK(bench.position(0) > 3200 - 225 && bench.position(0) < 3200 - 170);
}

void body_lags_behind_a_ramp_by_the_time_constant() {
  Bench bench(Kind::follower, false, 0.06);
  bench.write(1, {40, 1});
  const int start = bench.position(0);
  for (int i = 1; i <= 60; ++i) {  // 10 steps every 20 ms: 500 step/s
    const int goal = start + 10 * i;
    bench.ask(1, Instruction::write, {42, goal & 255, goal >> 8});
    bench.run(0.01);
  }
  const int behind = start + 600 - bench.position(0);
  CHECK(behind > 20 && behind < 55);  // 30 steps of lag, up to one goal, a little for the set point
}

void sync_read_answers_in_list_order_at_wire_pace() {
  Bench bench;
  const auto answers = bench.ask(kBroadcast, Instruction::sync_read, {56, 2, 3, 1, 6});
  CHECK(answers.size() == 3);
  CHECK(answers[0].id == 3 && answers[1].id == 1 && answers[2].id == 6);
  CHECK(answers[0].start == bench.now + Chain::kProcessingNs);
  CHECK(answers[1].start == answers[0].end() + Chain::kProcessingNs);
  CHECK(answers[0].packet.size() == 8 && answers[0].end() - answers[0].start == 80'000);
}

void return_delay_counts_two_microseconds_a_unit() {
  Bench bench;
  bench.write(2, {7, 250});
  const auto answers = bench.ask(2, Instruction::ping, {});
  CHECK(answers.size() == 1 && answers[0].start == bench.now + 500'000 + Chain::kProcessingNs);
}

void muted_motor_leaves_a_gap_and_hears_nothing() {
  Bench bench;
  bench.chain.mute(1, true);
  const auto answers = bench.ask(kBroadcast, Instruction::sync_read, {56, 2, 1, 2, 3});
  CHECK(answers.size() == 2 && answers[1].id == 3);
  CHECK(answers[1].start - answers[0].end() == 2 * Chain::kProcessingNs + 80'000);
  CHECK(bench.ask(2, Instruction::write, {40, 1}).empty());
  bench.chain.mute(1, false);
  CHECK(bench.chain.servo(1).memory().byte(reg::kTorqueEnable) == 0);
  CHECK(bench.ask(2, Instruction::ping, {}).size() == 1);
}

void broadcast_ping_is_answered_in_id_order() {
  Bench bench;
  const auto answers = bench.ask(kBroadcast, Instruction::ping, {});
  CHECK(answers.size() == 6);
  for (std::size_t i = 0; i < answers.size(); ++i) CHECK(answers[i].id == i + 1);
}

void response_level_0_answers_reads_and_pings_only() {
  Bench bench;
  CHECK(bench.ask(1, Instruction::write, {8, 0}).empty());
  CHECK(bench.ask(1, Instruction::write, {40, 1}).empty());
  CHECK(bench.chain.servo(0).memory().byte(reg::kTorqueEnable) == 1);
  CHECK(bench.ask(1, Instruction::read, {56, 2}).size() == 1);
  CHECK(bench.ask(1, Instruction::ping, {}).size() == 1);
  CHECK(bench.ask(kBroadcast, Instruction::write, {40, 0}).empty());
  CHECK(bench.chain.servo(5).memory().byte(reg::kTorqueEnable) == 0);
}

void held_write_waits_for_the_action() {
  Bench bench;
  bench.ask(1, Instruction::reg_write, {40, 1});
  bench.ask(2, Instruction::reg_write, {40, 1});
  CHECK(bench.chain.servo(0).memory().byte(reg::kTorqueEnable) == 0);
  CHECK(bench.chain.servo(0).memory().byte(reg::kAsyncFlag) == 1);
  CHECK(bench.ask(kBroadcast, Instruction::action, {}).empty());
  CHECK(bench.chain.servo(0).memory().byte(reg::kTorqueEnable) == 1);
  CHECK(bench.chain.servo(1).memory().byte(reg::kTorqueEnable) == 1);
  CHECK(bench.chain.servo(0).memory().byte(reg::kAsyncFlag) == 0);
}

void id_write_is_answered_under_the_old_id() {
  Bench bench;
  const auto answers = bench.ask(6, Instruction::write, {5, 9});
  CHECK(answers.size() == 1 && answers[0].id == 6);
  CHECK(bench.ask(6, Instruction::ping, {}).empty());
  CHECK(bench.ask(9, Instruction::ping, {}).size() == 1);
}

void misunderstood_requests_get_silence() {
  Bench bench;
  CHECK(bench.ask(1, Instruction::read, {127, 2}).empty());
  CHECK(bench.ask(1, Instruction::read, {0, 0}).empty());
  CHECK(bench.ask(1, Instruction::write, {127, 1, 1}).empty());
  CHECK(bench.ask(kBroadcast, Instruction::read, {56, 2}).empty());
  CHECK(bench.ask(kBroadcast, Instruction::sync_write, {42, 2, 1, 0}).empty());
  CHECK(bench.ask(kBroadcast, Instruction::sync_write, {42, 2}).empty());
  CHECK(bench.ask(1, static_cast<Instruction>(0x77), {1}).empty());
  CHECK(bench.chain.statistics().rejected == 7);
  CHECK(bench.chain.goals().times().empty());
}

void goals_are_logged_with_their_arrival() {
  Bench bench;
  bench.ask(kBroadcast, Instruction::sync_write, {42, 2, 1, 0, 8, 3, 0x64, 0x80});
  const std::int64_t first = bench.now;
  bench.ask(2, Instruction::write, {41, 0, 1, 8});
  bench.ask(2, Instruction::write, {41, 0});  // no goal in it
  CHECK((bench.chain.goals().times() == std::vector<std::int64_t>{first, first + kSecond / 100}));
  const auto rows = bench.chain.goals().rows();
  CHECK(rows.size() == 2 && rows[0][0] == 2048 && rows[0][2] == -100);
  CHECK(rows[0][1] == bench.position(1) && rows[1][1] == 2049 && rows[1][0] == 2048);
}

void goal_log_keeps_the_newest() {
  GoalLog log;
  for (std::int64_t i = 0; i < 100'010; ++i) log.push(i, {});
  CHECK(log.times().size() == GoalLog::kCapacity);
  CHECK(log.times().front() == 10 && log.times().back() == 100'009);
}

void wave_starts_at_rest_and_comes_round() {
  for (std::size_t j = 0; j < kJoints; ++j) {
    CHECK(std::abs(wave_pose(0.02)[j] - wave_pose(0.0)[j]) < 1e-2);
    CHECK(std::abs(wave_pose(1.7)[j] - wave_pose(1.7 + kWavePeriodS)[j]) < 1e-9);
    for (int i = 0; i < 1000; ++i) {
      CHECK(std::abs(wave_pose(i * 0.006 + 0.001)[j] - wave_pose(i * 0.006)[j]) < 0.041);
    }
  }
  const Pose leader = wave_pose(0.0);
  const Pose steps = to_steps(joints_of(Kind::leader), leader);
  for (std::size_t j = 0; j < kJoints; ++j) {
    const Joint& joint = joints_of(Kind::leader)[j];
    CHECK(std::abs(joint.to_unit(steps[j], unit_of(j, Unit::degrees)) - leader[j]) < 1e-9);
    CHECK(steps[j] > joint.range_min && steps[j] < joint.range_max);
  }
}

void waving_leader_shows_its_path_in_its_registers() {
  Bench bench(Kind::leader, true);
  bench.run(2.5);
  const Pose steps = to_steps(joints_of(Kind::leader), wave_pose(2.5));
  for (std::size_t j = 0; j < kJoints; ++j) CHECK(std::abs(bench.position(j) - steps[j]) <= 0.5);
  CHECK(bench.chain.servo(0).memory().byte(reg::kMoving) == 1);
  bench.write(1, {31, 0, 0});  // another offset renames the places of the path as well
  bench.run(0.0);
  const int renamed = static_cast<int>(std::lround(steps[0])) + joints_of(Kind::leader)[0].homing_offset;
  CHECK(std::abs(bench.position(0) - renamed) < 10);
}

void status_shows_voltage_heat_and_overload() {
  Bench bench;
  Servo& servo = bench.chain.servo(0);
  const Bytes low{30};
  servo.place(reg::kVoltage, low);
  CHECK(servo.status() == 1);
  const Bytes hot{99};
  servo.place(reg::kTemperature, hot);
  servo.set_overload(true);
  const auto answers = bench.ask(1, Instruction::ping, {});
  CHECK(answers.size() == 1 && answers[0].packet[4] == (1 | 4 | 32));
}

// --- through the pseudo-terminal

void two_emulators_answer_over_their_ports_until_they_hang_up() {
  Emulator follower({});
  Options options;
  options.kind = Kind::leader;
  options.wave = true;
  options.adapter.usb_us = 0;
  Emulator leader(options);
  const Descriptor one(::open(follower.port().c_str(), O_RDWR | O_NOCTTY));
  const Descriptor two(::open(leader.port().c_str(), O_RDWR | O_NOCTTY));
  CHECK(one.get() >= 0 && two.get() >= 0);
  const Bytes ping = request_bytes(1, Instruction::ping);
  CHECK(talk(one.get(), ping, 6) == status_packet(1, 0, {}));
  CHECK(talk(two.get(), ping, 6) == status_packet(1, 0, {}));

  const std::int64_t sent = monotonic_ns();
  const Bytes reply =
      talk(one.get(), request_bytes(kBroadcast, Instruction::sync_read, {56, 2, 1, 2, 3, 4, 5, 6}), 48);
  const std::int64_t took = monotonic_ns() - sent;
  CHECK(reply.size() == 48 && reply[2] == 1 && reply[42] == 6);
  CHECK(took >= 740'000);  // 14 bytes out, 48 back, six times the processing

  follower.fault("hangup", {});
  std::array<std::uint8_t, 8> buffer{};
  CHECK(::read(one.get(), buffer.data(), buffer.size()) <= 0);
  CHECK(talk(two.get(), ping, 6).size() == 6);
  leader.close();
  leader.close();
}

void calls_from_other_threads_do_not_disturb_the_bus() {
  Emulator emulator({});
  const Descriptor port(::open(emulator.port().c_str(), O_RDWR | O_NOCTTY));
  std::atomic<bool> stop{false};
  std::thread watcher([&] {
    while (!stop.load()) {
      CHECK(emulator.positions().size() == kJoints);
      CHECK(emulator.registers(1).size() == kMemorySize);
      CHECK(emulator.goals().size() <= 50 && emulator.goal_times().size() <= 50);
      emulator.fault("drop", {{"rate", 0.0}});
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  for (int i = 0; i < 50; ++i) {
    const Bytes goal = request_bytes(kBroadcast, Instruction::sync_write, {42, 2, 1, i, 8});
    CHECK(::write(port.get(), goal.data(), goal.size()) == static_cast<ssize_t>(goal.size()));
    CHECK(talk(port.get(), request_bytes(1, Instruction::read, {42, 2}), 8).size() == 8);
  }
  stop.store(true);
  watcher.join();
  CHECK(emulator.goals().size() == 50 && emulator.goals().back()[0] == 2048 + 49);
  CHECK(emulator.statistics().at("sync_writes") == 50);
}

void wrong_options_are_refused() {
  const auto refused = [](const Options& options) {
    try {
      const Emulator emulator(options);
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  Options options;
  options.wave = true;
  CHECK(refused(options));
  options = {};
  options.adapter.usb_us = -1;
  CHECK(refused(options));
  options = {};
  options.lag_s = std::nan("");
  CHECK(refused(options));
}

}  // namespace
}  // namespace rl::emulator

int main() {
  using namespace rl::emulator;
  const std::vector<std::function<void()>> tests{
      reader_cuts_requests_out_of_noise,
      reader_survives_a_bad_checksum_and_a_missing_end,
      replies_have_the_protocols_bytes,
      sign_magnitude_keeps_value_and_sign,
      eeprom_write_is_lost_at_reboot_while_locked,
      eeprom_write_stays_when_the_lock_is_open,
      read_only_registers_stay,
      offset_renames_the_place_where_the_body_stands,
      torque_128_makes_the_place_the_middle,
      body_without_torque_keeps_its_pose,
      goal_is_cut_at_the_position_limits,
      motion_keeps_to_its_speed_and_acceleration,
      body_lags_behind_a_ramp_by_the_time_constant,
      sync_read_answers_in_list_order_at_wire_pace,
      return_delay_counts_two_microseconds_a_unit,
      muted_motor_leaves_a_gap_and_hears_nothing,
      broadcast_ping_is_answered_in_id_order,
      response_level_0_answers_reads_and_pings_only,
      held_write_waits_for_the_action,
      id_write_is_answered_under_the_old_id,
      misunderstood_requests_get_silence,
      goals_are_logged_with_their_arrival,
      goal_log_keeps_the_newest,
      wave_starts_at_rest_and_comes_round,
      waving_leader_shows_its_path_in_its_registers,
      status_shows_voltage_heat_and_overload,
      two_emulators_answer_over_their_ports_until_they_hang_up,
      calls_from_other_threads_do_not_disturb_the_bus,
      wrong_options_are_refused,
  };
  for (const auto& test : tests) test();
  const int further = run_fault_tests();
  std::printf("%zu tests, %d failures\n", tests.size() + static_cast<std::size_t>(further), failures.load());
  return failures == 0 ? 0 : 1;
}
