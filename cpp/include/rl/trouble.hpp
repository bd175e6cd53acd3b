/// What is wrong with a motor, as numbers: made in the loop without allocation, told in words outside it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rl/error.hpp"
#include "rl/text.hpp"

namespace rl {

enum class TroubleKind : std::uint8_t {
  none,
  silent,         ///< does not answer
  all_silent,     ///< nobody answers
  wrong_model,    ///< a: number found, b: number wanted
  firmware,       ///< a: found, b: the first motor's (major * 100 + minor)
  calibration,    ///< a: found, b: wanted
  outside,        ///< a: raw position
  mode,           ///< a: mode found
  multi_turn,     ///< phase bit 4
  status_bits,    ///< a: status byte
  hot,            ///< a: deg C
  supply,         ///< a: 0.1 V found, b: 0.1 V of the other motors
  lock_open,      ///< EEPROM left writable
  torque_on,      ///< found energised
  not_energised,  ///< torque did not come on
  goal_refused,   ///< goal register does not hold what was written; a: found, b: wanted
  not_written,    ///< a register does not keep what was written; a: found, b: wanted
  lost,           ///< the port is gone
  still_energised
};

struct Trouble {
  TroubleKind kind = TroubleKind::none;
  int joint = -1;
  int a = 0;
  int b = 0;
  Text<28> what;  ///< a register's name

  [[nodiscard]] bool none() const noexcept { return kind == TroubleKind::none; }
};

/// Where it happened, for the sentence.
struct Place {
  std::string_view port;
  std::string_view joint;
  int id = -1;
  std::string_view model;
};

[[nodiscard]] Error describe(const Trouble& trouble, const Place& place);

}  // namespace rl
