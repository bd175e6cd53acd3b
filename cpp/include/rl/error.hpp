/// Errors outside the loop: a value or a sentence. Nothing in the loop makes one of these.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace rl {

enum class ErrorCode : std::uint8_t {
  absent,
  permission,
  busy,
  io,
  motor_missing,
  wrong_model,
  calibration,
  timeout,
  usage,
  lost
};

[[nodiscard]] const char* to_string(ErrorCode code) noexcept;

/// `text` is one line: what is wrong, where (port, joint, id), what to do.
/// (The analyser loses track of which member of a variant is alive.)
struct Error {  // NOLINT(clang-analyzer-core.uninitialized.Assign)
  ErrorCode code = ErrorCode::usage;
  std::string text;
};

struct Done {};

template <typename T = Done>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : content_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error)
      : content_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const noexcept { return content_.index() == 0; }
  [[nodiscard]] T& value() { return std::get<0>(content_); }
  [[nodiscard]] const T& value() const { return std::get<0>(content_); }
  [[nodiscard]] const Error& error() const { return std::get<1>(content_); }

 private:
  std::variant<T, Error> content_;
};

}  // namespace rl
