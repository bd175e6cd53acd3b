/// A serial line on Linux: opened exclusively, raw, never blocking.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "rl/error.hpp"
#include "rl/packet.hpp"

namespace rl {

enum class IoStatus : std::uint8_t { ok, again, lost };

class SerialPort {
 public:
  SerialPort() = default;
  /// Any descriptor that carries bytes both ways (a socket pair in load tests). Becomes ours.
  explicit SerialPort(int descriptor) noexcept : fd_(descriptor) {}
  SerialPort(SerialPort&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  SerialPort& operator=(SerialPort&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  SerialPort(const SerialPort&) = delete;
  SerialPort& operator=(const SerialPort&) = delete;
  ~SerialPort() { close(); }

  /// Exclusive (TIOCEXCL and a file lock), raw 8N1, any rate the driver can do. Accepts pseudo-terminals.
  /// Errors: absent, permission (names the group that owns the node), busy, io.
  static Result<SerialPort> open(const std::string& path, unsigned baud);

  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int descriptor() const noexcept { return fd_; }

  /// One packet, one write. `again`: the kernel's queue is full and nothing useful was sent.
  [[nodiscard]] IoStatus write(Bytes bytes) noexcept;
  /// What is there now, without waiting; `count` bytes were read.
  [[nodiscard]] IoStatus read(std::span<std::uint8_t> into, std::size_t& count) noexcept;
  /// Drops pending input without waiting.
  [[nodiscard]] IoStatus discard_input() noexcept;
  /// Waits for input until `deadline`, ns. `again`: nothing came.
  [[nodiscard]] IoStatus wait_readable(std::int64_t deadline) noexcept;

 private:
  int fd_ = -1;
};

/// Low-latency mode of the adapter: "" when set, else why it could not be (not an error on CDC-ACM and ptys).
[[nodiscard]] std::string request_low_latency(const SerialPort& port);

}  // namespace rl
