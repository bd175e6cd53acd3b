#include "rl/error.hpp"

namespace rl {

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::absent:
      return "absent";
    case ErrorCode::permission:
      return "permission";
    case ErrorCode::busy:
      return "busy";
    case ErrorCode::io:
      return "io";
    case ErrorCode::motor_missing:
      return "motor-missing";
    case ErrorCode::wrong_model:
      return "wrong-model";
    case ErrorCode::calibration:
      return "calibration";
    case ErrorCode::timeout:
      return "timeout";
    case ErrorCode::usage:
      return "usage";
    case ErrorCode::lost:
      return "lost";
  }
  return "usage";
}

}  // namespace rl
