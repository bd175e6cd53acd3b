#include "rl/black_box.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <system_error>

namespace rl {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::size_t kHead = 10;  // words of a record before those of its axes

constexpr std::int64_t kYear2025 =
    1'735'689'600;  // s since 1970: older than this program is no date of today

constexpr std::array<std::uint32_t, 256> kCrcOfByte = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? 0xEDB88320U ^ (crc >> 1U) : crc >> 1U;
    table[byte] = crc;
  }
  return table;
}();

/// A file with the CRC-32 (zlib's) of what it holds.
struct BoxFile {
  int file;
  std::uint32_t crc = 0;

  void add(const char* from, std::size_t bytes) noexcept {
    crc = ~crc;
    for (std::size_t i = 0; i < bytes; ++i)
      crc = kCrcOfByte[(crc ^ static_cast<std::uint8_t>(from[i])) & 0xFFU] ^ (crc >> 8U);
    crc = ~crc;
  }
};

bool write_all(BoxFile& box, const void* from, std::size_t bytes) noexcept {
  const auto* at = static_cast<const char*>(from);
  box.add(at, bytes);
  while (bytes > 0) {
    const ssize_t written = ::write(box.file, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
    bytes -= static_cast<std::size_t>(written);
  }
  return true;
}

template <typename... Values>
bool write_line(BoxFile& file, const char* format, Values... values) noexcept {
  std::array<char, 512> line{};
  const int size = std::snprintf(line.data(), line.size(), format, values...);
  return size > 0 && std::cmp_less(size, line.size()) &&
         write_all(file, line.data(), static_cast<std::size_t>(size));
}

bool write_names(BoxFile& file, const SessionPlan& plan) noexcept {
  std::array<Text<64>, kMostAxes> names{};
  for (const ChainPlan& chain : plan.chains) {
    if (chain.leader) continue;
    for (std::size_t i = 0; i < chain.joints.size() && chain.begin + i < names.size(); ++i)
      names[chain.begin + i] = chain.joints[i].name;
  }
  bool good = true;
  for (std::size_t k = 0; k < plan.house.planner.axes.size(); ++k) {
    const std::string_view name = names[k].view();
    good = good && write_line(file, "axis %.*s\n", static_cast<int>(name.size()), name.data());
  }
  return good;
}

bool write_records(BoxFile& file, const RecordRing& ring, std::size_t axes, std::uint64_t first,
                   std::uint64_t end) noexcept {
  CycleRecord r;
  AxisVector values{};
  AxisVector goal{};
  AxisVector requested{};
  for (std::uint64_t i = first; i < end; ++i) {
    if (!ring.copy(i, r, {values.data(), axes}, {goal.data(), axes}, {requested.data(), axes})) return false;
    const std::array<std::int64_t, kHead> head = {r.cycle,
                                                  r.deadline,
                                                  r.woke,
                                                  r.wrote,
                                                  r.read,
                                                  r.done,
                                                  r.captured,
                                                  static_cast<std::int64_t>(r.missing),
                                                  static_cast<std::int64_t>(r.skipped),
                                                  static_cast<std::int64_t>(r.state)};
    bool good = write_all(file, head.data(), sizeof head);
    for (const AxisVector* part : {&values, &goal, &requested})
      good = good && write_all(file, part->data(), axes * sizeof(double));
    if (!good) return false;
  }
  return true;
}

bool write_box(BoxFile file, const SharedLoop& shared, const RecordRing& records) noexcept {
  const HouseConfig& house = shared.plan.house;
  const std::size_t axes = house.planner.axes.size();
  const std::uint64_t head = records.head();
  const std::uint64_t first = head > kBoxRecords ? head - kBoxRecords : 0;
  const auto events = shared.journal.states.events();
  bool good = write_line(file, "rl black box 3\nrate %.6g\naxes %zu\n", house.rate_hz, axes) &&
              write_names(file, shared.plan);
  for (const StateEvent& event : events.last(std::min<std::size_t>(events.size(), 20))) {
    good = good && write_line(file, "event %lld %s %d %s\n", static_cast<long long>(event.at),
                              to_string(event.state), event.joint, to_string(event.reason));
  }
  good = good && write_line(file, "words %zu\nrecords %llu\n\n", kHead + 3 * axes,
                            static_cast<unsigned long long>(head - first));
  good = good && write_records(file, records, axes, first, head);
  const std::uint64_t crc = file.crc;
  return good && write_all(file, &crc, sizeof crc) && ::fsync(file.file) == 0;
}

}  // namespace

Result<> make_ready(const std::string& folder, std::int64_t wall_clock) {
  if (wall_clock < kYear2025)
    return Error{ErrorCode::io,
                 "the clock of this machine has never been set; set it: sudo timedatectl set-time"};
  std::error_code refused;
  std::filesystem::create_directories(folder, refused);
  if (!refused && ::access(folder.c_str(), W_OK | X_OK) != 0) refused = {errno, std::generic_category()};
  if (!refused) return Done{};
  return Error{ErrorCode::io, "no black box can be written into " + folder + ": " + refused.message() +
                                  "; set XDG_STATE_HOME to a folder of yours"};
}

bool write_black_box(std::string_view folder, const SharedLoop& shared, const RecordRing& records,
                     Text<1024>& path) noexcept {
  std::array<char, 900> name{};
  std::array<char, 960> aside{};
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> stamp{};
  std::strftime(stamp.data(), stamp.size(), "%Y%m%dT%H%M%SZ", &parts);
  const int size =
      std::snprintf(name.data(), name.size(), "%.*s/%s-%d-%zu.blackbox", static_cast<int>(folder.size()),
                    folder.data(), stamp.data(), ::getpid(), shared.journal.states.events().size());
  if (size <= 0 || std::cmp_greater_equal(size, name.size())) return false;
  std::snprintf(aside.data(), aside.size(), "%s.partial", name.data());
  const int file = ::open(aside.data(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file < 0) return false;
  const bool good = write_box({file}, shared, records);
  ::close(file);
  if (!good || ::rename(aside.data(), name.data()) != 0) {
    ::unlink(aside.data());
    return false;
  }
  path = std::string_view(name.data(), static_cast<std::size_t>(size));
  return true;
}

}  // namespace rl
