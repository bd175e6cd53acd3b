#include <cmath>
#include <utility>

#include "bindings.hpp"

rl::UnitMode unit_mode(const std::string& name) {
  if (name == "degrees") return rl::UnitMode::degrees;
  if (name == "range_m100_100") return rl::UnitMode::range_m100_100;
  if (name == "range_0_100") return rl::UnitMode::range_0_100;
  throw py::value_error("there is no unit mode '" + name + "'; it is degrees, range_m100_100 or range_0_100");
}

namespace {

const char* mode_name(rl::UnitMode mode) {
  switch (mode) {
    case rl::UnitMode::degrees:
      return "degrees";
    case rl::UnitMode::range_m100_100:
      return "range_m100_100";
    case rl::UnitMode::range_0_100:
      return "range_0_100";
  }
  return "";
}

rl::JointCalibration make_calibration(std::string name, int id, int drive_mode, int homing_offset,
                                      int range_min, int range_max, const std::string& mode) {
  rl::JointCalibration out{std::move(name), id,        drive_mode,     homing_offset,
                           range_min,       range_max, unit_mode(mode)};
  if (const std::string problem = out.problem(); !problem.empty())
    throw py::value_error(out.name + ": " + problem);
  return out;
}

int to_raw(const rl::JointCalibration& self, double unit) {
  if (!std::isfinite(unit)) throw py::value_error(self.name + ": the value is not finite");
  return self.to_raw(unit);
}

}  // namespace

void register_units(py::module_& m) {
  using Joint = rl::JointCalibration;
  py::class_<Joint>(m, "JointCalibration", "One joint's calibration, and its units.")
      .def(py::init(&make_calibration), py::arg("name"), py::arg("id"), py::arg("drive_mode"),
           py::arg("homing_offset"), py::arg("range_min"), py::arg("range_max"), py::arg("mode"))
      .def_readwrite("name", &Joint::name)
      .def_readwrite("id", &Joint::id)
      .def_readwrite("drive_mode", &Joint::drive_mode)
      .def_readwrite("homing_offset", &Joint::homing_offset)
      .def_readwrite("range_min", &Joint::range_min)
      .def_readwrite("range_max", &Joint::range_max)
      .def_property(
          "mode", [](const Joint& j) { return mode_name(j.mode); },
          [](Joint& j, const std::string& name) { j.mode = unit_mode(name); })
      .def("to_unit", &Joint::to_unit, py::arg("raw"))
      .def("to_raw", &to_raw, py::arg("unit"), "ValueError when the value is not finite.");
}
