/// What the system knows of the serial ports of a machine: read from sysfs, nothing is opened.
///
/// An adapter that was unplugged comes back under another number (ttyACM0, ttyACM1); its USB serial number
/// stays.
#pragma once

#include <string>
#include <vector>

#include "rl/error.hpp"

namespace rl {

struct UsbPort {
  std::string path;          ///< /dev/ttyACM0
  std::string by_id;         ///< stable name under /dev/serial/by-id; "" when udev made none
  std::string serial;        ///< USB serial number; "" when the adapter has none
  std::string vendor;        ///< four hex digits
  std::string product;       ///< four hex digits
  std::string name;          ///< what the adapter calls itself
  std::string driver;        ///< kernel driver: cdc_acm, ftdi_sio, ch341-uart
  int latency_ms = -1;       ///< FTDI's latency timer; -1: the adapter has none
  std::string latency_file;  ///< where it is set
};

/// Where the kernel and udev tell about devices; other folders in tests.
struct DeviceRoots {
  std::string sys = "/sys";
  std::string dev = "/dev";
};

/// All serial ports of USB adapters, by path.
[[nodiscard]] std::vector<UsbPort> usb_ports(const DeviceRoots& roots = {});

/// One of them; every field but `path` is "" when the system knows nothing (a pseudo-terminal). Follows
/// links.
[[nodiscard]] UsbPort usb_port(const std::string& path, const DeviceRoots& roots = {});

/// What a slow latency timer of the adapter does, and the command that sets it; "" when there is none or it
/// is set.
[[nodiscard]] std::string slow_adapter(const UsbPort& port);

/// The path that the adapter with this serial number has now. Errors: absent when there is none; usage when
/// the number is empty or several adapters share it.
[[nodiscard]] Result<std::string> find_port_by_serial(const std::string& serial,
                                                      const DeviceRoots& roots = {});

}  // namespace rl
