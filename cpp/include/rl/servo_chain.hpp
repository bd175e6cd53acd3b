/// One chain of Feetech servos on one serial line: everything that is said to them is said here.
///
/// Two ways of talking. Set-up calls wait, try again and read back. The cycle (`begin_cycle`, `pump`,
/// `expire`) never waits: the loop polls the descriptors of all chains and tells each chain when bytes or its
/// time came.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "rl/clock.hpp"
#include "rl/health.hpp"
#include "rl/registers.hpp"
#include "rl/reply_reader.hpp"
#include "rl/serial_port.hpp"
#include "rl/trouble.hpp"
#include "rl/units.hpp"

namespace rl {

constexpr std::size_t kMostJoints = 64;
constexpr std::int64_t kMotorDelay = 60 * kMicrosecond;  ///< least time between two motors' replies

/// The last thing known of a joint. `captured` 0: never heard of.
struct JointState {
  int raw = 0;
  double value = 0;
  std::int64_t captured = 0;
  std::uint8_t alarms = 0;
  bool fresh = false;            ///< answered in the latest cycle
  bool skipped = false;          ///< the latest cycle had no room to ask it
  std::uint8_t load = 0;         ///< % of the full duty
  std::uint8_t temperature = 0;  ///< deg C; 0: not known
  std::uint8_t voltage = 0;      ///< 0.1 V; 0: not known
  bool rebooted = false;         ///< found in this cycle without the torque that it had
};

struct ChainConfig {
  std::string port;
  std::string model = "sts3215";
  std::vector<JointCalibration> joints;
  unsigned baud = 1'000'000;
  bool energise = true;
};

/// What the identity and state registers of one motor say.
struct MotorFacts {
  int model = 0;
  int firmware = 0;  ///< major * 100 + minor
  int min_position = 0;
  int max_position = 0;
  int max_torque = 1000;
  int phase = 0;
  int homing_offset = 0;
  int mode = 0;
  int torque = 0;
  int torque_limit = 0;
  int lock = 1;
  int position = 0;
  int voltage = 0;  ///< 0.1 V
  int temperature = 0;
  int status = 0;
};

class ServoChain {
 public:
  /// usage error when the model is unknown or the joints are contradictory. Opens nothing.
  static Result<ServoChain> make(ChainConfig config);

  Result<> open();
  void adopt(SerialPort port) { port_ = std::move(port); }
  /// The line of another chain of the same motors, opened elsewhere; that one keeps what is not needed any
  /// more.
  void take_over(ServoChain& fresh) noexcept;
  /// Where it is to be opened from now on.
  void move_to(std::string port) { config_.port = std::move(port); }
  void close() noexcept { port_.close(); }
  /// Where each set-up call says until when it may be silent, ns: for who watches the loop. nullptr: nowhere.
  void say_busy(std::atomic<std::int64_t>* until) noexcept { busy_until_ = until; }
  [[nodiscard]] bool is_open() const noexcept { return port_.is_open(); }

  [[nodiscard]] const ChainConfig& config() const noexcept { return config_; }
  [[nodiscard]] std::size_t size() const noexcept { return config_.joints.size(); }
  [[nodiscard]] std::span<const JointState> joints() const noexcept { return {states_.data(), size()}; }
  [[nodiscard]] Place place(int joint) const noexcept;
  [[nodiscard]] Error tell(const Trouble& trouble) const { return describe(trouble, place(trouble.joint)); }

  // --- set-up: may wait

  /// Finds out whether the adapter echoes and how long an answer takes. Changes nothing in the servos.
  void probe() noexcept;
  /// Model number by READ (a PING's echo is a valid answer, a READ's is not); -1 when nothing answers.
  [[nodiscard]] int ping(std::uint8_t id) noexcept;
  Result<int> read_register(std::uint8_t id, std::string_view name) noexcept;
  /// Every motor answers, is the right model, holds the calibration, stands in its range. Warnings in
  /// `notes`.
  [[nodiscard]] Trouble check(std::vector<Trouble>& notes);
  /// Writes only what differs, reads back; nothing before every motor was seen to be the right model.
  /// Returns the number of writes.
  Result<int> configure();
  /// One blocking read of all positions: true when every joint answered.
  bool read_now(std::int64_t timeout) noexcept;

