#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace rl::emulator {

/// What happened on the bus so far.
struct Statistics {
  std::int64_t requests = 0;  ///< sound packets heard
  std::int64_t replies = 0;   ///< status packets that the servos sent
  std::int64_t pings = 0;
  std::int64_t reads = 0;
  std::int64_t writes = 0;  ///< addressed and broadcast WRITE and REG_WRITE
  std::int64_t sync_reads = 0;
  std::int64_t sync_writes = 0;
  std::int64_t goal_writes = 0;    ///< of any kind
  std::int64_t eeprom_writes = 0;  ///< writes that stored at least one byte, one servo each
  std::int64_t eeprom_bytes = 0;
  std::int64_t reboots = 0;
  std::int64_t rejected = 0;  ///< sound packets that no servo understood or nobody is there for
  std::int64_t checksum_errors = 0;
  std::int64_t noise_bytes = 0;  ///< from the host, outside of any packet
  std::int64_t truncated = 0;    ///< requests whose end never came
  std::int64_t wrong_rate = 0;   ///< requests at a rate at which no servo listens
  std::int64_t collisions = 0;   ///< replies of two servos with one id, at once
  std::int64_t overlaps = 0;     ///< requests that began while a reply was still on the wire
  std::int64_t dropped = 0;      ///< replies lost, damaged, preceded by noise, held back by a fault
  std::int64_t corrupted = 0;
  std::int64_t noisy = 0;
  std::int64_t late = 0;
  std::int64_t duplicated = 0;
  std::int64_t split = 0;
  std::int64_t overrun_bytes = 0;  ///< not taken: the host did not read
  std::int64_t bytes_in = 0;
  std::int64_t bytes_out = 0;
  std::int64_t realtime = 0;  ///< 1: the emulator's thread has real-time priority

  [[nodiscard]] std::map<std::string, std::int64_t> named() const {
    return {{"requests", requests},
            {"replies", replies},
            {"pings", pings},
            {"reads", reads},
            {"writes", writes},
            {"sync_reads", sync_reads},
            {"sync_writes", sync_writes},
            {"goal_writes", goal_writes},
            {"eeprom_writes", eeprom_writes},
            {"eeprom_bytes", eeprom_bytes},
            {"reboots", reboots},
            {"rejected", rejected},
            {"checksum_errors", checksum_errors},
            {"noise_bytes", noise_bytes},
            {"truncated", truncated},
            {"wrong_rate", wrong_rate},
            {"collisions", collisions},
            {"overlaps", overlaps},
            {"dropped", dropped},
            {"corrupted", corrupted},
            {"noisy", noisy},
            {"late", late},
            {"duplicated", duplicated},
            {"split", split},
            {"overrun_bytes", overrun_bytes},
            {"bytes_in", bytes_in},
            {"bytes_out", bytes_out},
            {"realtime", realtime}};
  }
};

}  // namespace rl::emulator
