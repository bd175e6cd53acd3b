/// The guardian and its second hand as processes of their own, on the emulated chain.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <thread>
#include <vector>

#include "check.hpp"
#include "rl/black_box.hpp"
#include "sim_arm.hpp"

using namespace sim;

namespace {

rl::HouseConfig guarded_config(rl::StopPolicy policy) {
  rl::HouseConfig config = house_config(rl::SourceKind::setpoints);
  config.duration_s = 0;
  config.guardian = RL_GUARDIAN;
  config.planner.queue.keep_last = true;
  config.planner.safety.stop_policy = policy;
  config.planner.safety.has_rest_pose = true;
  return config;
}

/// An emulated arm whose loop is in a guardian, with a source that keeps asking for `lift` degrees more.
struct Guarded {
  /// The rest pose lies `away` degrees of the first joint from where the arm stands.
  explicit Guarded(rl::StopPolicy policy, double away = 0, std::int64_t soft_start = 200 * rl::kMillisecond,
                   double rate = 50, bool estop_off = false)
      : part(part_of(emulator)) {
    rl::HouseConfig config = guarded_config(policy);
    config.planner.safety.soft_start = soft_start;
    config.planner.safety.estop_off = estop_off;
    config.rate_hz = rate;
    static_cast<void>(part.bus->chain.read_now(kPatience));
    const auto joints = part.bus->chain.joints();
    for (std::size_t k = 0; k < 6; ++k) config.planner.axes[k].rest = joints[k].value;
    config.planner.axes[0].rest += away;
    auto made = rl::LoopHouse::make(config, {part}, {});
    REQUIRE(made.ok());
    house = std::move(made.value());
    const auto started = house->start();
    if (!started.ok()) std::fprintf(stderr, "%s\n", started.error().text.c_str());
    REQUIRE(started.ok());
    begin = house->look().values;
  }
  ~Guarded() { stop_source(); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  void arm() {
    const auto armed = house->arm();
    if (!armed.ok()) std::fprintf(stderr, "%s\n", armed.error().text.c_str());
    REQUIRE(armed.ok());
    source = std::thread([this] {
      while (!done) {
        std::array<double, 6> wanted{};
        for (std::size_t k = 0; k < 6; ++k) wanted[k] = begin[k] + (k == 0 ? lift.load() : 0);
        static_cast<void>(house->push_setpoint(wanted, rl::now_ns(), rl::now_ns()));
        if (state_of(*house) == rl::State::hold) house->requests().resume();
        rl::sleep_until_ns(rl::now_ns() + 10 * rl::kMillisecond);
      }
    });
    REQUIRE(eventually([&] { return state_of(*house) == rl::State::active; }));
  }
  /// How far the goal of the first joint has come from where the arm stood, degrees.
  [[nodiscard]] double moved() {
    const auto goals = emulator.goals();
    return goals.empty() ? 0 : part.bus->chain.config().joints[0].to_unit(goals.back()[0]) - begin[0];
  }
  [[nodiscard]] bool saw(rl::State state, rl::Reason reason) const {
    const auto events = house->journal().states.events();
    return std::any_of(events.begin(), events.end(),
                       [&](const rl::StateEvent& e) { return e.state == state && e.reason == reason; });
  }
  void stop_source() {
    done = true;
    if (source.joinable()) source.join();
  }
  [[nodiscard]] bool torque(int on) {
    for (int id = 1; id <= 6; ++id) {
      if (emulator.registers(id)[40] != on) return false;
    }
    return true;
  }

  rl::emulator::Emulator emulator{{}};
  rl::BusPart part;
  std::unique_ptr<rl::LoopHouse> house;
  rl::AxisVector begin{};
  std::atomic<double> lift{2};
  std::atomic<bool> done{false};
  std::thread source;
};

/// A datagram on the emergency-stop socket of a process.
bool stop_by_socket(int process) {
  const std::string name = rl::estop_socket(process);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const int sender = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const bool sent = ::sendto(sender, "stop", 4, 0, reinterpret_cast<sockaddr*>(&address), size) == 4;
  ::close(sender);
  return sent;
}

/// No goal was written while we looked on.
bool silence_for(rl::emulator::Emulator& emulator, std::int64_t time) {
  const std::size_t before = emulator.goal_times().size();
  rl::sleep_until_ns(rl::now_ns() + time);
  return emulator.goal_times().size() == before;
}

/// Two emulated arms in one guardian; the right one is faulted by a motor that starts anew.
struct GuardedPair {
  explicit GuardedPair(rl::StopPolicy policy, bool estop_off = false) {
    rl::BusPart left_part = part_of(left);
    rl::BusPart right_part = part_of(right);
    right_part.begin = 6;
    rl::HouseConfig config = guarded_config(policy);
    config.planner.safety.estop_off = estop_off;
    const auto one = config.planner.axes;
    for (const rl::PlannerAxis& axis : one) config.planner.axes.push_back(axis);
    for (const rl::BusPart& part : {left_part, right_part}) {
      static_cast<void>(part.bus->chain.read_now(kPatience));
      for (std::size_t k = 0; k < 6; ++k)
        config.planner.axes[part.begin + k].rest = part.bus->chain.joints()[k].value + (k == 0 ? 10 : 0);
    }
    auto made = rl::LoopHouse::make(config, {left_part, right_part}, {});
    REQUIRE(made.ok());
    house = std::move(made.value());
    REQUIRE(house->start().ok());
    begin = house->look().values;
  }
  void push() { static_cast<void>(house->push_setpoint({begin.data(), 12}, rl::now_ns(), rl::now_ns())); }
  void arm() {
    push();
    REQUIRE(house->arm().ok());
    REQUIRE(eventually([&] {
      push();
      if (state_of(*house) == rl::State::hold) house->requests().resume();
      return state_of(*house) == rl::State::active;
    }));
  }
  void fault_the_right_one() {
    arm();
    right.fault("reboot", {{"id", 3.0}});
    REQUIRE(eventually([&] { return push(), state_of(*house) == rl::State::fault; }));
    REQUIRE(eventually([&] { return push(), house->look().arms[0].state == rl::State::hold; }));
  }
  [[nodiscard]] static int energised(rl::emulator::Emulator& emulator) {
    int out = 0;
    for (int id = 1; id <= 6; ++id) out += emulator.registers(id)[40];
    return out;
  }
  rl::emulator::Emulator left{{}};
  rl::emulator::Emulator right{{}};
  std::unique_ptr<rl::LoopHouse> house;
  rl::AxisVector begin{};
};

}  // namespace

TEST_CASE("a guardian that dies with one arm in FAULT: the other is laid down, that one stays as it is") {
  GuardedPair pair(rl::StopPolicy::rest);
  pair.fault_the_right_one();
  const std::size_t written = pair.right.goal_times().size();
  REQUIRE(::kill(pair.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return pair.house->ended(); }));
  CHECK(GuardedPair::energised(pair.left) == 0);
  CHECK(GuardedPair::energised(pair.right) == 5);
  const auto goals = pair.right.goals();
  CHECK(std::all_of(goals.begin() + static_cast<std::ptrdiff_t>(written), goals.end(),
                    [&](const auto& goal) { return goal == goals[written - 1]; }));
  CHECK(pair.house->still_energised().size() == 5);
  const rl::Look look = pair.house->look();
  CHECK(look.state == rl::State::fault);
  CHECK(look.arms[0].state == rl::State::off);
  CHECK(look.arms[1].reason == rl::Reason::motor_rebooted);
  pair.house->close();
}