  /// One motor: torque limit low, goal = measured, torque on, read back. `stamp` gets the time directly
  /// before the goal left, when it is 0. A motor that had torque already keeps its torque limit; `found` says
  /// whether there was one, and whether one had none.
  struct Found {
    bool on = false;
    bool off = false;
  };
  [[nodiscard]] Trouble energise(std::size_t joint, std::int64_t& stamp, Found& found) noexcept;
  /// The whole configured torque limit at once, half of it where `derated`, and no ramp from here on. After
  /// `recognise`, which reads the limits. Nobody acknowledges it, so it is said three times.
  void raise_torque(std::uint64_t derated) noexcept {
    found_limits_ = torque_limits_;
    for (int turn = 0; turn < 3; ++turn) static_cast<void>(write_torque_limits(1, derated));
  }
  /// Identity, calibration, range, status, temperature of every motor, as `check`, without warnings.
  [[nodiscard]] Trouble check_quick() noexcept { return judge_all(false); }
  /// Whether these are the motors of this configuration, by model and calibration, whatever state they are
  /// in.
  [[nodiscard]] Trouble recognise() noexcept { return judge_all(true); }
  /// Torque off to all of them in one packet that nobody acknowledges.
  void drop() noexcept;
  /// Gripper last, three tries each, goes on past a failing motor, then all at once, then reads back; lock
  /// closed. Bit j: joint j is still energised (or does not say).
  [[nodiscard]] std::uint64_t release() noexcept;
  /// Torque off where it is found on: what a leader must be.
  [[nodiscard]] std::uint64_t relax() noexcept;

  // --- the cycle: never waits

  /// Goals in units, one a joint; bit j of `withheld`: not to joint j. `again` or `lost` when the line did
  /// not take them.
  IoStatus write_goals(std::span<const double> values, std::uint64_t withheld = 0) noexcept;
  /// Torque off for these joints, bit j each, without waiting. Said again and again until `limp` has them.
  void let_go(std::uint64_t joints) noexcept;
  /// Bit j: joint j was let go and says that it has no torque.
  [[nodiscard]] std::uint64_t limp() const noexcept { return limp_; }
  /// Torque limit of every joint that was switched on here, as a part of its configured limit; the others
  /// keep theirs. Bit j of `derated`: half of it.
  IoStatus write_torque_limits(double part, std::uint64_t derated = 0) noexcept;
  void begin_cycle(std::int64_t now, std::int64_t budget_end) noexcept;
  [[nodiscard]] bool active() const noexcept { return active_; }
  [[nodiscard]] std::int64_t wait_until() const noexcept { return request_end_; }
  [[nodiscard]] int descriptor() const noexcept { return port_.descriptor(); }
  void pump(std::int64_t now) noexcept;
  void expire(std::int64_t now) noexcept;
  [[nodiscard]] bool lost() const noexcept { return lost_; }
  void hang_up() noexcept {
    lost_ = true;
    active_ = false;
  }
  /// Why the adapter has no low-latency mode; "" when it has.
  [[nodiscard]] const std::string& latency_note() const noexcept { return latency_note_; }
  [[nodiscard]] bool echoes() const noexcept { return echo_; }
  [[nodiscard]] std::int64_t allowance() const noexcept;
  /// Beyond the wire's own time, the median, ns.
  [[nodiscard]] std::int64_t turnaround() const noexcept { return turnaround_; }
  /// How many motors a cycle can ask whose replies have to be there `budget` ns after its deadline: 0 to all.
  [[nodiscard]] std::size_t room_in(std::int64_t budget) const noexcept;
  /// How old a position becomes at most while nothing is lost, ns; INT64_MAX: no reply is there in time.
  [[nodiscard]] std::int64_t oldest_at(std::int64_t period, std::int64_t budget) const noexcept;

 private:
  /// When the request for each length was given up, ns; 0: never. A late reply could still carry that length
  /// (there is no sequence number).
  using Bars = std::array<std::int64_t, kMostReplyBytes + 1>;
  /// What the request under way asks for.
  enum class Question : std::uint8_t { position, block, torque };

