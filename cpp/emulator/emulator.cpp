#include "emulator.hpp"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <ctime>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace rl::emulator {

namespace {

constexpr int kLongestUsbUs = 20'000;
constexpr int kLongestHoldUs = 255'000;
constexpr std::size_t kCollected = 62;           // bytes of a USB packet that carry data
constexpr std::int64_t kMostAhead = 50'000'000;  // ns of wire time that the adapter buffers from the host
constexpr int kPriority = 70;

Options checked(Options options) {
  const auto [usb_us, hold_us] = options.adapter;
  if (usb_us < 0 || usb_us > kLongestUsbUs) {
    throw std::invalid_argument("emulator: usb_us " + std::to_string(usb_us) + " is outside 0 .. 20000");
  }
  if (hold_us < 0 || hold_us > kLongestHoldUs) {
    throw std::invalid_argument("emulator: hold_us " + std::to_string(hold_us) + " is outside 0 .. 255000");
  }
  if (!(options.lag_s >= 0.0 && options.lag_s <= 10.0)) {
    throw std::invalid_argument("emulator: lag_s is outside 0 .. 10");
  }
  if (options.wave && options.kind != Kind::leader) {
    throw std::invalid_argument("emulator: only a so101-leader waves; leave wave off or change kind");
  }
  return options;
}

/// The thread stands for hardware, which no scheduler delays: real-time priority where that is allowed.
bool prioritise() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are the program's, not this thread's
  ::pthread_setname_np(::pthread_self(), "rl-emulator");
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  sched_param priority{};
  priority.sched_priority = kPriority;
  return ::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) == 0;
}

}  // namespace

