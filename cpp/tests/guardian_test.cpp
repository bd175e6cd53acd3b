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
  explicit Guarded(rl::StopPolicy policy) : part(part_of(emulator)) {
    rl::HouseConfig config = guarded_config(policy);
    static_cast<void>(part.bus->chain.read_now(kPatience));
    const auto joints = part.bus->chain.joints();
    for (std::size_t k = 0; k < 6; ++k) config.planner.axes[k].rest = joints[k].value;  // not far away
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

/// No goal was written while we looked on.
bool silence_for(rl::emulator::Emulator& emulator, std::int64_t time) {
  const std::size_t before = emulator.goal_times().size();
  rl::sleep_until_ns(rl::now_ns() + time);
  return emulator.goal_times().size() == before;
}

}  // namespace

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
  emulator.fault("mute", {{"id", 4.0}});
  config.guardian = RL_GUARDIAN;
  auto silent = rl::LoopHouse::make(config, {part}, {});
  REQUIRE(silent.ok());
  const auto refused = silent.value()->start();
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == rl::ErrorCode::motor_missing);
  CHECK(refused.error().text.find("id 4") != std::string::npos);
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
  Guarded arm(rl::StopPolicy::hold);
  arm.emulator.fault("mute", {{"id", 4.0}});  // it asks this motor again and again
  bool armed = true;
  std::thread asks([&] { armed = arm.house->arm().ok(); });
  rl::sleep_until_ns(rl::now_ns() + 100 * rl::kMillisecond);
  const std::int64_t stopped = rl::now_ns();
  REQUIRE(::kill(arm.house->guardian(), SIGSTOP) == 0);
  CHECK(eventually([&] { return arm.house->ended(); }));
  CHECK(rl::now_ns() - stopped < 5 * rl::kSecond);
  asks.join();
  CHECK(!armed);
  CHECK(arm.torque(0));
}

TEST_CASE("without its second hand nothing is armed again, and it is said") {
  Guarded arm(rl::StopPolicy::rest);
  arm.arm();
  REQUIRE(::kill(arm.house->second_hand(), SIGKILL) == 0);
  CHECK(eventually([&] {
    const auto faults = arm.house->faults(arm.house->look());
    return std::any_of(faults.begin(), faults.end(),
                       [](const std::string& f) { return f.find("second hand") != std::string::npos; });
  }));
  arm.stop_source();
  arm.house->requests().estop();
  CHECK(eventually([&] { return state_of(*arm.house) == rl::State::estop; }));
  arm.house->requests().reset();
  CHECK(eventually([&] { return state_of(*arm.house) == rl::State::disarmed; }));
  const auto again = arm.house->arm();
  REQUIRE(!again.ok());
  CHECK(again.error().text.find("second hand") != std::string::npos);
  arm.house->close();
  CHECK(arm.torque(0));
}

TEST_CASE("a datagram on its socket is an emergency stop") {
  Guarded arm(rl::StopPolicy::rest);
  arm.arm();
  const std::string name = rl::estop_socket(arm.house->second_hand());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const int sender = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  CHECK(::sendto(sender, "stop", 4, 0, reinterpret_cast<sockaddr*>(&address), size) == 4);
  ::close(sender);
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