TEST_CASE("of two arms that are asked to stop the one in FAULT keeps its torque") {
  GuardedPair pair(rl::StopPolicy::rest);
  pair.fault_the_right_one();
  pair.house->requests().stop(rl::StopPolicy::rest);
  CHECK(eventually([&] { return pair.house->ended(); }));
  CHECK(pair.house->exit_code() == 1);
  CHECK(GuardedPair::energised(pair.left) == 0);
  CHECK(GuardedPair::energised(pair.right) == 5);
  pair.house->close();
}

TEST_CASE("a guardian carries out a whole session and ends without torque") {
  Guarded arm(rl::StopPolicy::rest);
  CHECK(arm.house->guardian() > 0);
  CHECK(arm.house->second_hand() > 0);
  CHECK(arm.house->guardian() != ::getpid());
  CHECK(!arm.part.bus->chain.is_open());
  arm.arm();
  CHECK(arm.torque(1));
  arm.house->requests().stop(rl::StopPolicy::rest);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.house->exit_code() == 0);
  CHECK(arm.house->still_energised().empty());
  CHECK(arm.torque(0));
  arm.stop_source();
  arm.house->close();
  CHECK(::kill(arm.house->guardian(), 0) != 0);
  CHECK(::kill(arm.house->second_hand(), 0) != 0);
}

