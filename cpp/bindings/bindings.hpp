/// The topics of the module. A binding only binds: an `if` about robots belongs to cpp/src.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <span>
#include <string>

#include "rl/error.hpp"
#include "rl/units.hpp"

namespace py = pybind11;

void register_errors(py::module_& m);
void register_protocol(py::module_& m);
void register_units(py::module_& m);
void register_bus(py::module_& m);
void register_setup(py::module_& m);
void register_queue(py::module_& m);
void register_limits(py::module_& m);
void register_loop(py::module_& m);
void register_emulator(py::module_& m);
void register_kinematics(py::module_& m);

/// Contiguous arrays of one type; other input is converted, never reinterpreted.
template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

template <typename T>
std::span<const T> span_of(const Array<T>& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

/// Throws CoreError.
[[noreturn]] void raise(const rl::Error& error);

/// The value, or CoreError.
template <typename T>
T take(rl::Result<T> result) {
  if (!result.ok()) raise(result.error());
  return std::move(result.value());
}

[[nodiscard]] rl::UnitMode unit_mode(const std::string& name);