  explicit ServoChain(ChainConfig config, const Model* model);

  [[nodiscard]] std::uint8_t id_of(std::size_t joint) const noexcept {
    return static_cast<std::uint8_t>(config_.joints[joint].id);
  }
  [[nodiscard]] std::int64_t wire_time(std::size_t bytes) const noexcept;
  [[nodiscard]] std::size_t free_length(Bytes ids, std::size_t smallest, std::int64_t now) const noexcept;
  [[nodiscard]] bool barred(std::size_t joint, std::size_t length, std::int64_t now) const noexcept;
  void bar(std::uint8_t id, std::size_t length, std::int64_t now) noexcept;
  void overhear(std::int64_t now) noexcept;
  void hail(std::int64_t now) noexcept;

  // set-up
  /// Each single wait is announced by itself, so that whoever watches takes a stopped process for one soon.
  void wait_at_most(std::int64_t end) noexcept {
    if (busy_until_ != nullptr) busy_until_->store(end, std::memory_order_release);
  }
  bool send(const Request& request, Bytes ids, std::size_t length, EchoMode echo, bool owed = false) noexcept;
  bool exchange(const Request& request, Bytes ids, std::size_t length, std::int64_t timeout,
                bool owed = false) noexcept;
  bool read_bytes(std::uint8_t id, std::uint8_t address, std::span<std::uint8_t> out, int tries = 3) noexcept;
  bool write_bytes(std::uint8_t id, std::uint8_t address, Bytes data, std::int64_t timeout) noexcept;
  bool read_value(std::uint8_t id, const Register& reg, int& value) noexcept;
  bool write_value(std::uint8_t id, const Register& reg, int value) noexcept;
  bool read_facts(std::size_t joint, MotorFacts& facts) noexcept;
  [[nodiscard]] Trouble judge(std::size_t joint, const MotorFacts& facts) const noexcept;
  [[nodiscard]] Trouble judge_all(bool identity) noexcept;
  [[nodiscard]] static Trouble judge_supply(std::span<const int> voltages) noexcept;
  void note(std::size_t joint, const MotorFacts& facts, const MotorFacts& first,
            std::vector<Trouble>& notes) const;
  [[nodiscard]] Trouble switch_on(std::size_t joint, std::int64_t& stamp, Found& found) noexcept;
  bool read_scs_facts(std::uint8_t id, MotorFacts& facts) noexcept;
  [[nodiscard]] Trouble identify(std::size_t joint) noexcept;
  Result<int> configure_joint(std::size_t joint);
  struct Wanted {
    const Register* reg = nullptr;
    int value = 0;
  };
  [[nodiscard]] std::vector<Wanted> wanted(std::size_t joint) const;
  int write_wanted(std::size_t joint, std::span<const Wanted> differing, Trouble& trouble);
  [[nodiscard]] Request words_request(std::span<const int> raws, std::uint8_t address, unsigned sign_bit,
                                      std::uint64_t withheld) const noexcept;

  // the cycle
  void ask(Bytes ids, bool sync, std::int64_t now) noexcept;
  [[nodiscard]] bool nobody_answered() const noexcept;
  void settle(std::int64_t now) noexcept;
  void next(std::int64_t now) noexcept;
  [[nodiscard]] bool ask_one(Question question, std::uint8_t id, std::size_t bytes,
                             std::int64_t now) noexcept;
  void look_at_block(std::int64_t now) noexcept;
  void look_at_torque(std::int64_t now) noexcept;
  void take_position(const Reply& reply, std::int64_t now) noexcept;
  void take_block(const Reply& reply) noexcept;
  void take_torque(const Reply& reply) noexcept;
  [[nodiscard]] bool block_fits(std::int64_t now) const noexcept;
  void probe_together() noexcept;
  [[nodiscard]] std::size_t room_for_answers(std::int64_t time) const noexcept;
  [[nodiscard]] std::size_t choose(std::size_t count, bool in_turn, std::span<std::uint8_t> ids) noexcept;
  [[nodiscard]] std::int64_t group_time(std::size_t count, std::size_t bytes) const noexcept;
  [[nodiscard]] std::int64_t single_time(std::size_t bytes) const noexcept;
  [[nodiscard]] bool silent_due(std::size_t joint, std::int64_t now) const noexcept;
  [[nodiscard]] bool torque_due(std::int64_t now) const noexcept;
  [[nodiscard]] bool block_due(std::int64_t now) const noexcept;
  [[nodiscard]] bool something_due(std::int64_t now) const noexcept;
  void pass_over() noexcept;
  void learn_turnaround(std::int64_t now) noexcept;
  void learn_margin(bool in_time) noexcept;
  [[nodiscard]] bool last_answered() const noexcept;
  void expect_rest(std::int64_t now) noexcept;
  void occupy_wire(std::size_t bytes) noexcept;
  [[nodiscard]] std::size_t joint_of(std::uint8_t id) const noexcept;

