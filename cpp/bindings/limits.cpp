#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "bindings.hpp"
#include "limits_handle.hpp"

namespace {

Limits make_limits(const Array<double>& low, const Array<double>& high, const Array<double>& speed,
                   const Array<double>& acceleration, const Array<double>& jerk,
                   const Array<double>& soft_speed, const Array<double>& jump,
                   const std::vector<bool>& zero_on_starve, const std::optional<Array<double>>& deviation) {
  const py::ssize_t n = low.size();
  for (const auto* part : {&low, &high, &speed, &acceleration, &jerk, &soft_speed, &jump}) {
    if (part->ndim() != 1 || part->size() != n)
      throw py::value_error("limits: every array must have shape (A,)");
  }
  if (zero_on_starve.size() != static_cast<std::size_t>(n))
    throw py::value_error("zero_on_starve must have A entries");
  if (deviation && (deviation->ndim() != 1 || deviation->size() != n))
    throw py::value_error("deviation must have shape (A,)");
  Limits out;
  for (py::ssize_t k = 0; k < n; ++k) {
    rl::PlannerAxis axis;
    axis.limits = {low.at(k), high.at(k), speed.at(k), acceleration.at(k), jerk.at(k)};
    axis.soft_speed = soft_speed.at(k);
    axis.jump = jump.at(k);
    axis.zero_on_starve = zero_on_starve[static_cast<std::size_t>(k)];
    if (deviation) axis.deviation = deviation->at(k);
    out.axes.push_back(axis);
  }
  return out;
}

/// One axis alone, for tests: goals (n,) that follow `targets` (n,) from `start` at rest.
py::array_t<double> limit_track(const Limits& limits, std::size_t axis, double start,
                                const Array<double>& targets, double dt) {
  if (axis >= limits.axes.size()) throw py::index_error("no such axis");
  if (!(dt > 0)) throw py::value_error("dt must be above 0");
  rl::Motion motion{start, 0, 0};
  py::array_t<double> out(targets.size());
  double before = targets.size() > 0 ? targets.at(0) : 0;
  for (py::ssize_t i = 0; i < targets.size(); ++i) {
    motion = rl::follow(motion, targets.at(i), before, limits.axes[axis].limits, dt);
    before = targets.at(i);
    out.mutable_at(i) = motion.position;
  }
  return out;
}

}  // namespace

void register_limits(py::module_& m) {
  py::class_<Limits>(m, "Limits", "What each element of the action vector may do. Robot units.")
      .def(py::init(&make_limits), py::arg("low"), py::arg("high"), py::arg("speed"), py::arg("acceleration"),
           py::arg("jerk"), py::arg("soft_speed"), py::arg("jump"), py::arg("zero_on_starve"),
           py::arg("deviation") = py::none());
  m.def("limit_track", &limit_track, py::arg("limits"), py::arg("axis"), py::arg("start"), py::arg("targets"),
        py::arg("dt"));
}
