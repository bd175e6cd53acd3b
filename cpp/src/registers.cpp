#include "rl/registers.hpp"

#include <array>

namespace rl {
namespace {

constexpr bool kWrite = true;
constexpr bool kRead = false;

// STS3215, STS3250, SM8512BL. Names as the field spells them.
constexpr std::array kSts = {
    Register{"Firmware_Major_Version", 0, 1, kUnsigned, kRead},
    Register{"Firmware_Minor_Version", 1, 1, kUnsigned, kRead},
    Register{"End", 2, 1, kUnsigned, kRead},
    Register{"Model_Number", 3, 2, kUnsigned, kRead},
    Register{"ID", 5, 1, kUnsigned, kWrite},
    Register{"Baud_Rate", 6, 1, kUnsigned, kWrite},
    Register{"Return_Delay_Time", 7, 1, kUnsigned, kWrite},
    Register{"Response_Status_Level", 8, 1, kUnsigned, kWrite},
    Register{"Min_Position_Limit", 9, 2, kUnsigned, kWrite},
    Register{"Max_Position_Limit", 11, 2, kUnsigned, kWrite},
    Register{"Max_Temperature_Limit", 13, 1, kUnsigned, kWrite},
    Register{"Max_Voltage_Limit", 14, 1, kUnsigned, kWrite},
    Register{"Min_Voltage_Limit", 15, 1, kUnsigned, kWrite},
    Register{"Max_Torque_Limit", 16, 2, kUnsigned, kWrite},
    Register{"Phase", 18, 1, kUnsigned, kWrite},
    Register{"Unloading_Condition", 19, 1, kUnsigned, kWrite},
    Register{"LED_Alarm_Condition", 20, 1, kUnsigned, kWrite},
    Register{"P_Coefficient", 21, 1, kUnsigned, kWrite},
    Register{"D_Coefficient", 22, 1, kUnsigned, kWrite},
    Register{"I_Coefficient", 23, 1, kUnsigned, kWrite},
    Register{"Minimum_Startup_Force", 24, 2, kUnsigned, kWrite},
    Register{"CW_Dead_Zone", 26, 1, kUnsigned, kWrite},
    Register{"CCW_Dead_Zone", 27, 1, kUnsigned, kWrite},
    Register{"Protection_Current", 28, 2, kUnsigned, kWrite},
    Register{"Angular_Resolution", 30, 1, kUnsigned, kWrite},
    Register{"Homing_Offset", 31, 2, kOffsetSign, kWrite},
    Register{"Operating_Mode", 33, 1, kUnsigned, kWrite},
    Register{"Protective_Torque", 34, 1, kUnsigned, kWrite},
    Register{"Protection_Time", 35, 1, kUnsigned, kWrite},
    Register{"Overload_Torque", 36, 1, kUnsigned, kWrite},
    Register{"Velocity_closed_loop_P", 37, 1, kUnsigned, kWrite},
    Register{"Over_Current_Protection_Time", 38, 1, kUnsigned, kWrite},
    Register{"Velocity_closed_loop_I", 39, 1, kUnsigned, kWrite},
    Register{"Torque_Enable", 40, 1, kUnsigned, kWrite},
    Register{"Acceleration", 41, 1, kUnsigned, kWrite},
    Register{"Goal_Position", 42, 2, kPositionSign, kWrite},
    Register{"Goal_Time", 44, 2, kUnsigned, kWrite},
    Register{"Goal_Velocity", 46, 2, kPositionSign, kWrite},
    Register{"Torque_Limit", 48, 2, kUnsigned, kWrite},
    Register{"Lock", 55, 1, kUnsigned, kWrite},
    Register{"Present_Position", 56, 2, kPositionSign, kRead},
    Register{"Present_Velocity", 58, 2, kPositionSign, kRead},
    Register{"Present_Load", 60, 2, 10, kRead},
    Register{"Present_Voltage", 62, 1, kUnsigned, kRead},
    Register{"Present_Temperature", 63, 1, kUnsigned, kRead},
    Register{"Async_Write_Flag", 64, 1, kUnsigned, kRead},
    Register{"Status", 65, 1, kUnsigned, kRead},
    Register{"Moving", 66, 1, kUnsigned, kRead},
    Register{"Present_Current", 69, 2, kUnsigned, kRead},
    Register{"Goal_Position_2", 71, 2, kUnsigned, kRead},
    Register{"Moving_Velocity_Threshold", 80, 1, kUnsigned, kWrite},
    Register{"DTs", 81, 1, kUnsigned, kRead},
    Register{"Velocity_Unit_factor", 82, 1, kUnsigned, kRead},
    Register{"Hts", 83, 1, kUnsigned, kRead},
    Register{"Maximum_Velocity_Limit", 84, 1, kUnsigned, kWrite},
    Register{"Maximum_Acceleration", 85, 1, kUnsigned, kWrite},
    Register{"Acceleration_Multiplier", 86, 1, kUnsigned, kWrite},
};

constexpr std::array kScs = {
    Register{"Firmware_Major_Version", 0, 1, kUnsigned, kRead},
    Register{"Firmware_Minor_Version", 1, 1, kUnsigned, kRead},
    Register{"End", 2, 1, kUnsigned, kRead},
    Register{"Model_Number", 3, 2, kUnsigned, kRead},
    Register{"ID", 5, 1, kUnsigned, kWrite},
    Register{"Baud_Rate", 6, 1, kUnsigned, kWrite},
    Register{"Return_Delay_Time", 7, 1, kUnsigned, kWrite},
    Register{"Response_Status_Level", 8, 1, kUnsigned, kWrite},
    Register{"Min_Position_Limit", 9, 2, kUnsigned, kWrite},
    Register{"Max_Position_Limit", 11, 2, kUnsigned, kWrite},
    Register{"Max_Temperature_Limit", 13, 1, kUnsigned, kWrite},
    Register{"Max_Voltage_Limit", 14, 1, kUnsigned, kWrite},
    Register{"Min_Voltage_Limit", 15, 1, kUnsigned, kWrite},
    Register{"Max_Torque_Limit", 16, 2, kUnsigned, kWrite},
    Register{"Phase", 18, 1, kUnsigned, kWrite},
    Register{"Unloading_Condition", 19, 1, kUnsigned, kWrite},
    Register{"LED_Alarm_Condition", 20, 1, kUnsigned, kWrite},
    Register{"P_Coefficient", 21, 1, kUnsigned, kWrite},
    Register{"D_Coefficient", 22, 1, kUnsigned, kWrite},
    Register{"I_Coefficient", 23, 1, kUnsigned, kWrite},
    Register{"Minimum_Startup_Force", 24, 2, kUnsigned, kWrite},
    Register{"CW_Dead_Zone", 26, 1, kUnsigned, kWrite},
    Register{"CCW_Dead_Zone", 27, 1, kUnsigned, kWrite},
    Register{"Protective_Torque", 37, 1, kUnsigned, kWrite},
    Register{"Protection_Time", 38, 1, kUnsigned, kWrite},
    Register{"Torque_Enable", 40, 1, kUnsigned, kWrite},
    Register{"Acceleration", 41, 1, kUnsigned, kWrite},
    Register{"Goal_Position", 42, 2, kUnsigned, kWrite},
    Register{"Running_Time", 44, 2, kUnsigned, kWrite},
    Register{"Goal_Velocity", 46, 2, kUnsigned, kWrite},
    Register{"Lock", 48, 1, kUnsigned, kWrite},
    Register{"Present_Position", 56, 2, kUnsigned, kRead},
    Register{"Present_Velocity", 58, 2, kUnsigned, kRead},
    Register{"Present_Load", 60, 2, kUnsigned, kRead},
    Register{"Present_Voltage", 62, 1, kUnsigned, kRead},
    Register{"Present_Temperature", 63, 1, kUnsigned, kRead},
    Register{"Sync_Write_Flag", 64, 1, kUnsigned, kRead},
    Register{"Status", 65, 1, kUnsigned, kRead},
    Register{"Moving", 66, 1, kUnsigned, kRead},
    Register{"PWM_Maximum_Step", 78, 1, kUnsigned, kWrite},
    Register{"Moving_Velocity_Threshold", 79, 1, kUnsigned, kWrite},
    Register{"DTs", 80, 1, kUnsigned, kWrite},
    Register{"Minimum_Velocity_Limit", 81, 1, kUnsigned, kWrite},
    Register{"Maximum_Velocity_Limit", 82, 1, kUnsigned, kWrite},
    Register{"Acceleration_2", 83, 1, kUnsigned, kWrite},
};

constexpr std::array kModels = {
    Model{"sts3215", 777, 4096, WordOrder::little, true, 55, kSts},
    Model{"sts3250", 2825, 4096, WordOrder::little, true, 55, kSts},
    Model{"sm8512bl", 11272, 4096, WordOrder::little, true, 55, kSts},
    Model{"scs0009", 1284, 1024, WordOrder::big, false, 48, kScs},
};

constexpr std::array kArmSettings = {
    Setting{"Return_Delay_Time", 0, false, false},      Setting{"Operating_Mode", 0, false, false},
    Setting{"P_Coefficient", 16, true, false},          Setting{"I_Coefficient", 0, true, false},
    Setting{"D_Coefficient", 32, true, false},          Setting{"Max_Torque_Limit", 500, true, true},
    Setting{"Protection_Current", 250, true, true},     Setting{"Overload_Torque", 25, true, true},
    Setting{"Maximum_Acceleration", 254, false, false}, Setting{"Acceleration", 254, false, false},
};

}  // namespace

const Model* find_model(std::string_view name) noexcept {
  for (const Model& model : kModels) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

std::string_view model_name(std::uint16_t number) noexcept {
  for (const Model& model : kModels) {
    if (model.number == number) return model.name;
  }
  return "";
}

std::span<const Setting> arm_settings() noexcept { return kArmSettings; }

}  // namespace rl
