#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "bindings.hpp"
#include "bus_handle.hpp"
#include "rl/clock.hpp"

namespace {

using Lock = std::unique_lock<std::mutex>;

/// For calls that talk: not while a loop does, and only on an open port.
Lock hold(const BusHandle& self, bool open = true) {
  Lock lock(self.shared->mutex, std::defer_lock);
  {
    const py::gil_scoped_release unlocked;
    lock.lock();
  }
  const std::string& port = self.shared->chain.config().port;
  if (self.shared->driven)
    raise({rl::ErrorCode::usage, port + " is driven by a loop; look at its snapshot instead"});
  if (open && !self.shared->chain.is_open())
    raise({rl::ErrorCode::usage, port + " is not open; call open() first"});
  return lock;
}

/// Runs `work` without the GIL.
template <typename Work>
auto aside(Work work) {
  const py::gil_scoped_release unlocked;
  return work();
}

BusHandle make_bus(const std::string& port, const std::string& model,
                   std::vector<rl::JointCalibration> joints, unsigned baud, bool energise) {
  auto chain = take(rl::ServoChain::make({port, model, std::move(joints), baud, energise}));
  return {std::make_shared<rl::SharedChain>(std::move(chain))};
}

void open_bus(BusHandle& self) {
  const Lock lock = hold(self, false);
  take(aside([&] { return self.shared->chain.open(); }));
}

std::vector<std::string> check(BusHandle& self) {
  const Lock lock = hold(self);
  rl::ServoChain& chain = self.shared->chain;
  std::vector<rl::Trouble> notes;
  const rl::Trouble trouble = aside([&] { return chain.check(notes); });
  if (!trouble.none()) raise(chain.tell(trouble));
  std::vector<std::string> out;
  out.reserve(notes.size());
  for (const rl::Trouble& note : notes) out.push_back(chain.tell(note).text);
  return out;
}

int configure(BusHandle& self) {
  const Lock lock = hold(self);
  return take(aside([&] { return self.shared->chain.configure(); }));
}

std::optional<int> ping(BusHandle& self, int id) {
  if (id < 0 || id > rl::kLargestId) throw py::value_error("id is not in 0..253");
  const Lock lock = hold(self);
  const int model = aside([&] { return self.shared->chain.ping(static_cast<std::uint8_t>(id)); });
  if (model < 0) return std::nullopt;
  return model;
}

int read_register(BusHandle& self, int id, const std::string& name) {
  if (id < 0 || id > rl::kLargestId) throw py::value_error("id is not in 0..253");
  const Lock lock = hold(self);
  return take(aside([&] { return self.shared->chain.read_register(static_cast<std::uint8_t>(id), name); }));
}

py::tuple read_bus(BusHandle& self) {
  constexpr std::int64_t kPatience = 100 * rl::kMillisecond;
  const Lock lock = hold(self);
  rl::ServoChain& chain = self.shared->chain;
  aside([&] { return chain.read_now(kPatience); });
  if (chain.lost()) raise(chain.tell({rl::TroubleKind::lost, -1, 0, 0, {}}));
  const std::int64_t now = rl::now_ns();
  const auto n = static_cast<py::ssize_t>(chain.size());
  py::array_t<double> values(n);
  py::array_t<double> age(n);
  std::vector<std::string> faults;
  std::int64_t captured = 0;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const rl::JointState& joint = chain.joints()[i];
    if (joint.captured == 0) raise(chain.tell({rl::TroubleKind::silent, static_cast<int>(i), 0, 0, {}}));
    captured = std::max(captured, joint.captured);
    values.mutable_at(static_cast<py::ssize_t>(i)) = joint.value;
    age.mutable_at(static_cast<py::ssize_t>(i)) = static_cast<double>(now - joint.captured) * 1e-9;
    const int index = static_cast<int>(i);
    if (!joint.fresh) faults.push_back(chain.tell({rl::TroubleKind::silent, index, 0, 0, {}}).text);
    if (joint.alarms != 0)
      faults.push_back(chain.tell({rl::TroubleKind::status_bits, index, joint.alarms, 0, {}}).text);
  }
  return py::make_tuple(values, captured, age, faults);
}

void close_bus(BusHandle& self) {
  const Lock lock = hold(self, false);
  self.shared->chain.close();
}

}  // namespace

void register_bus(py::module_& m) {
  py::class_<BusHandle>(m, "ServoBus", "A handle to one chain of servos: it can look, never move.")
      .def(py::init(&make_bus), py::arg("port"), py::arg("model"), py::arg("joints"), py::kw_only(),
           py::arg("baud") = 1'000'000U, py::arg("energise") = true)
      .def_property_readonly("port", [](const BusHandle& self) { return self.shared->chain.config().port; })
      .def_property_readonly("closed", [](const BusHandle& self) { return !self.shared->chain.is_open(); })
      .def("open", &open_bus)
      .def("check", &check)
      .def("configure", &configure)
      .def("ping", &ping, py::arg("id"))
      .def("read_register", &read_register, py::arg("id"), py::arg("name"))
      .def("read", &read_bus)
      .def("close", &close_bus);
}
