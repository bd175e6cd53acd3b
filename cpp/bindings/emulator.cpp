#include "emulator.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace py = pybind11;

namespace {

using rl::emulator::Emulator;
using rl::emulator::kJoints;

constexpr auto kWidth = static_cast<py::ssize_t>(kJoints);

std::unique_ptr<Emulator> build(const std::string& kind, bool wave, int usb_us, std::uint64_t seed,
                                double lag_s, const std::string& profile) {
  const auto adapter =
      profile.empty() ? rl::emulator::Adapter{usb_us, 0} : rl::emulator::adapter_named(profile);
  return std::make_unique<Emulator>(
      rl::emulator::Options{rl::emulator::kind_named(kind), wave, adapter, seed, lag_s});
}

/// The core's own class, looked up by name: the emulator knows nothing of the core.
py::list calibration(py::object self, const std::string& mode) {
  const py::object module = py::module_::import("sys").attr("modules")[self.attr("__module__")];
  const py::object joint_class = module.attr("JointCalibration");
  const auto body = rl::emulator::unit_named(mode);
  py::list result;
  const auto& joints = self.cast<const Emulator&>().joints();
  for (std::size_t j = 0; j < kJoints; ++j) {
    const auto& joint = joints[j];
    const char* unit = rl::emulator::name_of(rl::emulator::unit_of(j, body));
    result.append(
        joint_class(joint.name, joint.id, 0, joint.homing_offset, joint.range_min, joint.range_max, unit));
  }
  return result;
}

py::array_t<double> rest_pose(const Emulator& emulator, const std::string& mode) {
  const auto pose = emulator.rest_pose(rl::emulator::unit_named(mode));
  return py::array_t<double>(kWidth, pose.data());
}

py::array_t<double> wave_at(const Emulator& emulator,
                            const py::array_t<double, py::array::c_style | py::array::forcecast>& seconds,
                            const std::string& mode) {
  if (seconds.ndim() != 1) throw std::invalid_argument("wave_at: t_s must have shape (n,)");
  const auto body = rl::emulator::unit_named(mode);
  py::array_t<double> poses({seconds.size(), kWidth});
  auto rows = poses.mutable_unchecked<2>();
  for (py::ssize_t i = 0; i < seconds.size(); ++i) {
    const auto pose = emulator.wave_at(seconds.at(i), body);
    for (py::ssize_t j = 0; j < kWidth; ++j) rows(i, j) = pose[static_cast<std::size_t>(j)];
  }
  return poses;
}

template <typename Call>
auto without_gil(Call call) {
  const py::gil_scoped_release release;
  return call();
}

py::array_t<std::int64_t> goal_times(const Emulator& emulator) {
  const auto times = without_gil([&] { return emulator.goal_times(); });
  return py::array_t<std::int64_t>(static_cast<py::ssize_t>(times.size()), times.data());
}

py::array_t<std::int64_t> goals(const Emulator& emulator) {
  const auto rows = without_gil([&] { return emulator.goals(); });
  py::array_t<std::int64_t> result({static_cast<py::ssize_t>(rows.size()), kWidth});
  std::int64_t* out = result.mutable_data();
  for (const auto& row : rows) out = std::copy(row.begin(), row.end(), out);
  return result;
}

py::array_t<std::int64_t> positions(Emulator& emulator) {
  const auto steps = without_gil([&] { return emulator.positions(); });
  py::array_t<std::int64_t> result(kWidth);
  std::copy(steps.begin(), steps.end(), result.mutable_data());
  return result;
}

py::bytes registers(Emulator& emulator, int id) {
  const auto bytes = without_gil([&] { return emulator.registers(id); });
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void set_register(Emulator& emulator, int id, int address, const py::bytes& data) {
  const std::string_view view = data;
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(view.data()), view.size());
  without_gil([&] { emulator.set_register(id, address, bytes); });
}

void fault(Emulator& emulator, const std::string& kind, const py::kwargs& fields) {
  const auto values = fields.cast<rl::emulator::Fields>();
  without_gil([&] { emulator.fault(kind, values); });
}

}  // namespace

void register_emulator(py::module_& m) {
  py::class_<Emulator>(m, "Emulator", "A chain of six emulated STS3215 behind a pseudo-terminal.")
      .def(py::init(&build), py::arg("kind") = "so101-follower", py::kw_only(), py::arg("wave") = false,
           py::arg("usb_us") = 125, py::arg("seed") = 0, py::arg("lag_s") = 0.06, py::arg("profile") = "")
      .def_property_readonly("port", &Emulator::port)
      .def_property_readonly("wave_period_s", [](const Emulator&) { return rl::emulator::kWavePeriodS; })
      .def_property_readonly("started", &Emulator::started)
      .def("calibration", &calibration, py::arg("mode") = "degrees")
      .def("rest_pose", &rest_pose, py::arg("mode") = "degrees")
      .def("wave_at", &wave_at, py::arg("t_s"), py::arg("mode") = "degrees")
      .def("goal_times", &goal_times)
      .def("goals", &goals)
      .def("positions", &positions)
      .def("registers", &registers, py::arg("id"))
      .def("set_register", &set_register, py::arg("id"), py::arg("address"), py::arg("data"))
      .def("carry", &Emulator::carry, py::arg("id"), py::arg("encoder"),
           py::call_guard<py::gil_scoped_release>())
      .def("fault", &fault, py::arg("kind"))
      .def("statistics", &Emulator::statistics, py::call_guard<py::gil_scoped_release>())
      .def("close", &Emulator::close, py::call_guard<py::gil_scoped_release>());
}
