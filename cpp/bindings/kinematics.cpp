#include "rl/kinematics.hpp"

#include <array>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "rl/jog.hpp"

namespace {

using Numbers = Array<double>;

const rl::Chain& chain_of(const std::string& arm) {
  if (arm != "so101") throw py::value_error("there is no chain '" + arm + "'; it is so101");
  return rl::so101_chain();
}

std::span<const double> of_length(const Numbers& values, std::size_t n, const char* what) {
  if (static_cast<std::size_t>(values.size()) != n)
    throw py::value_error(std::string(what) + " has not " + std::to_string(n) + " values");
  return span_of(values);
}

Numbers array_of(std::span<const double> values) {
  return Numbers(static_cast<py::ssize_t>(values.size()), values.data());
}

rl::Pose pose_of(const Numbers& values) {
  const auto v = of_length(values, rl::kPoseNumbers, "pose");
  return {{v[0], v[1], v[2]}, v[3], v[4]};
}

Numbers array_of(const rl::Pose& p) {
  const std::array<double, rl::kPoseNumbers> all{p.position[0], p.position[1], p.position[2], p.pitch,
                                                 p.roll};
  return array_of(std::span<const double>(all));
}

/// A chain that outlives every handle.
struct ChainHandle {
  const rl::Chain* chain;
};

py::tuple tool(const ChainHandle& self, const Numbers& q) {
  const rl::Frame frame = self.chain->tool(of_length(q, self.chain->size(), "q"));
  Numbers rotation({3, 3});
  std::copy(frame.rotation.begin(), frame.rotation.end(), rotation.mutable_data());
  return py::make_tuple(array_of(std::span<const double>(frame.origin)), rotation);
}

Numbers jacobian(const ChainHandle& self, const Numbers& q) {
  const std::size_t n = self.chain->size();
  Numbers out({static_cast<py::ssize_t>(6), static_cast<py::ssize_t>(n)});
  self.chain->jacobian(of_length(q, n, "q"), {out.mutable_data(), 6 * n});
  return out;
}

py::tuple solve(const ChainHandle& self, const Numbers& pose, const Numbers& seed, const Numbers& low,
                const Numbers& high) {
  const std::size_t n = self.chain->size();
  const rl::Reach found = self.chain->solve(pose_of(pose), of_length(seed, n, "seed"),
                                            of_length(low, n, "low"), of_length(high, n, "high"));
  return py::make_tuple(array_of({found.joints.data(), n}), found.off_position, found.off_angle);
}

Numbers limits(const ChainHandle& self) {
  const std::size_t n = self.chain->size();
  Numbers out({static_cast<py::ssize_t>(2), static_cast<py::ssize_t>(n)});
  for (std::size_t k = 0; k < n; ++k) {
    out.mutable_data()[k] = self.chain->low(k);
    out.mutable_data()[n + k] = self.chain->high(k);
  }
  return out;
}

rl::Jog make_jog(const Numbers& low, const Numbers& high, const Numbers& leash, const std::string& arm) {
  const auto n = static_cast<std::size_t>(low.size());
  const auto highs = of_length(high, n, "high");
  const auto leashes = of_length(leash, n, "leash");
  std::vector<rl::JogAxis> axes(n);
  for (std::size_t k = 0; k < n; ++k) axes[k] = {span_of(low)[k], highs[k], leashes[k]};
  return {std::move(axes), arm.empty() ? nullptr : &chain_of(arm)};
}

bool move_tool(rl::Jog& self, const Numbers& speed, const Numbers& others, double dt) {
  const auto v = of_length(speed, rl::kPoseNumbers, "speed");
  return self.move_tool({{v[0], v[1], v[2]}, v[3], v[4]}, of_length(others, self.size(), "others"), dt);
}

}  // namespace

void register_kinematics(py::module_& m) {
  py::class_<ChainHandle>(m, "Kinematics",
                          "Where an arm's tool is, and how to bring it somewhere; m and rad.")
      .def(py::init([](const std::string& arm) { return ChainHandle{&chain_of(arm)}; }), py::arg("arm"))
      .def_property_readonly("limits", &limits)
      .def("tool", &tool, py::arg("q"))
      .def("jacobian", &jacobian, py::arg("q"))
      .def(
          "pose",
          [](const ChainHandle& self, const Numbers& q) {
            return array_of(self.chain->pose(of_length(q, self.chain->size(), "q")));
          },
          py::arg("q"))
      .def("solve", &solve, py::arg("pose"), py::arg("seed"), py::arg("low"), py::arg("high"));
  py::class_<rl::Jog>(m, "Jog", "A pose that a person pushes along; robot units.")
      .def(py::init(&make_jog), py::arg("low"), py::arg("high"), py::arg("leash"), py::arg("arm") = "")
      .def_property_readonly("placed", &rl::Jog::placed)
      .def("forget", &rl::Jog::forget)
      .def(
          "place",
          [](rl::Jog& self, const Numbers& pose) { self.place(of_length(pose, self.size(), "pose")); },
          py::arg("pose"))
      .def(
          "see",
          [](rl::Jog& self, const Numbers& pose) { self.see(of_length(pose, self.size(), "measured")); },
          py::arg("measured"))
      .def(
          "move_joints",
          [](rl::Jog& self, const Numbers& speeds, double dt) {
            self.move_joints(of_length(speeds, self.size(), "speeds"), dt);
          },
          py::arg("speeds"), py::arg("dt"))
      .def("move_tool", &move_tool, py::arg("speed"), py::arg("others"), py::arg("dt"))
      .def("target", [](const rl::Jog& self) { return array_of(self.target()); })
      .def("tool", [](const rl::Jog& self) { return array_of(self.tool()); });
}