TEST_CASE("a guardian that cannot start says why") {
  rl::emulator::Emulator emulator({});
  const rl::BusPart part = part_of(emulator);
  rl::HouseConfig config = guarded_config(rl::StopPolicy::rest);
  config.guardian = "/nowhere/rl-guardian";
  auto made = rl::LoopHouse::make(config, {part}, {});
  REQUIRE(made.ok());
  const auto started = made.value()->start();
  REQUIRE(!started.ok());
  CHECK(started.error().code == rl::ErrorCode::absent);
  made.value()->close();

  REQUIRE(part.bus->chain.open().ok());
  config.guardian = RL_GUARDIAN;
  config.black_boxes = "/dev/null/blackbox";
  auto boxless = rl::LoopHouse::make(config, {part}, {});
  REQUIRE(boxless.ok());
  const auto unready = boxless.value()->start();
  REQUIRE(!unready.ok());
  CHECK(unready.error().text.find("no black box can be written into /dev/null/blackbox: Not a directory") ==
        0);
  boxless.value()->close();
  config.black_boxes = "";

  REQUIRE(part.bus->chain.open().ok());
  emulator.fault("mute", {{"id", 4.0}});
  config.guardian = RL_GUARDIAN;
  auto silent = rl::LoopHouse::make(config, {part}, {});
  REQUIRE(silent.ok());
  const auto refused = silent.value()->start();
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == rl::ErrorCode::motor_missing);
  CHECK(refused.error().text.find("id 4") != std::string::npos);
}

