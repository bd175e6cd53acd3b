#pragma once

#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <initializer_list>
#include <vector>

#include "emulator.hpp"

/// What the tests of the emulator share: a check that counts, requests, a chain with a clock, a port to talk
/// over.
namespace rl::emulator {

inline std::atomic<int> failures = 0;

#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      ++failures;                                                                  \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                              \
  } while (false)

inline Bytes request_bytes(std::uint8_t id, Instruction instruction,
                           std::initializer_list<int> parameters = {}) {
  Bytes packet{0xFF, 0xFF, id, static_cast<std::uint8_t>(parameters.size() + 2),
               static_cast<std::uint8_t>(instruction)};
  for (const int value : parameters) packet.push_back(static_cast<std::uint8_t>(value));
  unsigned sum = 0;
  for (std::size_t i = 2; i < packet.size(); ++i) sum += packet[i];
  packet.push_back(static_cast<std::uint8_t>(~sum & 0xFFU));
  return packet;
}

inline Request request(std::uint8_t id, Instruction instruction, std::initializer_list<int> parameters,
                       std::int64_t at) {
  Request result;
  result.id = id;
  result.instruction = instruction;
  for (const int value : parameters) result.parameters.push_back(static_cast<std::uint8_t>(value));
  result.arrived = at;
  return result;
}

constexpr std::int64_t kSecond = 1'000'000'000;

/// A chain and a clock; each request comes 10 ms after the last.
struct Bench {
  explicit Bench(Kind kind = Kind::follower, bool wave = false, double lag_s = 0.06)
      : chain(kind, wave, lag_s, kSecond) {}

  std::vector<Answer> ask(std::uint8_t id, Instruction instruction, std::initializer_list<int> parameters) {
    now += kSecond / 100;
    return chain.execute(request(id, instruction, parameters, now), 0);
  }
  void write(std::uint8_t id, std::initializer_list<int> parameters) {
    CHECK(ask(id, Instruction::write, parameters).size() == 1);
  }
  void run(double seconds) {
    now += static_cast<std::int64_t>(seconds * 1e9);
    chain.advance(now);
  }
  int position(std::size_t place) { return chain.servo(place).position(); }

  Chain chain;
  std::int64_t now = kSecond;
};

/// What comes back within the time, until `wanted` bytes are there.
inline Bytes talk(int fd, const Bytes& request, std::size_t wanted, int timeout_ms = 500) {
  CHECK(::write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size()));
  Bytes got;
  pollfd waiting{fd, POLLIN, 0};
  while (got.size() < wanted && ::poll(&waiting, 1, timeout_ms) > 0) {
    std::array<std::uint8_t, 256> buffer{};
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count <= 0) break;
    got.insert(got.end(), buffer.begin(), buffer.begin() + count);
  }
  return got;
}

/// The tests of faults and adapter; each runs, all are counted.
int run_fault_tests();

}  // namespace rl::emulator
