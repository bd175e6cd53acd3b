#include "pty.hpp"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <termios.h>
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

Pty::Pty() {
  master_ = Descriptor(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (master_.get() < 0) fail("no pseudo-terminal");
  std::array<char, 128> name{};
  if (::grantpt(master_.get()) != 0 || ::unlockpt(master_.get()) != 0 ||
      ::ptsname_r(master_.get(), name.data(), name.size()) != 0) {
    fail("cannot unlock the pseudo-terminal");
  }
  port_ = name.data();
  slave_ = Descriptor(::open(port_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (slave_.get() < 0) fail("cannot open the pseudo-terminal's slave");
  termios raw{};
  if (::tcgetattr(slave_.get(), &raw) != 0) fail("no terminal attributes");
  ::cfmakeraw(&raw);
  ::cfsetspeed(&raw, B1000000);
  raw.c_cflag |= CLOCAL | CREAD;
  if (::tcsetattr(slave_.get(), TCSANOW, &raw) != 0) fail("cannot make the pseudo-terminal raw");

  watch_ = Descriptor(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (watch_.get() >= 0 && ::inotify_add_watch(watch_.get(), port_.c_str(), IN_CLOSE) < 0) watch_.close();
}

unsigned Pty::rate() const {
  struct Line {  // the kernel's termios2, whose header does not go with <termios.h>
    unsigned flags[4];
    unsigned char discipline;
    unsigned char control[19];
    unsigned in, out;
  } line{};
  return ::ioctl(slave_.get(), _IOR('T', 0x2A, Line), &line) == 0 ? line.out : 0;
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
