#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "rl/action_queue.hpp"
#include "rl/promise.hpp"

namespace {

py::array_t<float> ensemble(rl::TemporalEnsembler& self, const Array<float>& chunk) {
  if (chunk.ndim() != 2) throw py::value_error("chunk must have shape (T, A)");
  const auto width = static_cast<std::size_t>(chunk.shape(1));
  py::array_t<float> action(chunk.shape(1));
  if (!self.update(span_of(chunk), width, {action.mutable_data(), width})) {
    throw py::value_error("chunk must have shape (" + std::to_string(self.chunk()) + ", A), A as before");
  }
  return action;
}

rl::StepQueue step_queue(const Array<std::int64_t>& steps, const Array<double>& times,
                         const Array<float>& actions) {
  if (steps.ndim() != 1 || times.ndim() != 1 || actions.ndim() != 2 || steps.size() != times.size() ||
      steps.size() != actions.shape(0)) {
    throw py::value_error("steps (n,), times (n,) and actions (n, A) must belong together");
  }
  const auto s = span_of(steps);
  const auto t = span_of(times);
  const auto a = span_of(actions);
  return {{s.begin(), s.end()}, {t.begin(), t.end()}, {a.begin(), a.end()}};
}

py::tuple merge(const Array<std::int64_t>& queue_steps, const Array<double>& queue_times,
                const Array<float>& queue_actions, const Array<std::int64_t>& new_steps,
                const Array<double>& new_times, const Array<float>& new_actions, std::int64_t latest,
                const std::string& function) {
  rl::Aggregation aggregation{};
  if (!rl::find_aggregation(function, aggregation))
    throw py::value_error("there is no aggregation '" + function + "'");
  const rl::StepQueue queue = step_queue(queue_steps, queue_times, queue_actions);
  const rl::StepQueue incoming = step_queue(new_steps, new_times, new_actions);
  const py::ssize_t width = incoming.steps.empty() ? queue_actions.shape(1) : new_actions.shape(1);
  if (!queue.steps.empty() && queue_actions.shape(1) != width)
    throw py::value_error("both queues must have one width");
  const rl::StepQueue out =
      rl::merge_aggregate(queue, incoming, static_cast<std::size_t>(width), latest, aggregation);
  const auto n = static_cast<py::ssize_t>(out.steps.size());
  return py::make_tuple(py::array_t<std::int64_t>(n, out.steps.data()),
                        py::array_t<double>(n, out.times.data()),
                        py::array_t<float>({n, width}, out.actions.data()));
}

rl::ActionQueue make_queue(std::size_t width, const std::string& merge_name, double coefficient,
                           std::size_t crossfade, const std::string& interpolation) {
  rl::QueueConfig config;
  config.width = width;
  config.coefficient = coefficient;
  config.crossfade = crossfade;
  if (width == 0 || width > rl::kMostAxes) throw py::value_error("width is not in 1..64");
  if (!(std::abs(coefficient) < 10) || coefficient < -0.1)
    throw py::value_error("coefficient is not in -0.1..10");
  if (!rl::find_merge(merge_name, config.merge))
    throw py::value_error("there is no merge '" + merge_name + "'");
  if (!rl::find_interpolation(interpolation, config.interpolation))
    throw py::value_error("there is no interpolation '" + interpolation + "'");
  return rl::ActionQueue(config);
}

std::string push(rl::ActionQueue& self, std::int64_t observed, std::int64_t period, const Array<float>& chunk,
                 std::int64_t now, std::size_t promised) {
  if (chunk.ndim() != 2) throw py::value_error("chunk must have shape (T, A)");
  if (chunk.shape(0) > 0 && static_cast<std::size_t>(chunk.shape(1)) != self.config().width) return "width";
  return rl::to_string(
      self.push({observed, period, static_cast<std::size_t>(chunk.shape(0)), span_of(chunk), promised}, now));
}

py::object at(rl::ActionQueue& self, std::int64_t now) {
  py::array_t<double> out(static_cast<py::ssize_t>(self.config().width));
  if (!self.at(now, {out.mutable_data(), self.config().width})) return py::none();
  return out;
}

rl::Promise make_promise(std::size_t width, std::size_t horizon) {
  if (width == 0 || width > rl::kMostAxes) throw py::value_error("width is not in 1..64");
  if (horizon < 2 || horizon > rl::kMostRows) throw py::value_error("horizon is not in 2..512");
  return {width, horizon};
}

py::tuple begin(rl::Promise& self, std::int64_t observed, std::int64_t period) {
  if (period <= 0) throw py::value_error("period is not above 0");
  std::vector<float> rows(self.horizon() * self.width());
  const rl::Promise::Prefix prefix = self.begin(observed, period, rows);
  const auto shape =
      std::array{static_cast<py::ssize_t>(prefix.rows), static_cast<py::ssize_t>(self.width())};
  return py::make_tuple(py::array_t<float>(shape, rows.data()), prefix.promised);
}

std::size_t arrived(rl::Promise& self, std::int64_t observed, std::int64_t period, const Array<float>& chunk,
                    std::int64_t now, std::size_t promised) {
  if (chunk.ndim() != 2 || static_cast<std::size_t>(chunk.shape(1)) != self.width())
    throw py::value_error("chunk must have shape (T, " + std::to_string(self.width()) + ")");
  return self.arrived({observed, period, static_cast<std::size_t>(chunk.shape(0)), span_of(chunk), promised},
                      now);
}

py::array_t<double> weights(const std::string& name, std::size_t promised, std::size_t end,
                            std::size_t rows) {
  rl::PrefixWeights schedule{};
  if (!rl::find_prefix_weights(name, schedule))
    throw py::value_error("there is no schedule '" + name + "'; it is zeros, ones, linear or exponential");
  if (rows > rl::kMostRows) throw py::value_error("rows is not in 0..512");
  py::array_t<double> out(static_cast<py::ssize_t>(rows));
  rl::prefix_weights(schedule, promised, end, {out.mutable_data(), rows});
  return out;
}

}  // namespace