TEST_CASE("a machine whose clock was never set is not ready to keep a black box") {
  CHECK(rl::make_ready("/tmp", 1'800'000'000).ok());
  const auto unset = rl::make_ready("/tmp", 86'400);
  REQUIRE(!unset.ok());
  CHECK(unset.error().text.find("the clock of this machine has never been set") == 0);
}

TEST_CASE("a killed guardian's arm goes to rest and is released by the second hand") {
  Guarded arm(rl::StopPolicy::rest);
  arm.arm();
  const std::size_t written = arm.emulator.goal_times().size();
  const std::int64_t killed = rl::now_ns();
  REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.house->exit_code() == 1);
  CHECK(arm.torque(0));
  const auto times = arm.emulator.goal_times();
  REQUIRE(times.size() > written + 1);
  const auto after = std::find_if(times.begin(), times.end(), [&](std::int64_t t) { return t > killed; });
  CHECK(after != times.end());
  const auto events = arm.house->journal().states.events();
  CHECK(std::any_of(events.begin(), events.end(), [](const rl::StateEvent& e) {
    return e.state == rl::State::fault && e.reason == rl::Reason::guardian_died;
  }));
  CHECK(eventually([&] { return silence_for(arm.emulator, 100 * rl::kMillisecond); }));
}

TEST_CASE("where the arm is to stay, the second hand leaves it under torque at the last goal") {
  Guarded arm(rl::StopPolicy::hold);
  arm.arm();
  REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.torque(1));
  CHECK(arm.house->still_energised().size() == 6);
  CHECK(arm.house->exit_code() == 1);
}

TEST_CASE("a stopped guardian is killed before anybody else writes, and never writes again") {
  Guarded arm(rl::StopPolicy::hold);
  arm.arm();
  const int guardian = arm.house->guardian();
  REQUIRE(::kill(guardian, SIGSTOP) == 0);
  CHECK(eventually([&] { return arm.house->ended(); }));
  arm.stop_source();
  ::kill(guardian, SIGCONT);
  CHECK(eventually([&] { return silence_for(arm.emulator, 200 * rl::kMillisecond); }));
  CHECK(arm.torque(1));
}

TEST_CASE("a guardian that is stopped while it arms is soon noticed") {
  std::int64_t best = rl::kSecond;
  for (int turn = 0; turn < 3; ++turn) {  // a host that stands still for a moment does so in one of them
    Guarded arm(rl::StopPolicy::rest);
    arm.emulator.fault("late", {{"rate", 1.0}, {"ms", 15.0}});  // each exchange with a motor takes its time
    bool armed = true;
    std::thread asks([&] { armed = arm.house->arm().ok(); });
    rl::sleep_until_ns(rl::now_ns() + 100 * rl::kMillisecond);
    const std::int64_t stopped = rl::now_ns();
    REQUIRE(::kill(arm.house->guardian(), SIGSTOP) == 0);
    CHECK(eventually([&] { return arm.house->ended(); }));
    best = std::min(best, rl::now_ns() - stopped);
    asks.join();
    CHECK(!armed);
    CHECK(arm.torque(0));
  }
  CHECK(best < 500 * rl::kMillisecond);
}

TEST_CASE("an arming that is cut short by the guardian's death leaves no arm half energised") {
  Guarded arm(rl::StopPolicy::rest, 10);
  arm.emulator.fault("late", {{"rate", 1.0}, {"ms", 15.0}});
  std::thread asks([&] { static_cast<void>(arm.house->arm()); });
  CHECK(eventually([&] { return arm.emulator.registers(1)[40] == 1; }));
  REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
  CHECK(arm.emulator.registers(6)[40] == 0);
  arm.emulator.fault("late", {{"rate", 0.0}, {"ms", 15.0}});
  CHECK(eventually([&] { return arm.house->ended(); }));
  asks.join();
  CHECK(arm.torque(0));
  CHECK(arm.saw(rl::State::off, rl::Reason::rest_reached));
  CHECK(arm.house->exit_code() == 1);
}

TEST_CASE("a guardian that dies before its first goal moves nothing but by the stop policy") {
  Guarded arm(rl::StopPolicy::hold, 0, rl::kSecond, 10);
  REQUIRE(arm.house->arm().ok());  // the first goal leaves at the next deadline
  rl::sleep_until_ns(rl::now_ns() + 5 * rl::kMillisecond);
  REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return arm.house->ended(); }));
  for (const auto& row : arm.emulator.goals()) {
    for (std::size_t k = 0; k < 6; ++k) {
      CHECK(std::abs(arm.part.bus->chain.config().joints[k].to_unit(row[k]) - arm.begin[k]) < 3);
    }
  }
}

TEST_CASE("a torque ramp that is cut short goes on to the whole limit") {
  Guarded arm(rl::StopPolicy::hold, 0, 20 * rl::kSecond);
  REQUIRE(arm.house->arm().ok());
  CHECK(eventually([&] { return state_of(*arm.house) == rl::State::soft_start; }));
  REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.torque(1));
  for (int id = 1; id <= 6; ++id) {
    CHECK(eventually([&] {
      const auto regs = arm.emulator.registers(id);
      return regs[48] + 256 * regs[49] == regs[16] + 256 * regs[17];
    }));
  }
}

TEST_CASE("a warm arm is laid down by the second hand too") {
  Guarded arm(rl::StopPolicy::rest, 5);
  arm.arm();
  arm.emulator.set_register(3, 63, std::vector<std::uint8_t>{64});  // too hot to be armed, not to move
  REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.torque(0));
  CHECK(arm.saw(rl::State::off, rl::Reason::rest_reached));
}

