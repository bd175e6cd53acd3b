#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "bus_handle.hpp"
#include "limits_handle.hpp"
#include "rl/loop_house.hpp"

namespace {

struct LoopConfig {
  double rate_hz = 50;
  std::string source = "chunks";
  std::string merge = "replace";
  double coefficient = 0.01;
  std::size_t crossfade = 0;
  std::string interpolation = "linear";
  double duration_s = 0;
  std::string stop_policy = "rest";
  bool estop_off = false;
  std::optional<std::vector<double>> rest_pose;
  double heartbeat_timeout_s = 0.1;
  double hold_to_rest_s = 10.0;
  double soft_start_s = 1.0;
  bool realtime = true;
  std::string house = "thread";
  std::string black_boxes;
};

/// What Python holds: the house and how many elements its arrays have.
struct LoopHandle {
  /// The end of the house may wait for the rest move: other threads go on meanwhile.
  struct CloseUnlocked {
    void operator()(rl::LoopHouse* house) const {
      const py::gil_scoped_release unlocked;
      delete house;  // NOLINT(cppcoreguidelines-owning-memory): what a deleter is for
    }
  };
  std::unique_ptr<rl::LoopHouse, CloseUnlocked> house;
};

struct Snapshot {
  rl::Look look;
  std::string reason;
  std::vector<std::string> faults;
  std::size_t axes = 0;
};

rl::StopPolicy stop_policy(const std::string& name) {
  if (name == "rest") return rl::StopPolicy::rest;
  if (name == "hold") return rl::StopPolicy::hold;
  if (name == "off") return rl::StopPolicy::off;
  throw py::value_error("there is no stop policy '" + name + "'; it is rest, hold or off");
}

rl::SourceKind source_kind(const std::string& name) {
  if (name == "chunks") return rl::SourceKind::chunks;
  if (name == "setpoints") return rl::SourceKind::setpoints;
  if (name == "leader") return rl::SourceKind::leader;
  throw py::value_error("there is no source '" + name + "'; it is chunks, setpoints or leader");
}

std::int64_t to_ns(double seconds, const char* name, double least, double most) {
  if (!(seconds >= least && seconds <= most)) throw py::value_error(std::string(name) + " is out of bounds");
  return static_cast<std::int64_t>(seconds * 1e9);
}

rl::HouseConfig house_config(const Limits& limits, const LoopConfig& config) {
  rl::HouseConfig out;
  out.rate_hz = config.rate_hz;
  out.realtime = config.realtime;
  out.duration_s = config.duration_s;
  if (config.house == "guardian") {
    const std::string beside = rl::guardian_beside(reinterpret_cast<const void*>(&register_loop));
    out.guardian = std::string_view(beside);
    if (out.guardian.empty()) throw py::value_error("there is no rl-guardian beside this module");
  } else if (config.house != "thread") {
    throw py::value_error("there is no house '" + config.house + "'; it is guardian or thread");
  }
  out.black_boxes = std::string_view(config.black_boxes);
  rl::PlannerConfig& planner = out.planner;
  planner.axes = rl::BoundedList<rl::PlannerAxis, rl::kMostAxes>(std::span(limits.axes));
  planner.source = source_kind(config.source);
  if (!rl::find_merge(config.merge, planner.queue.merge))
    throw py::value_error("there is no merge '" + config.merge + "'");
  planner.queue.coefficient = config.coefficient;
  planner.queue.crossfade = config.crossfade;
  planner.queue.keep_last = planner.source == rl::SourceKind::setpoints;
  if (!rl::find_interpolation(config.interpolation, planner.queue.interpolation))
    throw py::value_error("there is no interpolation '" + config.interpolation + "'");
  planner.safety.stop_policy = stop_policy(config.stop_policy);
  planner.safety.estop_off = config.estop_off;
  planner.safety.has_rest_pose = config.rest_pose.has_value();
  planner.safety.heartbeat_timeout = to_ns(config.heartbeat_timeout_s, "heartbeat_timeout_s", 0.01, 10);
  planner.safety.hold_to_rest = to_ns(config.hold_to_rest_s, "hold_to_rest_s", 0, 1e6);
  planner.safety.soft_start = to_ns(config.soft_start_s, "soft_start_s", 0, 5);
  if (config.rest_pose) {
    if (config.rest_pose->size() != planner.axes.size())
      throw py::value_error("rest_pose must have shape (A,)");
    for (std::size_t k = 0; k < planner.axes.size(); ++k) planner.axes[k].rest = (*config.rest_pose)[k];
  }
  return out;
}

using Part = std::pair<py::slice, BusHandle>;

std::vector<rl::BusPart> parts_of(const std::vector<Part>& given, std::size_t axes) {
  std::vector<rl::BusPart> out;
  for (const auto& [slice, bus] : given) {
    std::size_t start = 0;
    std::size_t stop = 0;
    std::size_t step = 0;
    std::size_t length = 0;
    if (!slice.compute(axes, &start, &stop, &step, &length)) throw py::error_already_set();
    if (step != 1 || length != bus.shared->chain.size()) {
      throw py::value_error(bus.shared->chain.config().port +
                            ": its slice must have one element for each joint");
    }
    out.push_back({start, bus.shared});
  }
  return out;
}

LoopHandle make_loop(const std::vector<Part>& drives, const Limits& limits, const LoopConfig& config,
                     const std::vector<Part>& leaders) {
  const std::size_t axes = limits.axes.size();
  auto house = take(
      rl::LoopHouse::make(house_config(limits, config), parts_of(drives, axes), parts_of(leaders, axes)));
  LoopHandle handle;
  handle.house.reset(house.release());
  return handle;
}

void start(LoopHandle& self) {
  auto result = [&] {
    const py::gil_scoped_release unlocked;
    return self.house->start();
  }();
  take(std::move(result));
}

void arm(LoopHandle& self) {
  auto result = [&] {
    const py::gil_scoped_release unlocked;
    return self.house->arm();
  }();
  take(std::move(result));
}

std::string push_chunk(LoopHandle& self, std::int64_t observed, std::int64_t period,
                       const Array<float>& chunk, std::size_t promised) {
  if (chunk.ndim() != 2) throw py::value_error("chunk must have shape (T, A)");
  const auto rows = static_cast<std::size_t>(chunk.shape(0));
  return rl::to_string(self.house->push({observed, period, rows, span_of(chunk), promised}, rl::now_ns()));
}

std::string push_setpoint(LoopHandle& self, const Array<double>& values, std::int64_t at) {
  return rl::to_string(self.house->push_setpoint(span_of(values), at, rl::now_ns()));
}

void request_stop(LoopHandle& self, const std::string& policy) {
  self.house->requests().stop(policy.empty() ? self.house->stop_policy() : stop_policy(policy));
}

Snapshot snapshot(LoopHandle& self) {
  Snapshot out;
  out.look = self.house->look();
  out.axes = self.house->axes();
  out.reason = self.house->reason_text(out.look.reason, out.look.joint);
  out.faults = self.house->faults(out.look);
  return out;
}

bool wait_for(LoopHandle& self, double timeout_s) {
  const py::gil_scoped_release unlocked;
  return self.house->wait(timeout_s);
}

void close_loop(LoopHandle& self) {
  const py::gil_scoped_release unlocked;
  self.house->close();
}

py::array_t<double> vector_of(const Snapshot& s, const rl::AxisVector& v) {
  return py::array_t<double>(static_cast<py::ssize_t>(s.axes), v.data());
}

py::array_t<std::uint8_t> bytes_of(const Snapshot& s, const std::array<std::uint8_t, rl::kMostAxes>& v) {
  return py::array_t<std::uint8_t>(static_cast<py::ssize_t>(s.axes), v.data());
}

std::vector<rl::Reason> causes(const Snapshot& s) {
  std::vector<rl::Reason> out;
  for (const rl::ArmLook& arm : s.look.arms) {
    if (arm.state == rl::State::hold && arm.reason != rl::Reason::coupled) out.push_back(arm.reason);
  }
  return out;
}

struct Column {
  const char* name;
  std::int64_t rl::CycleRecord::* field;
};

constexpr std::array kColumns = {
    Column{"cycle", &rl::CycleRecord::cycle},       Column{"deadline", &rl::CycleRecord::deadline},
    Column{"woke", &rl::CycleRecord::woke},         Column{"wrote", &rl::CycleRecord::wrote},
    Column{"read", &rl::CycleRecord::read},         Column{"done", &rl::CycleRecord::done},
    Column{"captured", &rl::CycleRecord::captured},
};

struct Rows {
  std::vector<rl::CycleRecord> heads;
  std::vector<double> values, goal, requested;
};

Rows copy_rows(const rl::RecordRing& ring, std::int64_t since, std::size_t most, std::size_t axes) {
  const std::uint64_t head = ring.head();
  const std::uint64_t first = since < 0 ? 0 : static_cast<std::uint64_t>(since) + 1;
  const std::uint64_t held = head > ring.capacity() ? head - ring.capacity() + 1 : 0;
  Rows out;
  rl::CycleRecord record;
  std::vector<double> values(axes), goal(axes), requested(axes);
  for (std::uint64_t i = std::max(first, held); i < head && out.heads.size() < most; ++i) {
    if (!ring.copy(i, record, values, goal, requested)) continue;
    out.heads.push_back(record);
    out.values.insert(out.values.end(), values.begin(), values.end());
    out.goal.insert(out.goal.end(), goal.begin(), goal.end());
    out.requested.insert(out.requested.end(), requested.begin(), requested.end());
  }
  return out;
}

py::dict records(LoopHandle& self, std::int64_t since, std::size_t most) {
  const std::size_t axes = self.house->axes();
  const Rows rows = copy_rows(self.house->records(), since, std::min<std::size_t>(most, 1U << 16U), axes);
  const auto n = static_cast<py::ssize_t>(rows.heads.size());
  py::dict out;
  for (const Column& column : kColumns) {
    py::array_t<std::int64_t> values(n);
    for (py::ssize_t i = 0; i < n; ++i)
      values.mutable_at(i) = rows.heads[static_cast<std::size_t>(i)].*column.field;
    out[column.name] = values;
  }
  py::array_t<std::uint64_t> missing(n);
  py::array_t<std::uint64_t> skipped(n);
  py::array_t<int> state(n);
  for (py::ssize_t i = 0; i < n; ++i) {
    missing.mutable_at(i) = rows.heads[static_cast<std::size_t>(i)].missing;
    skipped.mutable_at(i) = rows.heads[static_cast<std::size_t>(i)].skipped;
    state.mutable_at(i) = static_cast<int>(rows.heads[static_cast<std::size_t>(i)].state);
  }
  out["missing"] = missing;
  out["skipped"] = skipped;
  out["state"] = state;
  const std::vector<py::ssize_t> shape = {n, static_cast<py::ssize_t>(axes)};
  out["values"] = py::array_t<double>(shape, rows.values.data());
  out["goal"] = py::array_t<double>(shape, rows.goal.data());
  out["requested"] = py::array_t<double>(shape, rows.requested.data());
  return out;
}

py::dict quantiles(const rl::Histogram& histogram, double scale) {
  py::dict out;
  out["p50"] = histogram.quantile(0.5) * scale;
  out["p99"] = histogram.quantile(0.99) * scale;
  out["p999"] = histogram.quantile(0.999) * scale;
  out["max"] = static_cast<double>(histogram.max()) * scale;
  return out;
}

py::list state_list(const rl::LoopHouse& house) {
  py::list out;
  const auto events = house.journal().states.events();
  for (const rl::StateEvent& event : events) {
    const double at = static_cast<double>(event.at - events.front().at) * 1e-9;
    out.append(py::make_tuple(rl::to_string(event.state), at, house.reason_text(event.reason, event.joint)));
  }
  return out;
}

/// Each arm with its joints, its state and why.
py::list arm_list(const rl::LoopHouse& house) {
  py::list out;
  const rl::Look look = house.look();
  for (std::size_t arm = 0; arm < look.arms.size(); ++arm) {
    py::list joints;
    for (std::size_t k = 0; k < house.axes(); ++k) {
      if (house.config().planner.axes[k].arm == arm) joints.append(house.joint_name(k));
    }
    const rl::ArmLook& seen = look.arms[arm];
    py::dict one;
    one["joints"] = joints;
    one["state"] = rl::to_string(seen.state);
    one["reason"] = house.reason_text(seen.reason, seen.joint);
    out.append(one);
  }
  return out;
}

py::dict report(LoopHandle& self) {
  rl::LoopHouse& house = *self.house;
  const rl::JournalBoard& journal = house.journal();
  const rl::Tally& tally = house.tally();
  py::dict out;
  out["target_hz"] = house.config().rate_hz;
  out["reached_hz"] = journal.reached_hz();
  out["cycles"] = journal.cycles.load();
  out["active_cycles"] = journal.active_cycles.load();
  out["active_s"] = journal.active_seconds(house.config().rate_hz);
  out["period_error_ms"] = quantiles(journal.period_error, 1e-6);
  out["wake_us"] = quantiles(journal.wake, 1e-3);
  out["read_us"] = quantiles(journal.read, 1e-3);
  out["misses"] = journal.misses.load();
  out["late_reads"] = journal.late_reads.load();
  py::dict missing;
  for (std::size_t k = 0; k < house.axes(); ++k) {
    if (tally.missing[k].load() > 0) missing[py::str(house.joint_name(k))] = tally.missing[k].load();
  }
  out["missing"] = missing;
  out["clamped"] = tally.clamped.load();
  out["warnings"] = house.warnings();
  py::dict rejected;
  for (std::size_t r = 1; r < rl::kRefusals; ++r) {
    const std::uint64_t n = tally.refused[r].load();
    if (n > 0) rejected[rl::to_string(static_cast<rl::Refusal>(r))] = n;
  }
  out["rejected"] = rejected;
  out["starved"] = tally.starved.load();
  out["states"] = state_list(house);
  out["arms"] = arm_list(house);
  out["still_energised"] = house.still_energised();
  out["realtime"] = house.notes();
  out["guardian"] = house.guardian();
  out["second_hand"] = house.second_hand();
  out["exit_code"] = house.ended() ? py::object(py::int_(house.exit_code())) : py::object(py::none());
  return out;
}

void register_config(py::module_& m) {
  py::class_<LoopConfig>(m, "LoopConfig", "Fixed before the loop starts.")
      .def(py::init<>())
      .def_readwrite("rate_hz", &LoopConfig::rate_hz)
      .def_readwrite("source", &LoopConfig::source)
      .def_readwrite("merge", &LoopConfig::merge)
      .def_readwrite("coefficient", &LoopConfig::coefficient)
      .def_readwrite("crossfade", &LoopConfig::crossfade)
      .def_readwrite("interpolation", &LoopConfig::interpolation)
      .def_readwrite("duration_s", &LoopConfig::duration_s)
      .def_readwrite("stop_policy", &LoopConfig::stop_policy)
      .def_readwrite("estop_off", &LoopConfig::estop_off)
      .def_property(
          "rest_pose",
          [](const LoopConfig& c) -> py::object {
            if (!c.rest_pose) return py::none();
            return py::array_t<double>(static_cast<py::ssize_t>(c.rest_pose->size()), c.rest_pose->data());
          },
          [](LoopConfig& c, const std::optional<std::vector<double>>& pose) { c.rest_pose = pose; })
      .def_readwrite("heartbeat_timeout_s", &LoopConfig::heartbeat_timeout_s)
      .def_readwrite("hold_to_rest_s", &LoopConfig::hold_to_rest_s)
      .def_readwrite("soft_start_s", &LoopConfig::soft_start_s)
      .def_readwrite("realtime", &LoopConfig::realtime)
      .def_readwrite("house", &LoopConfig::house)
      .def_readwrite("black_boxes", &LoopConfig::black_boxes);
}

void register_reason(py::module_& m) {
  py::enum_<rl::Reason>(m, "Reason", "Why a state was entered.")
      .value("none", rl::Reason::none)
      .value("armed", rl::Reason::armed)
      .value("source_caught", rl::Reason::source_caught)
      .value("heartbeat_lost", rl::Reason::heartbeat_lost)
      .value("source_dead", rl::Reason::source_dead)
      .value("starved", rl::Reason::starved)
      .value("state_stale", rl::Reason::state_stale)
      .value("overload", rl::Reason::overload)
      .value("overrun", rl::Reason::overrun)
      .value("illegal_setpoints", rl::Reason::illegal_setpoints)
      .value("motor_fault", rl::Reason::motor_fault)
      .value("motor_hot", rl::Reason::motor_hot)
      .value("motor_voltage", rl::Reason::motor_voltage)
      .value("motor_rebooted", rl::Reason::motor_rebooted)
      .value("blocked", rl::Reason::blocked)
      .value("motor_mute", rl::Reason::motor_mute)
      .value("bus_lost", rl::Reason::bus_lost)
      .value("hang_up", rl::Reason::hang_up)
      .value("stop_requested", rl::Reason::stop_requested)
      .value("second_stop", rl::Reason::second_stop)
      .value("duration_over", rl::Reason::duration_over)
      .value("no_rest_pose", rl::Reason::no_rest_pose)
      .value("rest_reached", rl::Reason::rest_reached)
      .value("rest_blocked", rl::Reason::rest_blocked)
      .value("rest_too_long", rl::Reason::rest_too_long)
      .value("estop", rl::Reason::estop)
      .value("resumed", rl::Reason::resumed)
      .value("reset", rl::Reason::reset)
      .value("released", rl::Reason::released)
      .value("guardian_died", rl::Reason::guardian_died)
      .value("unguarded", rl::Reason::unguarded)
      .value("coupled", rl::Reason::coupled);
}

void register_snapshot(py::module_& m) {
  py::class_<Snapshot>(m, "LoopSnapshot", "One consistent look.")
      .def_property_readonly("state", [](const Snapshot& s) { return rl::to_string(s.look.state); })
      .def_readonly("reason", &Snapshot::reason)
      .def_property_readonly("cause", [](const Snapshot& s) { return s.look.reason; })
      .def_property_readonly("causes", &causes, "Of each arm that is in HOLD by itself.")
      .def_property_readonly("cycle", [](const Snapshot& s) { return s.look.cycle; })
      .def_property_readonly("active_cycles", [](const Snapshot& s) { return s.look.active_cycles; })
      .def_property_readonly("values", [](const Snapshot& s) { return vector_of(s, s.look.values); })
      .def_property_readonly("captured", [](const Snapshot& s) { return s.look.captured; })
      .def_property_readonly("age", [](const Snapshot& s) { return vector_of(s, s.look.age); })
      .def_property_readonly("goal", [](const Snapshot& s) { return vector_of(s, s.look.goal); })
      .def_property_readonly("requested", [](const Snapshot& s) { return vector_of(s, s.look.requested); })
      .def_property_readonly("load", [](const Snapshot& s) { return bytes_of(s, s.look.load); })
      .def_property_readonly("temperature", [](const Snapshot& s) { return bytes_of(s, s.look.temperature); })
      .def_readonly("faults", &Snapshot::faults)
      .def_property_readonly("remaining", [](const Snapshot& s) { return s.look.remaining; })
      .def_property_readonly("first_goal", [](const Snapshot& s) { return s.look.first_goal; });
}

}  // namespace

