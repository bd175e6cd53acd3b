#include "pty.hpp"

#include <asm/termbits.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace rl::emulator {

namespace {
[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), std::string("emulator: ") + what);
}
}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Descriptor::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void Pty::open() {
  const std::string last = port_;
  unlock();
  if (port_ == last) {  // the number is free again: a port that comes back has another
    const int taken = ::fcntl(master_.get(), F_DUPFD_CLOEXEC, 0);
    const Descriptor keeps_the_number(taken);
    unlock();
  }
  slave_ = Descriptor(::open(port_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (slave_.get() < 0) fail("cannot open the pseudo-terminal's slave");
  make_raw();
  watch_ = Descriptor(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (watch_.get() >= 0 && ::inotify_add_watch(watch_.get(), port_.c_str(), IN_CLOSE) < 0) watch_.close();
}

/// A master whose slave may be opened.
void Pty::unlock() {
  master_ = Descriptor(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (master_.get() < 0) fail("no pseudo-terminal");
  std::array<char, 128> name{};
  if (::grantpt(master_.get()) != 0 || ::unlockpt(master_.get()) != 0 ||
      ::ptsname_r(master_.get(), name.data(), name.size()) != 0) {
    fail("cannot unlock the pseudo-terminal");
  }
  port_ = name.data();
}

void Pty::make_raw() const {
  termios2 line{};
  if (::ioctl(slave_.get(), TCGETS2, &line) != 0) fail("no terminal attributes");
  line.c_iflag = line.c_oflag = line.c_lflag = 0;
  line.c_cflag = CS8 | CREAD | CLOCAL | B1000000;
  line.c_cc[VMIN] = 1;
  line.c_cc[VTIME] = 0;
  if (::ioctl(slave_.get(), TCSETS2, &line) != 0) fail("cannot make the pseudo-terminal raw");
}

unsigned Pty::rate() const {
  termios2 line{};
  return ::ioctl(slave_.get(), TCGETS2, &line) == 0 ? line.c_ospeed : 0;
}

std::size_t Pty::read(std::span<std::uint8_t> buffer) {
  const ssize_t got = ::read(master_.get(), buffer.data(), buffer.size());
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

std::size_t Pty::write(std::span<const std::uint8_t> bytes) {
  const ssize_t put = ::write(master_.get(), bytes.data(), bytes.size());
  return put > 0 ? static_cast<std::size_t>(put) : 0;
}

void Pty::host_closed() {
  std::array<char, 1024> events{};
  while (::read(watch_.get(), events.data(), events.size()) > 0) {
  }
  ::ioctl(slave_.get(), TIOCNXCL);
}

void Pty::close() {
  watch_.close();
  slave_.close();
  master_.close();
}

}  // namespace rl::emulator