TEST_CASE("an emergency stop is heard while the second hand lays the arm down") {
  for (const bool by_socket : {true, false}) {
    Guarded arm(rl::StopPolicy::rest, 60);
    arm.arm();
    arm.stop_source();
    REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
    CHECK(eventually([&] { return arm.moved() > 8; }));
    const std::int64_t asked = rl::now_ns();
    if (by_socket) {
      CHECK(stop_by_socket(arm.house->second_hand()));
    } else {
      arm.house->requests().estop();
    }
    CHECK(eventually([&] { return arm.house->ended(); }));
    CHECK(rl::now_ns() - asked < rl::kSecond);
    CHECK(arm.saw(rl::State::estop, rl::Reason::estop));
    CHECK(state_of(*arm.house) == rl::State::estop);
    CHECK(arm.torque(1));
    CHECK(arm.house->still_energised().size() == 6);
    CHECK(arm.moved() < 45);
  }
}

TEST_CASE("an emergency stop that the guardian did not live to carry out is carried out, and nothing moves") {
  for (const bool off : {false, true}) {
    Guarded arm(rl::StopPolicy::rest, 60, 200 * rl::kMillisecond, 50, off);
    arm.arm();
    arm.stop_source();
    for (int id = 1; id <= 6; ++id) arm.emulator.fault("mute", {{"id", static_cast<double>(id)}});
    const double stood = arm.moved();
    arm.house->requests().estop();
    CHECK(eventually([&] { return !arm.house->requests().urgent(); }));
    REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
    for (int id = 1; id <= 6; ++id) arm.emulator.fault("unmute", {{"id", static_cast<double>(id)}});
    CHECK(eventually([&] { return arm.house->ended(); }));
    CHECK(arm.torque(off ? 0 : 1));
    CHECK(arm.house->still_energised().size() == (off ? 0 : 6));
    CHECK(std::abs(arm.moved() - stood) < 1);
    CHECK(!arm.saw(rl::State::rest, rl::Reason::stop_requested));
    CHECK(arm.house->exit_code() == 1);
  }
}

TEST_CASE("an arm that does not answer keeps the second hand from laying down no other one") {
  GuardedPair pair(rl::StopPolicy::rest);
  pair.arm();
  pair.right.fault("mute", {{"id", 4.0}});
  REQUIRE(::kill(pair.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return pair.house->ended(); }));
  CHECK(GuardedPair::energised(pair.left) == 0);
  CHECK(GuardedPair::energised(pair.right) == 6);
  CHECK(pair.house->still_energised().size() == 6);
  CHECK(pair.house->look().arms[0].state == rl::State::off);
  CHECK(pair.house->exit_code() == 1);
}

TEST_CASE("an emergency stop that lets go does not wait for an arm that does not answer") {
  GuardedPair pair(rl::StopPolicy::rest, true);
  pair.arm();
  for (int id = 1; id <= 6; ++id) pair.left.fault("mute", {{"id", static_cast<double>(id)}});
  const std::int64_t asked = rl::now_ns();
  pair.house->requests().estop();
  CHECK(eventually([&] { return GuardedPair::energised(pair.right) == 0; }));
  CHECK(rl::now_ns() - asked < 200 * rl::kMillisecond);  // the other one is asked for 480 ms
  CHECK(eventually([&] { return pair.house->still_energised().size() == 6; }));
}

TEST_CASE("two stop requests release an arm that the second hand lays down, one does not") {
  Guarded arm(rl::StopPolicy::rest, 60);
  arm.arm();
  arm.stop_source();
  REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return arm.moved() > 5; }));
  arm.house->requests().stop(rl::StopPolicy::rest);
  CHECK(eventually([&] { return arm.moved() > 12; }));
  arm.house->requests().stop(rl::StopPolicy::rest);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.saw(rl::State::off, rl::Reason::second_stop));
  CHECK(arm.torque(0));
  CHECK(arm.moved() < 50);
}

