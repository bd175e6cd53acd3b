/// A serial line with motors whose ids and rates are not known yet: found, named, measured, never moved.
///
/// Everything here may wait. What it may write is little: torque off, the lock, and stored registers of a
/// motor without torque. There is no call that writes a goal or switches torque on, so nothing can move.
/// REG_WRITE and ACTION are left out for the same reason: an ACTION also carries out what another program had
/// staged.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rl/registers.hpp"
#include "rl/serial_port.hpp"

namespace rl {

/// Rates at which motors are looked for, the usual one first. Codes 5 to 7 of the rate register mean
/// different rates in different tables, so both readings are here; such a code is never written.
[[nodiscard]] std::span<const unsigned> scan_rates() noexcept;
/// The register value for a rate that may be written; -1 when there is none.
[[nodiscard]] int rate_code(unsigned baud) noexcept;

struct FoundMotor {
  unsigned baud = 0;
  int id = -1;
  int model = 0;
  std::string_view model_name;  ///< "" for one that no table knows
  int firmware = 0;             ///< major * 100 + minor
  bool several = false;         ///< two or more motors answer under this id
};

/// A register that should hold a value, and what happened to it.
struct StoredValue {
  int id = -1;
  std::string name;
  int value = 0;
  int before = 0;
  bool written = false;  ///< false: it held the value already
};

struct RawPosition {
  int id = -1;
  int steps = 0;
  std::int64_t captured = 0;  ///< ns; 0: no answer
};

class SetupBus {
 public:
  /// usage error for a model that has no table. `names` are what errors call the ids. Opens nothing.
  static Result<SetupBus> make(std::string port, std::string_view model, std::map<int, std::string> names);

  /// Also finds out whether the adapter echoes. Errors: absent, permission, busy, io.
  Result<> open(unsigned baud);
  void close() noexcept { line_.close(); }
  [[nodiscard]] bool is_open() const noexcept { return line_.is_open(); }
  [[nodiscard]] unsigned baud() const noexcept { return baud_; }
  [[nodiscard]] const std::string& port() const noexcept { return port_; }
  [[nodiscard]] bool echoes() const noexcept { return echo_; }
  /// Why the adapter has no low-latency mode; "" when it has.
  [[nodiscard]] const std::string& latency_note() const noexcept { return latency_note_; }

  /// Every motor that answers at the rate of the open line. A second, two where there are motors; longer
  /// where ids must be asked one by one.
  Result<std::vector<FoundMotor>> scan();
  /// The motor of one id; nothing when none answers.
  Result<std::optional<FoundMotor>> look(int id);

  Result<int> read(int id, std::string_view name);
  /// Present positions, steps after the offset: one request for all where the model can.
  Result<std::vector<RawPosition>> positions(std::span<const int> ids);

  /// Torque off, one after another, then all at once, read back. Returns the ids that still hold.
  Result<std::vector<int>> relax(std::span<const int> ids);
  /// Brings stored registers to the values: reads all, refuses while a motor has torque, then writes only
  /// what differs and reads it back. A failure puts back what this call had changed. Locks are closed in any
  /// case.
  Result<std::vector<StoredValue>> store(std::vector<StoredValue> wanted);
  /// Gives the one motor `from` another id and the rate `baud`; the line is open at that rate afterwards.
  Result<std::vector<StoredValue>> readdress(int from, int to, unsigned baud);
  /// Restarts a motor without torque; waits until it answers again, without torque.
  Result<> reboot(int id);
  /// Factory values for a motor without torque (RECOVERY). Returns the id under which it answers then.
  Result<int> restore_factory(int id);

 private:
  Result<> store_motor(std::span<StoredValue> own);
  void read_together(Bytes wire, const std::function<void(std::uint8_t, Bytes)>& take);
  SetupBus(std::string port, const Model* model, std::map<int, std::string> names)
      : port_(std::move(port)), model_(model), names_(std::move(names)) {}

  /// What came back after one request: packets that fit, and whether there was anything else.
  struct Heard {
    std::size_t packets = 0;
    bool disturbed = false;
    std::vector<std::uint8_t> data;  ///< of the first packet
    std::uint8_t status = 0;
  };

  [[nodiscard]] std::string called(int id) const;
  [[nodiscard]] Error silent(int id) const;
  [[nodiscard]] Error lost() const;
  [[nodiscard]] std::int64_t wire_time(std::size_t bytes) const noexcept;
  bool send(const Request& request);
  void collect(std::int64_t end, std::size_t enough);
  [[nodiscard]] Heard sort(std::uint8_t id, std::size_t length, std::size_t sent);
  Heard ask(const Request& request, std::uint8_t id, std::size_t length, std::int64_t patience, bool linger);
  void settle();
  std::optional<std::vector<std::uint8_t>> fetch(int id, std::uint8_t address, std::size_t count);
  bool put(int id, std::uint8_t address, std::span<const std::uint8_t> data);
  std::optional<int> get_value(int id, const Register& reg);
  bool set_value(int id, const Register& reg, int value);
  bool lock(int id, bool closed);
  void broadcast_ping(std::array<int, 256>& count, bool& disturbed);
  void ping_each(std::array<int, 256>& count);
  Result<> check_wanted(const std::vector<StoredValue>& wanted) const;
  Result<> read_before(std::vector<StoredValue>& wanted);
  Result<> write_one(StoredValue& wanted);
  void put_back(std::span<StoredValue> wanted);
  Result<> must_be_limp(int id);
  Result<> readdress_locked(int from, int to, unsigned baud, std::vector<StoredValue>& changes);

  std::string port_;
  const Model* model_ = nullptr;
  std::map<int, std::string> names_;
  SerialPort line_;
  std::string latency_note_;
  unsigned baud_ = 0;
  bool echo_ = false;
  bool lost_ = false;
  std::int64_t quiet_from_ = 0;  ///< until then a late reply may still come
  std::vector<std::uint8_t> sent_;
  std::vector<std::uint8_t> heard_;
};

}  // namespace rl
