#include "rl/serial_port.hpp"

#include <asm/termbits.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/serial.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "rl/clock.hpp"

namespace rl {
namespace {

std::string group_of(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return "dialout";
  std::array<char, 4096> space{};
  group entry{};
  group* found = nullptr;
  ::getgrgid_r(info.st_gid, &entry, space.data(), space.size(), &found);
  return found != nullptr ? std::string(found->gr_name) : std::to_string(info.st_gid);
}

std::string system_text(int error) {
  std::array<char, 128> space{};
  return ::strerror_r(error, space.data(), space.size());
}

/// The one place where an errno becomes a sentence.
Error open_error(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ENOTDIR:
      return {ErrorCode::absent, "no serial port " + path + "; check the cable, `rl doctor` lists the ports"};
    case EACCES:
    case EPERM: {
      const std::string group = group_of(path);
      return {ErrorCode::permission, "permission denied on " + path + ", which belongs to group " + group +
                                         "; run `sudo usermod -aG " + group + " $USER` and log in again"};
    }
    case EBUSY:
    case EWOULDBLOCK:
      return {ErrorCode::busy,
              path + " is in use by another program; close it (find it with `fuser " + path + "`)"};
    case ENOTTY:
    case EISDIR:
      return {ErrorCode::usage, path + " is no serial port; `rl doctor` lists those that are there"};
    default:
      return {ErrorCode::io, path + ": " + system_text(error) + "; is it a serial port?"};
  }
}

int set_raw(int fd, unsigned baud) {
  termios2 line{};
  if (::ioctl(fd, TCGETS2, &line) != 0) return errno;
  line.c_iflag = 0;
  line.c_oflag = 0;
  line.c_lflag = 0;
  line.c_cflag = CS8 | CREAD | CLOCAL | BOTHER;
  line.c_cc[VMIN] = 0;
  line.c_cc[VTIME] = 0;
  line.c_ispeed = baud;
  line.c_ospeed = baud;
  return ::ioctl(fd, TCSETS2, &line) != 0 ? errno : 0;
}

}  // namespace

Result<SerialPort> SerialPort::open(const std::string& path, unsigned baud) {
  SerialPort port(::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (port.fd_ < 0) return open_error(path, errno);
  // TIOCEXCL keeps other users out, the lock also keeps root and our own processes out.
  if (::flock(port.fd_, LOCK_EX | LOCK_NB) != 0) return open_error(path, errno);
  if (const int error = set_raw(port.fd_, baud); error != 0) return open_error(path, error);
  if (::ioctl(port.fd_, TIOCEXCL) != 0 && errno != ENOTTY) return open_error(path, errno);
  return port;
}

void SerialPort::close() noexcept {
  if (fd_ < 0) return;
  ::ioctl(fd_, TIOCNXCL);
  ::close(fd_);
  fd_ = -1;
}

IoStatus SerialPort::write(Bytes bytes) noexcept {
  const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
  if (written == static_cast<ssize_t>(bytes.size())) return IoStatus::ok;
  if (written >= 0) return IoStatus::again;
  return errno == EAGAIN || errno == EINTR ? IoStatus::again : IoStatus::lost;
}

IoStatus SerialPort::read(std::span<std::uint8_t> into, std::size_t& count) noexcept {
  count = 0;
  const ssize_t got = ::read(fd_, into.data(), into.size());
  if (got > 0) {
    count = static_cast<std::size_t>(got);
    return IoStatus::ok;
  }
  if (got == 0) return IoStatus::again;  // a terminal with VMIN 0 says "nothing" so; a hang-up shows in poll
  return errno == EAGAIN || errno == EINTR ? IoStatus::again : IoStatus::lost;
}

IoStatus SerialPort::discard_input() noexcept {
  ::ioctl(fd_, TCFLSH, TCIFLUSH);
  std::array<std::uint8_t, 512> rubbish;  // NOLINT(cppcoreguidelines-pro-type-member-init): read fills it
  for (int turn = 0; turn < 16; ++turn) {
    std::size_t count = 0;
    const IoStatus status = read(rubbish, count);
    if (status == IoStatus::lost) return status;
    if (count == 0) break;
  }
  return IoStatus::ok;
}

IoStatus SerialPort::wait_readable(std::int64_t deadline) noexcept {
  const std::int64_t left = deadline - now_ns();
  const std::int64_t bounded = left > 0 ? left : 0;
  const timespec timeout{static_cast<time_t>(bounded / kSecond), static_cast<long>(bounded % kSecond)};
  pollfd item{fd_, POLLIN, 0};
  const int ready = ::ppoll(&item, 1, &timeout, nullptr);
  if (ready <= 0) return IoStatus::again;
  const auto events = static_cast<unsigned>(item.revents);
  // A terminal that was hung up also polls as readable, for ever: the hang-up comes first.
  return (events & (POLLHUP | POLLERR | POLLNVAL)) != 0 ? IoStatus::lost : IoStatus::ok;
}

std::string request_low_latency(const SerialPort& port) {
  serial_struct settings{};
  if (::ioctl(port.descriptor(), TIOCGSERIAL, &settings) != 0)
    return "low latency: the driver has no such mode";
  settings.flags =
      static_cast<int>(static_cast<unsigned>(settings.flags) | (1U << 13U));  // ASYNC_LOW_LATENCY
  if (::ioctl(port.descriptor(), TIOCSSERIAL, &settings) != 0) return "low latency: " + system_text(errno);
  return "";
}

}  // namespace rl
