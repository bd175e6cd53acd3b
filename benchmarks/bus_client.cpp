/// Two clients of one emulated bus, in turn on the same ports: a plain one made of write, poll and read, and
/// the core's own chain. And a bare timer, which says what the host itself gives.
///
///   rl_bus_client cycle FOLLOWER ROUNDS BLOCK            read + write of six motors, back to back
///   rl_bus_client follow LEADER FOLLOWER ROUNDS BLOCK    uncapped: leader read while the follower is written
///   rl_bus_client timer HZ SECONDS                       sleep to 300 us before each deadline, then spin;
///                                                        and a line of a pseudo-terminal written then
///
/// All of them with what the core's loop asks the system for: real-time priority, idle cores that wait awake.
/// Prints lines "NAME VALUE": microseconds of each cycle, or of each lateness. Each round is BLOCK cycles of
/// either.

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "rl/idle_cores.hpp"
#include "rl/servo_chain.hpp"

namespace {

constexpr int kMotors = 6;
constexpr std::int64_t kPatience = 20'000'000;
constexpr std::size_t kReplyBytes = 8;

std::int64_t monotonic() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The plain client: what somebody would write who needs no more than this.
class PlainBus {
 public:
  explicit PlainBus(const char* path) : fd_(::open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)) {
    if (fd_ < 0) throw std::runtime_error(std::string("cannot open ") + path);
    termios line{};
    ::tcgetattr(fd_, &line);
    ::cfmakeraw(&line);
    ::cfsetspeed(&line, B1000000);
    ::tcsetattr(fd_, TCSANOW, &line);
    read_ = packet(0xFE, 0x82, {56, 2, 1, 2, 3, 4, 5, 6});
    goals_.fill(2048);
  }
  ~PlainBus() { ::close(fd_); }
  PlainBus(const PlainBus&) = delete;
  PlainBus& operator=(const PlainBus&) = delete;

  void write_goals() {
    std::vector<std::uint8_t> p{42, 2};
    for (int i = 0; i < kMotors; ++i) {
      const auto goal = static_cast<unsigned>(goals_[static_cast<std::size_t>(i)]);
      p.push_back(static_cast<std::uint8_t>(i + 1));
      p.push_back(static_cast<std::uint8_t>(goal & 255U));
      p.push_back(static_cast<std::uint8_t>(goal >> 8U));
    }
    send(packet(0xFE, 0x83, p));
  }
  void ask() {
    std::array<std::uint8_t, 256> old{};
    while (::read(fd_, old.data(), old.size()) > 0) {
    }
    got_ = 0;
    send(read_);
  }
  /// True when all six answered with right checksums.
  bool answer() {
    const std::int64_t end = monotonic() + kPatience;
    while (got_ < reply_.size()) {
      const std::int64_t left = end - monotonic();
      if (left <= 0) return false;
      const timespec timeout{0, static_cast<long>(left)};
      pollfd item{fd_, POLLIN, 0};
      if (::ppoll(&item, 1, &timeout, nullptr) <= 0) continue;
      const ssize_t count = ::read(fd_, reply_.data() + got_, reply_.size() - got_);
      if (count > 0) got_ += static_cast<std::size_t>(count);
    }
    for (std::size_t at = 0; at < reply_.size(); at += kReplyBytes) {
      unsigned sum = 0;
      for (std::size_t i = at + 2; i < at + 7; ++i) sum += reply_[i];
      if (reply_[at + 7] != (~sum & 0xFFU)) return false;
      goals_[at / kReplyBytes] = reply_[at + 5] | (reply_[at + 6] << 8);
    }
    return true;
  }
  [[nodiscard]] const std::array<int, kMotors>& positions() const { return goals_; }
  void aim(const std::array<int, kMotors>& goals) { goals_ = goals; }

