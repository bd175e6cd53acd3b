#include "rl/usb_ports.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace rl {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestLine = 256;  // of a sysfs attribute; an adapter may call itself anything

/// The first line of a small file, without what a terminal would obey; "" when it cannot be read.
std::string line_of(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  if (line.size() > kLongestLine) line.resize(kLongestLine);
  std::erase_if(line, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

/// The USB device above a tty's interface: the first folder upwards that has a vendor number.
fs::path usb_device(const fs::path& device) {
  std::error_code error;
  fs::path at = fs::canonical(device, error);
  for (int level = 0; level < 6 && !error && at.has_relative_path(); ++level, at = at.parent_path()) {
    if (fs::exists(at / "idVendor", error)) return at;
  }
  return {};
}

std::string by_id_of(const fs::path& node, const DeviceRoots& roots) {
  std::error_code error;
  std::string found;
  const fs::path wanted = fs::weakly_canonical(node, error);
  for (const auto& entry : fs::directory_iterator(fs::path(roots.dev) / "serial" / "by-id", error)) {
    std::error_code broken;
    if (fs::weakly_canonical(entry.path(), broken) != wanted || broken) continue;
    if (found.empty() || entry.path().string() < found) found = entry.path().string();
  }
  return found;
}

void read_latency(const fs::path& device, UsbPort& port) {
  const fs::path file = device / "latency_timer";
  const std::string text = line_of(file);
  int value = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc() || value < 0) return;
  port.latency_ms = value;
  port.latency_file = file.string();
}

UsbPort facts_of(const std::string& name, const DeviceRoots& roots) {
  UsbPort port;
  port.path = (fs::path(roots.dev) / name).string();
  const fs::path device = fs::path(roots.sys) / "class" / "tty" / name / "device";
  const fs::path usb = usb_device(device);
  if (usb.empty()) return port;
  std::error_code error;
  port.by_id = by_id_of(port.path, roots);
  port.serial = line_of(usb / "serial");
  port.vendor = line_of(usb / "idVendor");
  port.product = line_of(usb / "idProduct");
  port.name = line_of(usb / "product");
  port.driver = fs::canonical(device / "driver", error).filename().string();
  read_latency(device, port);
  return port;
}

}  // namespace

std::vector<UsbPort> usb_ports(const DeviceRoots& roots) {
  std::vector<UsbPort> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fs::path(roots.sys) / "class" / "tty", error)) {
    UsbPort port = facts_of(entry.path().filename().string(), roots);
    if (!port.vendor.empty()) out.push_back(std::move(port));
  }
  std::sort(out.begin(), out.end(), [](const UsbPort& a, const UsbPort& b) {
    return a.path.size() != b.path.size() ? a.path.size() < b.path.size() : a.path < b.path;
  });
  return out;
}

UsbPort usb_port(const std::string& path, const DeviceRoots& roots) {
  std::error_code error;
  const fs::path node = fs::weakly_canonical(path, error);
  UsbPort port = facts_of((error ? fs::path(path) : node).filename().string(), roots);
  port.path = path;
  return port;
}

std::string slow_adapter(const UsbPort& port) {
  if (port.latency_ms <= 1) return "";
  return "the adapter holds replies back for " + std::to_string(port.latency_ms) +
         " ms; set its timer with: echo 1 | sudo tee " + port.latency_file;
}

Result<std::string> find_port_by_serial(const std::string& serial, const DeviceRoots& roots) {
  if (serial.empty()) return Error{ErrorCode::usage, "the adapter has no serial number to be found by"};
  std::string found;
  for (const UsbPort& port : usb_ports(roots)) {
    if (port.serial != serial) continue;
    if (!found.empty()) {
      std::string text = "two adapters have the serial number ";
      text.append(serial).append(": ").append(found).append(" and ").append(port.path);
      return Error{ErrorCode::usage, std::move(text)};
    }
    found = port.path;
  }
  if (found.empty()) {
    return Error{ErrorCode::absent, "no adapter with the serial number " + serial + "; check the cable"};
  }
  return found;
}

}  // namespace rl