Adapter adapter_named(const std::string& name) {
  if (name == "wire") return {0, 0};
  if (name == "usb") return {125, 0};
  if (name == "usb-1ms") return {1'000, 0};
  if (name == "ftdi-1ms") return {1'000, 1'000};
  if (name == "ftdi-16ms") return {1'000, 16'000};
  throw std::invalid_argument("emulator: there is no profile '" + name +
                              "'; use wire, usb, usb-1ms, ftdi-1ms or ftdi-16ms");
}

std::int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Emulator::Emulator(const Options& options)
    : options_(checked(options)),
      started_(monotonic_ns()),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      port_(pty_.port()),
      chain_(options.kind, options.wave, options.lag_s, started_),
      faults_(options.seed) {
  if (wake_.get() < 0) throw std::system_error(errno, std::generic_category(), "emulator: no eventfd");
  start();
}

Emulator::~Emulator() { close(); }

void Emulator::close() {
  const std::lock_guard lock(lifecycle_);
  closed_ = true;
  stop();
  pty_.close();
}

void Emulator::start() {
  stopping_.store(false);
  thread_ = std::thread(&Emulator::run, this);
}

void Emulator::stop() {
  stopping_.store(true);
  wake();
  if (thread_.joinable()) thread_.join();
}

/// The cable is pulled: the host sees a hang-up, what was under way is lost, the servos keep their supply.
void Emulator::unplug() {
  const std::lock_guard lock(lifecycle_);
  stop();
  pty_.close();
  const std::lock_guard state(mutex_);
  requests_.clear();
  outgoing_.clear();
  collected_.clear();
  midway_ = false;
  reader_.forget();
}

void Emulator::plug_in() {
  const std::lock_guard lock(lifecycle_);
  if (closed_) throw std::invalid_argument("emulator: fault 'replug': it is closed");
  if (pty_.is_open()) throw std::invalid_argument("emulator: fault 'replug': it is plugged in");
  pty_.open();
  {
    const std::lock_guard state(mutex_);
    port_ = pty_.port();
  }
  start();
}

std::string Emulator::port() const {
  const std::lock_guard lock(mutex_);
  return port_;
}

void Emulator::wake() const {
  const std::uint64_t one = 1;
  // A full counter (EAGAIN) means that a wake-up is already on its way: nothing is lost.
  if (::write(wake_.get(), &one, sizeof one) < 0 && errno != EAGAIN) std::abort();
}

// --- the thread

void Emulator::run() {
  const bool realtime = prioritise();
  {
    const std::lock_guard lock(mutex_);
    chain_.statistics().realtime = realtime ? 1 : 0;
  }
  while (!stopping_.load()) {
    {
      const std::lock_guard lock(mutex_);
      work(monotonic_ns());
    }
    wait();
  }
}

/// Carries out what has arrived and hands over what is ready.
void Emulator::work(std::int64_t now) {
  while (!requests_.empty() && requests_.front().arrived <= now) {
    const Request request = std::move(requests_.front());
    requests_.pop_front();
    for (Answer& answer : chain_.execute(request, reply_line_free_)) reply(std::move(answer));
  }
  deliver(now);
}

/// Sleeps until something is due, the host writes, or somebody calls.
void Emulator::wait() {
  std::optional<std::int64_t> due;
  bool listens = false;
  const std::int64_t now = monotonic_ns();
  {
    const std::lock_guard lock(mutex_);
    due = next_due();
    listens = listening(now);
  }
  std::array<pollfd, 3> fds{
      {{wake_.get(), POLLIN, 0}, {pty_.watch(), POLLIN, 0}, {pty_.master(), POLLIN, 0}}};
  if (!listens) fds[2].fd = -1;
  timespec timeout{};
  if (due) {
    const std::int64_t left = std::max<std::int64_t>(0, *due - now);
    timeout = {left / 1'000'000'000, left % 1'000'000'000};
  }
  if (::ppoll(fds.data(), fds.size(), due ? &timeout : nullptr, nullptr) <= 0) return;
  const std::int64_t woke = monotonic_ns();
  if ((fds[0].revents & POLLIN) != 0) {
    std::uint64_t calls = 0;
    if (::read(wake_.get(), &calls, sizeof calls) < 0 && errno != EAGAIN) std::abort();
  }
  if ((fds[1].revents & POLLIN) != 0) pty_.host_closed();
  if ((fds[2].revents & POLLIN) != 0) {
    const std::lock_guard lock(mutex_);
    listen(woke);
  }
}

/// Takes what the host wrote; its first byte crosses the wire from `now` on, or behind what is already there.
void Emulator::listen(std::int64_t now) {
  std::array<std::uint8_t, 1024> buffer{};
  const std::size_t got = pty_.read(buffer);
  if (got == 0) return;
  const std::span<const std::uint8_t> bytes = std::span(buffer).first(got);
  if (now < reply_line_free_) ++chain_.statistics().overlaps;
  chain_.statistics().bytes_in += static_cast<std::int64_t>(got);
  const unsigned rate = pty_.rate();
  const std::int64_t start = std::max(next_slot(now), host_line_free_);
  host_line_free_ = start + byte_ns(rate) * static_cast<std::int64_t>(got);
  reader_.feed(bytes, start, rate);
  while (auto request = reader_.next()) requests_.push_back(std::move(*request));
  if (echo_) hand_over(host_line_free_, {Bytes(bytes.begin(), bytes.end())});
}

bool Emulator::listening(std::int64_t now) const {
  return now >= stalled_until_ && host_line_free_ - now < kMostAhead;
}

std::optional<std::int64_t> Emulator::next_due() const {
  std::optional<std::int64_t> due;
  const auto consider = [&due](std::int64_t at) { due = due ? std::min(*due, at) : at; };
  const std::int64_t now = monotonic_ns();
  if (!requests_.empty()) consider(requests_.front().arrived);
  if (!outgoing_.empty()) consider(std::max(outgoing_.begin()->first, stalled_until_));
  if (!collected_.empty()) consider(collected_until_);
  if (stalled_until_ > now) consider(stalled_until_);
  if (host_line_free_ - now >= kMostAhead) consider(host_line_free_ - kMostAhead);
  return due;
}

/// Sends one answer on its way, through the faults and the adapter's slots.
void Emulator::reply(Answer answer) {
  answer.start = std::max(answer.start, reply_line_free_);  // noise before the one before it takes its time
  const Fate fate = faults_.strike(answer.id, answer.packet);
  reply_line_free_ = answer.end();
  Statistics& statistics = chain_.statistics();
  statistics.dropped += fate.dropped ? 1 : 0;
  statistics.corrupted += fate.corrupted ? 1 : 0;
  statistics.noisy += fate.noise > 0 ? 1 : 0;
  statistics.late += fate.late_ns > 0 ? 1 : 0;
  statistics.duplicated += fate.duplicated ? 1 : 0;
  statistics.split += fate.split > 0 ? 1 : 0;
  if (fate.dropped) return;
  const std::int64_t end = answer.end() + fate.late_ns;
  const Bytes again = fate.duplicated ? answer.packet : Bytes{};
  if (fate.split > 0) {
    send_split(answer, fate);
  } else if (fate.late_ns > 0 || options_.adapter.usb_us == 0) {
    hand_over(fate.late_ns > 0 ? end : std::max(end, held_up_until_), {std::move(answer.packet)});
  } else if (options_.adapter.hold_us > 0) {
    collect(answer);
  } else {
    pass_on(answer);
  }
  if (fate.duplicated) hand_over(std::max(end + answer.byte, held_up_until_), {again});
}

/// What comes after the gap holds up all that is behind it: only whole packets change places.
void Emulator::send_split(const Answer& answer, const Fate& fate) {
  const auto cut = answer.packet.begin() + static_cast<std::ptrdiff_t>(fate.split);
  const std::int64_t first = next_slot(std::max(answer.end() + fate.late_ns, held_up_until_));
  if (!collected_.empty()) flush(first, true);  // the end of the packet before it goes first
  held_up_until_ = next_slot(first + fate.split_ns);
  outgoing_.emplace(first, Piece{Bytes(answer.packet.begin(), cut), false, false});
  outgoing_.emplace(held_up_until_, Piece{Bytes(cut, answer.packet.end()), false, true});
}

/// A slot may fall inside the packet: the adapter hands over what it has by then.
void Emulator::pass_on(const Answer& answer) {
  std::int64_t at = answer.start;
  std::size_t begin = 0;
  while (begin < answer.packet.size()) {
    const std::int64_t slot = std::max(next_slot(at + answer.byte), held_up_until_);
    const std::size_t fits = static_cast<std::size_t>((slot - at) / answer.byte);
    const std::size_t count = std::min(fits, answer.packet.size() - begin);
    const auto first = answer.packet.begin() + static_cast<std::ptrdiff_t>(begin);
    const bool last = begin + count == answer.packet.size();
    outgoing_.emplace(slot, Piece{Bytes(first, first + static_cast<std::ptrdiff_t>(count)), false, last});
    begin += count;
    at += answer.byte * static_cast<std::int64_t>(count);
  }
}

/// The adapter waits for a full USB packet, or its timer.
void Emulator::collect(const Answer& answer) {
  std::int64_t at = answer.start;
  for (const std::uint8_t byte : answer.packet) {
    at += answer.byte;
    if (!collected_.empty() && at > collected_until_)
      flush(collected_until_, at == answer.start + answer.byte);
    if (collected_.empty()) collected_until_ = at + std::int64_t{options_.adapter.hold_us} * 1'000;
    collected_.push_back(byte);
    if (collected_.size() == kCollected) flush(at, at == answer.end());
  }
}

/// `last`: what was collected ends with a packet's end.
void Emulator::flush(std::int64_t at, bool last) {
  outgoing_.emplace(std::max(next_slot(at), held_up_until_),
                    Piece{std::exchange(collected_, {}), false, last});
}

/// The first instant at or after `at` at which the adapter speaks with the host.
std::int64_t Emulator::next_slot(std::int64_t at) const {
  const std::int64_t slot = std::int64_t{options_.adapter.usb_us} * 1'000;
  return slot == 0 ? at : started_ + ((at - started_ + slot - 1) / slot) * slot;
}

/// Hands bytes over that are whole at `ready`, in the next slot.
void Emulator::hand_over(std::int64_t ready, Piece piece) {
  outgoing_.emplace(next_slot(ready), std::move(piece));
}

void Emulator::deliver(std::int64_t now) {
  if (!collected_.empty() && collected_until_ <= now) flush(collected_until_, true);
  if (now < stalled_until_) return;
  Bytes ready;
  while (!outgoing_.empty() && outgoing_.begin()->first <= now) {
    auto node = outgoing_.extract(outgoing_.begin());
    const Piece& piece = node.mapped();
    const auto rest = std::find_if(outgoing_.begin(), outgoing_.end(),
                                   [](const auto& other) { return !other.second.whole; });
    if (midway_ && piece.whole && rest != outgoing_.end()) {  // a late packet never falls into another one
      node.key() = rest->first;
      outgoing_.insert(std::move(node));
      continue;
    }
    if (midway_ && piece.whole) {  // its rest is still being collected
      ready.insert(ready.end(), collected_.begin(), collected_.end());
      collected_.clear();
    }
    midway_ = !piece.last;
    ready.insert(ready.end(), piece.bytes.begin(), piece.bytes.end());
  }
  if (ready.empty()) return;
  const std::size_t put = pty_.write(ready);
  chain_.statistics().bytes_out += static_cast<std::int64_t>(put);
  chain_.statistics().overrun_bytes += static_cast<std::int64_t>(ready.size() - put);
}

// --- looking in from outside

Pose Emulator::pose_at(double seconds, Unit body) const {
  const Joints& joints = joints_of(options_.kind);
  Pose pose = to_steps(joints, wave_pose(seconds));
  for (std::size_t j = 0; j < kJoints; ++j) pose[j] = joints[j].to_unit(pose[j], unit_of(j, body));
  return pose;
}

Pose Emulator::wave_at(double seconds, Unit body) const {
  return pose_at(options_.wave ? seconds : 0.0, body);
}

std::vector<std::int64_t> Emulator::goal_times() const {
  const std::lock_guard lock(mutex_);
  return chain_.goals().times();
}

std::vector<Goals> Emulator::goals() const {
  const std::lock_guard lock(mutex_);
  return chain_.goals().rows();
}

std::array<int, kJoints> Emulator::positions() {
  const std::lock_guard lock(mutex_);
  chain_.advance(monotonic_ns());
  std::array<int, kJoints> positions{};
  for (std::size_t j = 0; j < kJoints; ++j) positions[j] = chain_.servo(j).position();
  return positions;
}

std::size_t Emulator::place_of(int id) {
  if (id < 1 || id > static_cast<int>(kJoints)) {
    throw std::invalid_argument("emulator: there is no motor " + std::to_string(id) + "; ids are 1 .. 6");
  }
  return static_cast<std::size_t>(id - 1);
}

Bytes Emulator::registers(int id) {
  const std::size_t place = place_of(id);
  const std::lock_guard lock(mutex_);
  chain_.advance(monotonic_ns());
  const auto all = chain_.servo(place).memory().all();
  return {all.begin(), all.end()};
}

void Emulator::set_register(int id, int address, std::span<const std::uint8_t> data) {
  const std::size_t place = place_of(id);
  if (address < 0 || static_cast<std::size_t>(address) + data.size() > kMemorySize) {
    throw std::invalid_argument("emulator: no " + std::to_string(data.size()) + " bytes at address " +
                                std::to_string(address) + "; the memory has 128");
  }
  const std::lock_guard lock(mutex_);
  chain_.advance(monotonic_ns());
  chain_.servo(place).place(static_cast<std::size_t>(address), data);
}

void Emulator::carry(int id, double encoder) {
  const std::size_t place = place_of(id);
  if (!(encoder >= 0.0 && encoder <= 4095.0)) {
    throw std::invalid_argument("emulator: a joint's encoder has 0 .. 4095, not " + std::to_string(encoder));
  }
  const std::lock_guard lock(mutex_);
  chain_.advance(monotonic_ns());
  chain_.servo(place).carry(encoder, 0.0);
}

void Emulator::fault(const std::string& kind, const Fields& fields) {
  if (kind == "hangup" || kind == "replug") {
    check_fields(kind, fields, {});
    kind == "hangup" ? unplug() : plug_in();
    return;
  }
  const std::lock_guard lock(mutex_);
  if (faults_.set(kind, fields) || fault_of_servo(kind, fields) || fault_of_adapter(kind, fields)) return;
  throw std::invalid_argument("emulator: there is no fault '" + kind +
                              "'; use drop, corrupt, noise, late, duplicate, split, mute, unmute, overload, "
                              "reboot, twin, baud, model, stall, echo, hangup or replug");
}

bool Emulator::fault_of_servo(const std::string& kind, const Fields& fields) {
  const auto whole = [&](const char* name, double low, double high) {
    return static_cast<unsigned>(field(kind, fields, name, low, high));
  };
  const auto servo = [&]() -> Servo& { return chain_.servo(whole("id", 1, kJoints) - 1); };
  const auto set_byte = [&](std::size_t address, unsigned value) {
    const std::array<std::uint8_t, 1> byte{static_cast<std::uint8_t>(value)};
    servo().place(address, byte);
  };
  const std::int64_t now = monotonic_ns();
  chain_.advance(now);
  if (kind == "mute" || kind == "unmute") {
    check_fields(kind, fields, {"id"});
    chain_.mute(whole("id", 1, kJoints) - 1, kind == "mute");
  } else if (kind == "overload") {
    check_fields(kind, fields, {"id", "on"});
    servo().set_overload(whole("on", 0, 1) != 0);
  } else if (kind == "reboot") {
    check_fields(kind, fields, {"id"});
    chain_.restart(whole("id", 1, kJoints) - 1, now);
  } else if (kind == "twin") {
    check_fields(kind, fields, {"id", "of"});
    const unsigned other = whole("of", 1, kJoints);
    set_byte(reg::kId, other == whole("id", 1, kJoints) ? other : chain_.servo(other - 1).id());
  } else if (kind == "baud") {
    check_fields(kind, fields, {"id", "code"});
    set_byte(reg::kBaud, whole("code", 0, 7));
  } else if (kind == "model") {
    check_fields(kind, fields, {"id", "number"});
    const unsigned number = whole("number", 0, 65535);
    set_byte(reg::kModel, number & 0xFFU);
    set_byte(reg::kModel + 1, number >> 8);
  } else {
    return false;
  }
  return true;
}

bool Emulator::fault_of_adapter(const std::string& kind, const Fields& fields) {
  if (kind == "stall") {
    check_fields(kind, fields, {"ms"});
    stalled_until_ = monotonic_ns() + static_cast<std::int64_t>(field(kind, fields, "ms", 0, 60'000) * 1e6);
    wake();
  } else if (kind == "echo") {
    check_fields(kind, fields, {"on"});
    echo_ = field(kind, fields, "on", 0, 1) != 0.0;
  } else {
    return false;
  }
  return true;
}

std::map<std::string, std::int64_t> Emulator::statistics() const {
  const std::lock_guard lock(mutex_);
  Statistics now = chain_.statistics();
  now.checksum_errors = reader_.checksum_errors();
  now.noise_bytes = reader_.noise_bytes();
  now.truncated = reader_.truncated();
  return now.named();
}

}  // namespace rl::emulator