 private:
  static std::vector<std::uint8_t> packet(std::uint8_t id, std::uint8_t instruction,
                                          const std::vector<std::uint8_t>& parameters) {
    std::vector<std::uint8_t> bytes;
    bytes.reserve(parameters.size() + 6);
    bytes.push_back(0xFF);
    bytes.push_back(0xFF);
    bytes.push_back(id);
    bytes.push_back(static_cast<std::uint8_t>(parameters.size() + 2));
    bytes.push_back(instruction);
    for (const std::uint8_t byte : parameters) bytes.push_back(byte);
    unsigned sum = 0;
    for (std::size_t i = 2; i < bytes.size(); ++i) sum += bytes[i];
    bytes.push_back(static_cast<std::uint8_t>(~sum & 0xFFU));
    return bytes;
  }
  void send(const std::vector<std::uint8_t>& bytes) {
    if (::write(fd_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("the port took no more");
    }
  }

  int fd_;
  std::vector<std::uint8_t> read_;
  std::array<int, kMotors> goals_{};
  std::array<std::uint8_t, kMotors * kReplyBytes> reply_{};
  std::size_t got_ = 0;
};

rl::ServoChain core_chain(const char* port) {
  rl::ChainConfig config;
  config.port = port;
  for (int id = 1; id <= kMotors; ++id) {
    config.joints.push_back({"joint_" + std::to_string(id), id, 0, 0, 0, 4095, rl::UnitMode::degrees});
  }
  auto made = rl::ServoChain::make(config);
  if (!made.ok()) throw std::runtime_error(made.error().text);
  rl::ServoChain chain = std::move(made.value());
  if (const auto opened = chain.open(); !opened.ok()) throw std::runtime_error(opened.error().text);
  chain.probe();
  return chain;
}

/// As the loop does it: begun, then polled until every joint answered or the budget is over.
bool core_read(rl::ServoChain& chain, bool begun = false) {
  if (!begun) chain.begin_cycle(monotonic(), monotonic() + kPatience);
  while (chain.active()) {
    pollfd item{chain.descriptor(), POLLIN, 0};
    const std::int64_t left = std::max<std::int64_t>(chain.wait_until() - monotonic(), 0);
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    const bool ready = ::ppoll(&item, 1, &timeout, nullptr) > 0;
    const std::int64_t now = monotonic();
    if (ready) chain.pump(now);
    chain.expire(now);
  }
  for (const rl::JointState& joint : chain.joints()) {
    if (!joint.fresh) return false;
  }
  return true;
}

void say(const char* name, std::int64_t begin, bool whole) {
  std::printf("%s %.1f\n", whole ? name : (std::string(name) + "_missed").c_str(),
              static_cast<double>(monotonic() - begin) / 1e3);
}

void cycle(const char* port, int rounds, int block) {
  for (int round = 0; round < rounds; ++round) {
    {
      PlainBus bus(port);
      bus.ask();
      if (!bus.answer()) throw std::runtime_error("the servos do not answer");
      for (int i = 0; i < block; ++i) {
        const std::int64_t begin = monotonic();
        bus.write_goals();
        bus.ask();
        const bool whole = bus.answer();
        say("plain", begin, whole);
      }
    }
    rl::ServoChain chain = core_chain(port);
    std::array<double, kMotors> goals{};
    core_read(chain);
    for (int i = 0; i < block; ++i) {
      for (std::size_t j = 0; j < goals.size(); ++j) goals[j] = chain.joints()[j].value;
      const std::int64_t begin = monotonic();
      chain.write_goals(goals);
      const bool whole = core_read(chain);
      say("core", begin, whole);
    }
  }
}

void follow(const char* leader_port, const char* follower_port, int rounds, int block) {
  for (int round = 0; round < rounds; ++round) {
    {
      PlainBus leader(leader_port);
      PlainBus follower(follower_port);
      for (int i = 0; i < block; ++i) {
        const std::int64_t begin = monotonic();
        leader.ask();
        follower.write_goals();
        const bool whole = leader.answer();
        follower.aim(leader.positions());
        say("plain", begin, whole);
      }
    }
    rl::ServoChain leader = core_chain(leader_port);
    rl::ServoChain follower = core_chain(follower_port);
    core_read(leader);
    std::array<double, kMotors> goals{};
    for (int i = 0; i < block; ++i) {
      for (std::size_t j = 0; j < goals.size(); ++j) goals[j] = leader.joints()[j].value;
      const std::int64_t begin = monotonic();
      leader.begin_cycle(begin, begin + kPatience);
      follower.write_goals(goals);
      const bool whole = core_read(leader, true);
      say("core", begin, whole);
    }
  }
}

/// The far end of an empty line: a thread that notes when bytes come. As the emulator's, it has the highest
/// priority.
class EmptyLine {
 public:
  EmptyLine() {
    termios raw{};
    ::cfmakeraw(&raw);
    if (::openpty(&far_, &near_, nullptr, &raw, nullptr) != 0) throw std::runtime_error("no pseudo-terminal");
    reader_ = std::thread([this] {
      sched_param priority{};
      priority.sched_priority = 90;
      static_cast<void>(::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &priority));
      std::array<char, 64> bytes{};
      while (::read(far_, bytes.data(), bytes.size()) > 0) came_.store(monotonic());
    });
  }
  ~EmptyLine() {
    ::close(near_);  // the reader's next read fails
    reader_.join();
    ::close(far_);
  }
  EmptyLine(const EmptyLine&) = delete;
  EmptyLine& operator=(const EmptyLine&) = delete;

