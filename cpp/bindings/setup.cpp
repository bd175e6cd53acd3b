#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "bindings.hpp"
#include "rl/setup_bus.hpp"
#include "rl/usb_ports.hpp"

namespace setup_bindings {  // named: files are compiled several at a time
namespace {

/// Calls of several threads, one after another, without the GIL.
struct SetupHandle {
  rl::SetupBus bus;
  std::mutex mutex;
};

template <typename Work>
auto aside(SetupHandle& self, Work work) {
  const py::gil_scoped_release unlocked;
  const std::lock_guard lock(self.mutex);
  return work(self.bus);
}

int sound_id(int id) {
  if (id < 0 || id > rl::kLargestId) throw py::value_error("id is not in 0..253");
  return id;
}

void must_be_open(const SetupHandle& self) {
  if (!self.bus.is_open()) raise({rl::ErrorCode::usage, self.bus.port() + " is not open; call open() first"});
}

py::dict told(const rl::FoundMotor& motor) {
  py::dict out;
  out["id"] = motor.id;
  out["baud"] = motor.baud;
  out["model"] = motor.model;
  out["model_name"] = std::string(motor.model_name);
  out["firmware"] = motor.firmware;
  out["several"] = motor.several;
  return out;
}

py::list told(const std::vector<rl::StoredValue>& values) {
  py::list out;
  for (const rl::StoredValue& v : values) {
    out.append(py::make_tuple(v.id, v.name, v.before, v.value, v.written));
  }
  return out;
}

py::list scan(SetupHandle& self) {
  must_be_open(self);
  py::list out;
  for (const rl::FoundMotor& motor : take(aside(self, [](rl::SetupBus& bus) { return bus.scan(); }))) {
    out.append(told(motor));
  }
  return out;
}

py::object look(SetupHandle& self, int id) {
  must_be_open(self);
  sound_id(id);
  const auto found = take(aside(self, [&](rl::SetupBus& bus) { return bus.look(id); }));
  if (!found) return py::none();
  return told(*found);
}

py::dict positions(SetupHandle& self, const std::vector<int>& ids) {
  must_be_open(self);
  for (const int id : ids) sound_id(id);
  py::dict out;
  for (const auto& one : take(aside(self, [&](rl::SetupBus& bus) { return bus.positions(ids); }))) {
    if (one.captured != 0) out[py::int_(one.id)] = py::make_tuple(one.steps, one.captured);
  }
  return out;
}

py::list store(SetupHandle& self, const std::vector<std::tuple<int, std::string, int>>& wanted) {
  must_be_open(self);
  std::vector<rl::StoredValue> values;
  for (const auto& [id, name, value] : wanted) values.push_back({sound_id(id), name, value, 0, false});
  return told(take(aside(self, [&](rl::SetupBus& bus) { return bus.store(std::move(values)); })));
}

py::dict told(const rl::UsbPort& port) {
  py::dict out;
  out["path"] = port.path;
  out["by_id"] = port.by_id;
  out["serial"] = port.serial;
  out["vendor"] = port.vendor;
  out["product"] = port.product;
  out["name"] = port.name;
  out["driver"] = port.driver;
  out["latency_ms"] = port.latency_ms;
  out["latency_file"] = port.latency_file;
  out["slow"] = rl::slow_adapter(port);
  return out;
}

py::list register_table(const std::string& model) {
  const rl::Model* const found = rl::find_model(model);
  if (found == nullptr) throw py::value_error("there is no servo model '" + model + "'");
  py::list out;
  for (const rl::Register& r : found->registers) {
    const py::object sign = r.sign_bit == rl::kUnsigned ? py::object(py::none()) : py::int_(r.sign_bit);
    out.append(py::make_tuple(std::string(r.name), r.address, r.size, sign, r.writable));
  }
  return out;
}

void register_setup_bus(py::module_& m) {
  py::class_<SetupHandle>(m, "SetupBus", "Motors whose ids and rates are not known yet: it cannot move them.")
      .def(py::init([](const std::string& port, const std::string& model, std::map<int, std::string> names) {
             auto bus = take(rl::SetupBus::make(port, model, std::move(names)));
             return std::unique_ptr<SetupHandle>(new SetupHandle{std::move(bus), {}});
           }),
           py::arg("port"), py::arg("model"), py::arg("names") = std::map<int, std::string>{})
      .def_property_readonly("port", [](const SetupHandle& self) { return self.bus.port(); })
      .def_property_readonly("baud", [](const SetupHandle& self) { return self.bus.baud(); })
      .def_property_readonly("echoes", [](const SetupHandle& self) { return self.bus.echoes(); })
      .def_property_readonly("latency_note", [](const SetupHandle& self) { return self.bus.latency_note(); })
      .def_property_readonly("closed", [](const SetupHandle& self) { return !self.bus.is_open(); })
      .def(
          "open",
          [](SetupHandle& self, unsigned baud) {
            take(aside(self, [&](rl::SetupBus& bus) { return bus.open(baud); }));
          },
          py::arg("baud") = 1'000'000U)
      .def("scan", &scan)
      .def("look", &look, py::arg("id"))
      .def(
          "read",
          [](SetupHandle& self, int id, const std::string& name) {
            must_be_open(self);
            sound_id(id);
            return take(aside(self, [&](rl::SetupBus& bus) { return bus.read(id, name); }));
          },
          py::arg("id"), py::arg("name"))
      .def("positions", &positions, py::arg("ids"))
      .def(
          "relax",
          [](SetupHandle& self, const std::vector<int>& ids) {
            must_be_open(self);
            for (const int id : ids) sound_id(id);
            return take(aside(self, [&](rl::SetupBus& bus) { return bus.relax(ids); }));
          },
          py::arg("ids"))
      .def("store", &store, py::arg("values"))
      .def(
          "readdress",
          [](SetupHandle& self, int from, int to, unsigned baud) {
            must_be_open(self);
            sound_id(from);
            sound_id(to);
            return told(take(aside(self, [&](rl::SetupBus& bus) { return bus.readdress(from, to, baud); })));
          },
          py::arg("from_id"), py::arg("to_id"), py::arg("baud") = 1'000'000U)
      .def(
          "reboot",
          [](SetupHandle& self, int id) {
            must_be_open(self);
            sound_id(id);
            take(aside(self, [&](rl::SetupBus& bus) { return bus.reboot(id); }));
          },
          py::arg("id"))
      .def(
          "restore_factory",
          [](SetupHandle& self, int id) {
            must_be_open(self);
            sound_id(id);
            return take(aside(self, [&](rl::SetupBus& bus) { return bus.restore_factory(id); }));
          },
          py::arg("id"))
      .def("close", [](SetupHandle& self) { self.bus.close(); });
}

}  // namespace
}  // namespace setup_bindings

