#include "bindings.hpp"
#include "rl/clock.hpp"

namespace {

PyObject* core_error = nullptr;  // the module keeps it alive

}  // namespace

void raise(const rl::Error& error) {
  const py::object made = py::reinterpret_borrow<py::object>(core_error)(error.text);
  made.attr("code") = rl::to_string(error.code);
  PyErr_SetObject(core_error, made.ptr());
  throw py::error_already_set();
}

void register_errors(py::module_& m) {
  core_error = PyErr_NewExceptionWithDoc(
      "rl._core.CoreError", "What is wrong, where, what to do; `code` names the kind.", nullptr, nullptr);
  m.attr("CoreError") = py::reinterpret_borrow<py::object>(core_error);
  m.attr("CoreError").attr("code") = "";
  m.def("monotonic_ns", &rl::now_ns, "The clock of every time in this module.");
}