  void write() {
    constexpr std::array<char, 26> kGoals{};  // as long as the goals of six motors
    if (::write(near_, kGoals.data(), kGoals.size()) < 0) throw std::runtime_error("the line took no more");
  }
  /// When the last bytes came; 0 before any.
  [[nodiscard]] std::int64_t came() const { return came_.load(); }

 private:
  int far_ = -1;
  int near_ = -1;
  std::atomic<std::int64_t> came_{0};
  std::thread reader_;
};

void timer(double hz, double seconds) {
  const auto period = static_cast<std::int64_t>(1e9 / hz);
  EmptyLine line;
  const std::int64_t begin = monotonic() + period;
  std::int64_t last = 0;
  for (std::int64_t deadline = begin; deadline < begin + static_cast<std::int64_t>(seconds * 1e9);
       deadline += period) {
    const std::int64_t early = deadline - 300'000;
    const timespec wake{early / 1'000'000'000, early % 1'000'000'000};
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr);
    if (last > 0) {
      const std::int64_t came = line.came() < last ? monotonic() : line.came();  // not yet: at least so late
      std::printf("line %.1f\n", static_cast<double>(came - last) / 1e3);
    }
    while (monotonic() < deadline) {
    }
    const std::int64_t written = monotonic();
    line.write();
    std::printf("timer %.1f\n", static_cast<double>(written - deadline) / 1e3);
    last = deadline;
    if (monotonic() > deadline + period)
      deadline = monotonic() / period * period;  // what was missed is missed
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  sched_param priority{};
  priority.sched_priority = 80;
  const bool realtime = ::sched_setscheduler(0, SCHED_FIFO, &priority) == 0 && ::mlockall(MCL_CURRENT) == 0;
  std::printf("realtime %d\n", realtime ? 1 : 0);
  rl::IdleCores idle_cores;
  static_cast<void>(idle_cores.keep_awake());
  try {
    if (words.size() == 4 && words[0] == "cycle") {
      cycle(argv[2], std::stoi(words[2]), std::stoi(words[3]));
    } else if (words.size() == 5 && words[0] == "follow") {
      follow(argv[2], argv[3], std::stoi(words[3]), std::stoi(words[4]));
    } else if (words.size() == 3 && words[0] == "timer") {
      timer(std::stod(words[1]), std::stod(words[2]));
    } else {
      std::fprintf(stderr,
                   "use cycle PORT ROUNDS BLOCK, follow LEADER FOLLOWER ROUNDS BLOCK or timer HZ SECONDS\n");
      return 2;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rl_bus_client: %s\n", error.what());
    return 1;
  }
  return 0;
}