void register_loop(py::module_& m) {
  register_config(m);
  register_reason(m);
  register_snapshot(m);
  py::class_<LoopHandle>(m, "ControlLoop", "The loop in its thread. Owns the buses from start to close.")
      .def(py::init(&make_loop), py::arg("drives"), py::arg("limits"), py::arg("config"),
           py::arg("leaders") = std::vector<Part>{})
      .def("start", &start)
      .def("arm", &arm)
      .def("push_chunk", &push_chunk, py::arg("observed"), py::arg("period"), py::arg("chunk"),
           py::arg("promised") = 0)
      .def("push_setpoint", &push_setpoint, py::arg("values"), py::arg("at"))
      .def("heartbeat", [](LoopHandle& self) { self.house->requests().beat(rl::now_ns()); })
      .def("request_stop", &request_stop, py::arg("policy") = "")
      .def("hold", [](LoopHandle& self) { self.house->requests().hold(); })
      .def("estop", [](LoopHandle& self) { self.house->requests().estop(); })
      .def("resume", [](LoopHandle& self) { self.house->requests().resume(); })
      .def("reset", [](LoopHandle& self) { self.house->requests().reset(); })
      .def("release", [](LoopHandle& self) { self.house->requests().release(); })
      .def("snapshot", &snapshot)
      .def("records", &records, py::arg("since"), py::arg("most") = 1000)
      .def("wait", &wait_for, py::arg("timeout_s"))
      .def("report", &report)
      .def("close", &close_loop);
}