TEST_CASE("a session that stops because its guardian died drops no arm") {
  Guarded arm(rl::StopPolicy::rest, 60);
  arm.arm();
  arm.stop_source();
  REQUIRE(::kill(arm.house->guardian(), SIGKILL) == 0);
  CHECK(eventually([&] { return arm.saw(rl::State::fault, rl::Reason::guardian_died); }));
  arm.house->requests().stop(rl::StopPolicy::rest);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.saw(rl::State::off, rl::Reason::rest_reached));
  CHECK(arm.moved() > 50);
  CHECK(arm.torque(0));
}

TEST_CASE("without its second hand an arm is held, nothing resumes or arms, and it is said") {
  Guarded arm(rl::StopPolicy::rest);
  arm.arm();
  REQUIRE(::kill(arm.house->second_hand(), SIGKILL) == 0);
  CHECK(eventually([&] { return arm.saw(rl::State::hold, rl::Reason::unguarded); }));
  CHECK(eventually([&] {
    const auto faults = arm.house->faults(arm.house->look());
    return std::any_of(faults.begin(), faults.end(),
                       [](const std::string& f) { return f.find("second hand") != std::string::npos; });
  }));
  rl::sleep_until_ns(rl::now_ns() + 300 * rl::kMillisecond);  // the source asks for a resume all the time
  CHECK(state_of(*arm.house) == rl::State::hold);
  CHECK(arm.torque(1));
  CHECK(eventually([&] { return stop_by_socket(arm.house->guardian()); }));
  CHECK(eventually([&] { return state_of(*arm.house) == rl::State::estop; }));
  arm.stop_source();
  arm.house->requests().reset();
  CHECK(eventually([&] { return state_of(*arm.house) == rl::State::disarmed; }));
  const auto again = arm.house->arm();
  REQUIRE(!again.ok());
  CHECK(again.error().text.find("second hand") != std::string::npos);
  arm.house->close();
  CHECK(arm.torque(0));
}

TEST_CASE("an arm without a second hand is laid down when it is asked to stop") {
  Guarded arm(rl::StopPolicy::rest, 5);
  arm.arm();
  REQUIRE(::kill(arm.house->second_hand(), SIGKILL) == 0);
  CHECK(eventually([&] { return state_of(*arm.house) == rl::State::hold; }));
  arm.house->requests().stop(rl::StopPolicy::rest);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.saw(rl::State::off, rl::Reason::rest_reached));
  CHECK(arm.torque(0));
}

TEST_CASE("a datagram on its socket is an emergency stop") {
  Guarded arm(rl::StopPolicy::rest);
  arm.arm();
  CHECK(stop_by_socket(arm.house->second_hand()));
  CHECK(eventually([&] { return state_of(*arm.house) == rl::State::estop; }));
  CHECK(arm.torque(1));
  arm.house->requests().resume();
  CHECK(!arm.house->arm().ok());
}

TEST_CASE("a signal to the guardian ends the session by its stop policy") {
  Guarded arm(rl::StopPolicy::rest);
  arm.arm();
  REQUIRE(::kill(arm.house->guardian(), SIGTERM) == 0);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.house->exit_code() == 0);
  CHECK(arm.torque(0));
}

TEST_CASE("signals to guardian and second hand and the session's own request are one stop") {
  Guarded arm(rl::StopPolicy::rest, 20);
  arm.arm();
  arm.stop_source();
  REQUIRE(::kill(arm.house->guardian(), SIGTERM) == 0);
  REQUIRE(::kill(arm.house->second_hand(), SIGTERM) == 0);
  rl::sleep_until_ns(rl::now_ns() + 60 * rl::kMillisecond);
  REQUIRE(::kill(arm.house->guardian(), SIGHUP) == 0);
  arm.house->requests().stop(rl::StopPolicy::rest);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(arm.saw(rl::State::off, rl::Reason::rest_reached));
  CHECK(arm.house->exit_code() == 0);
  CHECK(arm.torque(0));
}
