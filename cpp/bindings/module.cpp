#include "bindings.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The real-time core of rl. Arrays are in robot units; times are monotonic ns.";
  register_errors(m);
  register_protocol(m);
  register_units(m);
  register_bus(m);
  register_setup(m);
  register_queue(m);
  register_limits(m);
  register_loop(m);
  register_emulator(m);
  register_kinematics(m);
}