void register_queue(py::module_& m) {
  py::class_<rl::TemporalEnsembler>(m, "TemporalEnsembler", "ACT's weighted mean over overlapping chunks.")
      .def(py::init([](std::size_t chunk, double coefficient) {
             if (chunk == 0 || chunk > 100'000) throw py::value_error("chunk is not in 1..100000");
             return rl::TemporalEnsembler(chunk, coefficient);
           }),
           py::arg("chunk"), py::arg("coefficient"))
      .def("reset", &rl::TemporalEnsembler::reset)
      .def("update", &ensemble, py::arg("chunk"));
  m.def("merge_aggregate", &merge, py::arg("queue_steps"), py::arg("queue_times"), py::arg("queue_actions"),
        py::arg("new_steps"), py::arg("new_times"), py::arg("new_actions"), py::arg("latest"),
        py::arg("function"));
  py::class_<rl::ActionQueue>(m, "ActionQueue", "Actions by the time they are due.")
      .def(py::init(&make_queue), py::arg("width"), py::arg("merge") = "replace",
           py::arg("coefficient") = 0.01, py::arg("crossfade") = 0, py::arg("interpolation") = "linear")
      .def("push", &push, py::arg("observed"), py::arg("period"), py::arg("chunk"), py::arg("now"),
           py::arg("promised") = 0)
      .def("at", &at, py::arg("now"))
      .def("remaining", &rl::ActionQueue::remaining, py::arg("now"));
  py::class_<rl::Promise>(m, "Promise", "What is promised of the running plan when an inference begins.")
      .def(py::init(&make_promise), py::arg("width"), py::arg("horizon"))
      .def("begin", &begin, py::arg("observed"), py::arg("period"))
      .def("arrived", &arrived, py::arg("observed"), py::arg("period"), py::arg("chunk"), py::arg("now"),
           py::arg("promised"))
      .def("clear", &rl::Promise::clear)
      .def_property_readonly("delay", &rl::Promise::delay);
  m.def("prefix_weights", &weights, py::arg("schedule"), py::arg("promised"), py::arg("end"),
        py::arg("rows"));
}