void register_setup(py::module_& m) {
  using namespace setup_bindings;
  register_setup_bus(m);
  const auto roots = [](const std::string& sys, const std::string& dev) { return rl::DeviceRoots{sys, dev}; };
  m.def(
      "usb_ports",
      [roots](const std::string& sys, const std::string& dev) {
        py::list out;
        for (const rl::UsbPort& port : rl::usb_ports(roots(sys, dev))) out.append(told(port));
        return out;
      },
      py::kw_only(), py::arg("sys") = "/sys", py::arg("dev") = "/dev");
  m.def(
      "usb_port",
      [roots](const std::string& path, const std::string& sys, const std::string& dev) {
        return told(rl::usb_port(path, roots(sys, dev)));
      },
      py::arg("path"), py::kw_only(), py::arg("sys") = "/sys", py::arg("dev") = "/dev");
  m.def(
      "find_port_by_serial",
      [roots](const std::string& serial, const std::string& sys, const std::string& dev) {
        return take(rl::find_port_by_serial(serial, roots(sys, dev)));
      },
      py::arg("serial"), py::kw_only(), py::arg("sys") = "/sys", py::arg("dev") = "/dev");
  m.def("register_table", &register_table, py::arg("model"),
        "(name, address, bytes, sign bit or None, writable) of every register.");
  const auto rates = rl::scan_rates();
  m.attr("SCAN_RATES") = py::tuple(py::cast(std::vector<unsigned>(rates.begin(), rates.end())));
}
