#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace rl::emulator {

/// An owned file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&&) = delete;
  Descriptor& operator=(Descriptor&& other) noexcept;

  [[nodiscard]] int get() const { return fd_; }
  void close();

 private:
  int fd_ = -1;
};

/// The adapter: a raw pseudo-terminal whose slave is the port that the host opens.
///
/// The slave is also held open here: without it the master would report a hang-up whenever no host is there,
/// and a poll on it would never block. Because of that the kernel does not see the host's last close, which
/// on a real port ends its exclusive use (TIOCEXCL): `host_closed` makes up for it.
class Pty {
 public:
  Pty() { open(); }
  /// A new port, of another name than the last one's. std::system_error when the system has none to give.
  void open();
  [[nodiscard]] bool is_open() const { return master_.get() >= 0; }

  [[nodiscard]] const std::string& port() const { return port_; }
  [[nodiscard]] int master() const { return master_.get(); }
  [[nodiscard]] int watch() const {
    return watch_.get();
  }  ///< readable when a host closed; -1: not to be had

  [[nodiscard]] std::size_t read(std::span<std::uint8_t> buffer);  ///< 0 when nothing waits; never blocks
  [[nodiscard]] std::size_t write(std::span<const std::uint8_t> bytes);  ///< what fitted; never blocks
  [[nodiscard]] unsigned rate() const;                                   ///< bit/s that the host has set
  void host_closed();
  void close();  ///< the host sees a hang-up

 private:
  void unlock();
  void make_raw() const;

  Descriptor master_, slave_, watch_;
  std::string port_;
};

}  // namespace rl::emulator
