#include "rl/trouble.hpp"

#include "rl/health.hpp"
#include "rl/registers.hpp"

namespace rl {
namespace {

std::string who(const Place& place) {
  return std::string(place.joint) + " (id " + std::to_string(place.id) + ")";
}

std::string bits_of(int byte) {
  std::string out;
  for (unsigned bit = 0; bit < 8; ++bit) {
    if (((static_cast<unsigned>(byte) >> bit) & 1U) == 0) continue;
    if (!out.empty()) out += ", ";
    out += alarm_name(bit);
  }
  return out;
}

std::string model_text(int number) {
  const std::string_view name = model_name(static_cast<std::uint16_t>(number));
  return (name.empty() ? std::string("an unknown model") : std::string(name)) + " (" +
         std::to_string(number) + ")";
}

std::string version(int firmware) {
  return std::to_string(firmware / 100) + "." + std::to_string(firmware % 100);
}

std::string volts(int tenths) { return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10); }

Error calibration_error(const Trouble& t, const Place& place) {
  const std::string port(place.port);
  switch (t.kind) {
    case TroubleKind::mode:
      return {ErrorCode::calibration, "wrong mode: " + who(place) + " on " + port + " is in mode " +
                                          std::to_string(t.a) + ", not 0 (position); configure it"};
    case TroubleKind::multi_turn:
      return {ErrorCode::calibration, "multi-turn feedback: " + who(place) + " on " + port +
                                          " counts beyond one turn; clear Phase bit 4"};
    default:
      return {ErrorCode::calibration, "calibration differs: " + who(place) + " on " + port + " holds " +
                                          t.what.string() + " " + std::to_string(t.a) + ", the file says " +
                                          std::to_string(t.b) +
                                          "; write the file to the arm, or calibrate again"};
  }
}

Error state_error(const Trouble& t, const Place& place) {
  const std::string port(place.port);
  switch (t.kind) {
    case TroubleKind::outside:
      return {ErrorCode::io, "outside its range: " + who(place) + " on " + port + " stands at " +
                                 std::to_string(t.a) + "; move it inside by hand, or calibrate again"};
    case TroubleKind::status_bits:
      return {ErrorCode::io, "motor reports " + bits_of(t.a) + ": " + who(place) + " on " + port +
                                 "; relieve it and switch it off and on"};
    case TroubleKind::hot:
      return {ErrorCode::io, "too hot: " + who(place) + " on " + port + " has " + std::to_string(t.a) +
                                 " deg C; let it cool below 60"};
    case TroubleKind::supply:
      return {ErrorCode::io, "wrong supply: " + who(place) + " on " + port + " has " + volts(t.a) +
                                 " V, the others " + volts(t.b) + " V; check its cable"};
    case TroubleKind::lock_open:
      return {ErrorCode::io, who(place) + " on " + port + " was left with its EEPROM open; configure it"};
    case TroubleKind::torque_on:
      return {ErrorCode::io, who(place) + " on " + port + " was found energised"};
    case TroubleKind::firmware:
      return {ErrorCode::wrong_model, who(place) + " on " + port + " has firmware " + version(t.a) +
                                          ", the first motor " + version(t.b)};
    case TroubleKind::not_energised:
      return {ErrorCode::io,
              "no torque: " + who(place) + " on " + port + " did not switch on; check its supply"};
    case TroubleKind::still_energised:
      return {ErrorCode::io, "still energised: " + who(place) + " on " + port + "; cut its power"};
    default:
      return {ErrorCode::io, who(place) + " on " + port + " does not keep " + t.what.string() + " " +
                                 std::to_string(t.b) + " (it says " + std::to_string(t.a) + ")"};
  }
}

}  // namespace

Error describe(const Trouble& t, const Place& place) {
  const std::string port(place.port);
  switch (t.kind) {
    case TroubleKind::none:
      return {ErrorCode::usage, ""};
    case TroubleKind::silent:
      return {ErrorCode::motor_missing,
              "motor missing: " + who(place) + " does not answer on " + port + "; check its cable"};
    case TroubleKind::all_silent:
      return {ErrorCode::motor_missing, "no motor answers on " + port + " (first asked: " + who(place) +
                                            "); check the power supply and the cable to the first motor"};
    case TroubleKind::wrong_model:
      return {ErrorCode::wrong_model, "wrong model: " + who(place) + " on " + port + " is " +
                                          model_text(t.a) + ", not " + model_text(t.b) +
                                          "; check which arm is on this port"};
    case TroubleKind::lost:
      return {ErrorCode::lost, port + " is gone; check the USB cable"};
    case TroubleKind::calibration:
    case TroubleKind::mode:
    case TroubleKind::multi_turn:
      return calibration_error(t, place);
    default:
      return state_error(t, place);
  }
}

}  // namespace rl