  ChainConfig config_;
  const Model* model_ = nullptr;
  SerialPort port_;
  std::string latency_note_;
  ReplyReader reader_;
  std::array<std::uint8_t, kMostIds> ids_{};
  std::array<JointState, kMostJoints> states_{};
  std::array<Bars, kMostJoints> bars_{};
  std::int64_t heard_ = 0;  ///< when any motor last answered, ns
  std::size_t hailed_ = 0;
  std::int64_t hailed_at_ = 0;
  std::array<std::uint8_t, kMostJoints> misses_{};
  std::array<int, kMostJoints> torque_limits_{};
  std::array<int, kMostJoints> found_limits_{};  ///< of a motor taken over; negative: it was switched on here
  std::atomic<std::int64_t>* busy_until_ = nullptr;
  bool echo_ = false;
  bool lost_ = false;
  std::int64_t turnaround_ = 0;                               ///< median of what the adapter takes, ns
  std::int64_t deviation_ = kMillisecond + kMillisecond / 4;  ///< median of how far from that it is
  std::int64_t margin_ = kMillisecond / 10;  ///< left of the budget behind the answers of several motors, ns
  int strays_ = 0;  ///< cycles in a row that took far longer than that, or, negative, far shorter
  std::int64_t motor_delay_ = kMotorDelay;  ///< of a motor's reply behind the one before it, ns

  bool active_ = false;
  std::int64_t request_end_ = 0;
  std::int64_t asked_at_ = 0;
  std::int64_t budget_begin_ = 0;
  std::int64_t budget_end_ = 0;
  std::int64_t begun_before_ = 0;               ///< when the cycle before this one began
  std::int64_t wire_free_ = 0;                  ///< when what nobody answers has left the adapter
  bool alone_ = false;                          ///< this cycle asks for no positions
  bool block_first_ = false;                    ///< in the latest such cycle
  std::size_t turn_ = 0;                        ///< who is asked first where a cycle has no room for all
  std::array<std::uint8_t, kMostIds> queue_{};  ///< ids to be asked singly in this cycle
  std::size_t queue_size_ = 0;
  std::size_t queue_next_ = 0;
  std::size_t first_tries_ = 0;  ///< of the queue: asked for the first time in this cycle
  std::size_t silent_turn_ = 0;  ///< where this cycle begins among them
  std::array<std::int64_t, kMostJoints> silent_asked_{};  ///< when a silent motor was last asked, ns
  std::int64_t block_at_ = 0;  ///< when load, voltage and temperature were last asked for
  std::int64_t block_single_at_ = 0;
  std::size_t block_turn_ = 0;  ///< whose come next, where they are asked for singly
  std::uint64_t doubtful_ = 0;  ///< bit j: joint j missed a cycle and has not answered since
  std::uint64_t returned_ = 0;  ///< bit j: joint j answered again; its torque is to be looked at
  std::int64_t torque_at_ = 0;  ///< when a torque register was last asked for
  std::size_t torque_turn_ = 0;
  std::uint64_t energised_ = 0;   ///< bit j: joint j, by `energise`, until `release`
  std::uint64_t going_limp_ = 0;  ///< bit j: `let_go` was asked for
  std::uint64_t limp_ = 0;
  Question asks_ = Question::position;
};

}  // namespace rl
