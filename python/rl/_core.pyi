"""The real-time core. Arrays are in robot units (float64 in, float32 or float64 out as said); times are monotonic ns.

Nothing here moves an arm except `ControlLoop`: a `ServoBus` is a handle that can look (ping, read, check) but has no
call that writes a goal or a torque.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["degrees", "range_m100_100", "range_0_100"]

class CoreError(Exception):
    """`code` is one of: absent, permission, busy, io, motor-missing, wrong-model, calibration, timeout, usage, lost.

    `str()` is one line: what is wrong, where (port, joint, id), what to do.
    """

    code: str

def monotonic_ns() -> int: ...

# --- protocol, pure

class ParseKind:
    NEED_MORE: ParseKind
    NOISE: ParseKind
    CORRUPT: ParseKind
    PACKET: ParseKind

def parse_packet(data: bytes) -> tuple[ParseKind, int]: ...
def encode_request(instruction: str, **fields: Any) -> bytes:
    """instruction: ping | read | write | reg_write | action | sync_read | sync_write | reboot | recovery.
    fields as in the golden frames (id, address, data, ids, count, protocol=0|1). data: bytes, or for sync_write a list
    of bytes; instead of it value or values with size (1 or 2) become words in the protocol's byte order."""

def decode_stream(rx: bytes, tx: bytes, expect: dict[str, Any], pieces: Sequence[int] = ()) -> dict[str, Any]:
    """What one request's reply stream means, fed whole or in `pieces` (byte counts): the rule set of the bus reader.
    Returns values/status/missing/echo, or error ("no valid reply" | "timeout")."""

def sign_magnitude_encode(value: int, sign_bit: int) -> int: ...
def sign_magnitude_decode(word: int, sign_bit: int) -> int: ...

# --- units

class JointCalibration:
    def __init__(
        self, name: str, id: int, drive_mode: int, homing_offset: int, range_min: int, range_max: int, mode: Mode
    ) -> None: ...
    name: str
    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int
    mode: Mode
    def to_unit(self, raw: int) -> float: ...
    def to_raw(self, unit: float) -> int:
        """ValueError when the value is not finite."""

# --- bus

class ServoBus:
    """A handle to one chain of servos. The descriptor belongs to the house of the loop."""

    def __init__(
        self, port: str, model: str, joints: Sequence[JointCalibration], *, baud: int = 1_000_000, energise: bool = True
    ) -> None:
        """energise False: a leader, whose torque is never switched on. Opens nothing."""
    port: str
    def open(self) -> None:
        """Exclusive. CoreError: absent, permission (names the group), busy, io."""
    def check(self) -> list[str]:
        """Every motor answers, has the right model, its registers hold the calibration, stands inside its range,
        mode 0. Raises CoreError naming joint and id; returns warnings. Writes nothing."""
    def configure(self) -> int:
        """Brings registers (calibration, PID, return delay ...) to what the joints say; reads, compares, writes
        only what differs, reads back. Returns the number of writes."""
    def ping(self, id: int) -> int | None:
        """Model number, or None when nothing answers."""
    def read_register(self, id: int, name: str) -> int: ...
    def read(self) -> tuple[NDArray[np.float64], int, NDArray[np.float64], list[str]]:
        """values (n,) in units, capture time ns, age (n,) s, faults. Raises once a loop drives the bus."""
    def close(self) -> None: ...
    closed: bool

# --- set-up: motors whose ids and rates are not known yet

SCAN_RATES: tuple[int, ...]  # baud, the usual one first

class SetupBus:
    """Finds motors, names them, reads where they stand. It writes torque off, the lock, and stored registers of
    motors without torque, and nothing else: it cannot move or energise anything. `names`: what errors call the ids."""

    def __init__(self, port: str, model: str, names: dict[int, str] = ...) -> None: ...
    port: str
    baud: int
    closed: bool
    echoes: bool
    latency_note: str  # why the adapter has no low-latency mode; "" when it has
    def open(self, baud: int = 1_000_000) -> None:
        """Exclusive. CoreError: absent, permission (names the group), busy, io."""
    def scan(self) -> list[dict[str, Any]]:
        """Every motor that answers at this rate, in order of ids: {id, baud, model, model_name ('' when no table
        knows it), firmware (major * 100 + minor), several (two or more motors share the id)}. About a second."""
    def look(self, id: int) -> dict[str, Any] | None:
        """The same of one id; None when nothing answers."""
    def read(self, id: int, name: str) -> int: ...
    def positions(self, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """id -> (steps after the offset, capture time ns); ids that did not answer are left out."""
    def relax(self, ids: Sequence[int]) -> list[int]:
        """Torque off. The ids that still hold, or do not say."""
    def store(self, values: Sequence[tuple[int, str, int]]) -> list[tuple[int, str, int, int, bool]]:
        """(id, register, value): reads all, refuses while a motor that differs has torque, writes only what differs,
        reads back. Returns (id, register, before, value, written). What fails is put back; locks end closed."""
    def readdress(self, from_id: int, to_id: int, baud: int = 1_000_000) -> list[tuple[int, str, int, int, bool]]:
        """Gives the one motor `from_id` another id and rate; returns what `store` does. Open at `baud` afterwards."""
    def reboot(self, id: int) -> None: ...
    def restore_factory(self, id: int) -> int:
        """Factory values for a motor without torque; the id under which it answers then."""
    def close(self) -> None: ...

def usb_ports(*, sys: str = "/sys", dev: str = "/dev") -> list[dict[str, Any]]:
    """Serial ports of USB adapters: {path, by_id, serial, vendor, product, name, driver, latency_ms (-1: no timer),
    latency_file, slow ('' or what its timer does and how to set it)}. Opens nothing."""

def usb_port(path: str, *, sys: str = "/sys", dev: str = "/dev") -> dict[str, Any]: ...
def find_port_by_serial(serial: str, *, sys: str = "/sys", dev: str = "/dev") -> str:
    """The path that the adapter has now. CoreError: absent; usage for '' and for a number that two adapters have."""

def register_table(model: str) -> list[tuple[str, int, int, int | None, bool]]:
    """(name, address, bytes, sign bit, writable) of every register. ValueError for a model that is not there."""

# --- queue and blending, pure parts

class TemporalEnsembler:
    """ACT's weighted mean over overlapping chunks (arXiv 2304.13705); float32, as the golden folder pins it."""

    def __init__(self, chunk: int, coefficient: float) -> None: ...
    def reset(self) -> None: ...
    def update(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        """chunk (T, A); returns the action (A,) of this step."""

def merge_aggregate(
    queue_steps: NDArray[np.int64],
    queue_times: NDArray[np.float64],
    queue_actions: NDArray[np.float32],
    new_steps: NDArray[np.int64],
    new_times: NDArray[np.float64],
    new_actions: NDArray[np.float32],
    latest: int,
    function: str,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
    """The rival's merge, kept for comparison: the incoming list replaces the queue."""

class ActionQueue:
    """The live queue, alone (tests, offline checks). Times are ns. `ControlLoop` has the same one inside."""

    def __init__(
        self,
        width: int,
        merge: str = "replace",
        coefficient: float = 0.01,
        crossfade: int = 0,
        interpolation: Literal["linear", "cubic", "critically_damped"] = "linear",  # the last: linear here
    ) -> None:
        """merge: replace | ensemble | crossfade | weighted_average | latest_only | average | conservative | append |
        real_time_chunking."""
    def push(self, observed: int, period: int, chunk: NDArray[np.float32], now: int, promised: int = 0) -> str:
        """'' when accepted, else why not: empty, duplicate, not-finite, width, stale, full, future."""
    def at(self, now: int) -> NDArray[np.float64] | None:
        """Interpolated action (A,) due at `now`; None when nothing covers it (starved)."""
    def remaining(self, now: int) -> int:
        """Actions still due after `now`."""

class Promise:
    """What a policy is told that plans while its last plan still runs (real-time chunking, arXiv:2506.07339)."""

    delay: int  # rows that the next inference will cost: the 95th part of the last 32, 1 .. horizon - 1
    def __init__(self, width: int, horizon: int) -> None:
        """horizon: most rows of a prefix, 2..512."""
    def begin(self, observed: int, period: int) -> tuple[NDArray[np.float32], int]:
        """An inference begins: the running plan from `observed` on (K, A), K = 0 without one, and how many of its rows
        will be executed whatever comes."""
    def arrived(self, observed: int, period: int, chunk: NDArray[np.float32], now: int, promised: int) -> int:
        """The chunk of that observation is pushed: how many rows were due until then."""
    def clear(self) -> None: ...

def prefix_weights(
    schedule: Literal["zeros", "ones", "linear", "exponential"], promised: int, end: int, rows: int
) -> NDArray[np.float64]:
    """How firmly each row of a prefix is kept (rows,): 1 for the promised ones, falling to 0 at row `end`."""

# --- loop

class Limits:
    """One entry per element of the action vector, robot units."""

    def __init__(
        self,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        speed: NDArray[np.float64],
        acceleration: NDArray[np.float64],
        jerk: NDArray[np.float64],
        soft_speed: NDArray[np.float64],
        jump: NDArray[np.float64],
        zero_on_starve: Sequence[bool],
        deviation: NDArray[np.float64] | None = None,  # farther from its goals: an obstacle; 0: not watched
    ) -> None: ...

def limit_track(
    limits: Limits, axis: int, start: float, targets: NDArray[np.float64], dt: float
) -> NDArray[np.float64]:
    """The goals (n,) of one axis that follows targets (n,) from rest at `start`: the loop's own limits, alone."""

class LoopConfig:
    """Fixed before the loop starts. At most 64 axes, chunks of at most 512 rows, 8 chunks under way."""

    rate_hz: float  # 10..1000
    source: str  # "chunks" | "setpoints" | "leader"
    merge: str
    coefficient: float
    crossfade: int
    interpolation: str  # "linear" | "cubic" | "critically_damped"
    duration_s: float  # of ACTIVE; 0: until stopped. The core itself then requests `stop_policy`
    stop_policy: str  # "rest" | "hold" | "off"
    estop_off: bool  # an emergency stop takes the torque away at once, instead of holding
    rest_pose: NDArray[np.float64] | None
    heartbeat_timeout_s: float  # 0.1
    hold_to_rest_s: float  # 10.0
    soft_start_s: float  # 1.0; torque ramp and speed ramp
    realtime: bool  # ask for SCHED_FIFO and locked memory; report what was refused
    black_boxes: str  # folder for the last cycles before a fault, of a guardian's loop; "": nowhere
    house: str  # "thread": of this process | "guardian": a process of its own, with a second hand beside it
    def __init__(self) -> None: ...

class Reason:
    """Why a state was entered."""

    name: str
    none: Reason
    armed: Reason
    source_caught: Reason
    heartbeat_lost: Reason
    source_dead: Reason
    starved: Reason
    state_stale: Reason
    overload: Reason
    overrun: Reason
    illegal_setpoints: Reason
    motor_fault: Reason
    motor_hot: Reason
    motor_voltage: Reason
    motor_rebooted: Reason
    blocked: Reason
    motor_mute: Reason
    bus_lost: Reason
    hang_up: Reason
    stop_requested: Reason
    second_stop: Reason
    duration_over: Reason
    no_rest_pose: Reason
    rest_reached: Reason
    rest_blocked: Reason
    rest_too_long: Reason
    estop: Reason
    resumed: Reason
    reset: Reason
    released: Reason
    guardian_died: Reason
    unguarded: Reason
    coupled: Reason

class LoopSnapshot:
    """One consistent look; never blocks the loop."""

    state: str  # DISARMED SOFT_START ACTIVE HOLD REST OFF FAULT ESTOP: of the arm that is worst off
    reason: str  # why it is in that state, one line
    cause: Reason  # the same for programs, without the joint
    causes: list[Reason]  # of each arm that is in HOLD by itself, not because another one is
    cycle: int
    active_cycles: int
    values: NDArray[np.float64]  # (S,) measured
    captured: int
    age: NDArray[np.float64]  # (S,) s
    goal: NDArray[np.float64]  # (A,) last written
    requested: NDArray[np.float64]  # (A,) before the limits
    load: NDArray[np.uint8]  # (A,) % of the full duty
    temperature: NDArray[np.uint8]  # (A,) deg C; 0: not known
    faults: list[str]
    remaining: int  # actions still due
    first_goal: int  # ns of the first goal on the wire, 0 before

class ControlLoop:
    """The loop in its thread (the first house). Owns the buses from `start` to `stop`."""

    def __init__(
        self,
        drives: Sequence[tuple[slice, ServoBus]],
        limits: Limits,
        config: LoopConfig,
        leaders: Sequence[tuple[slice, ServoBus]] = (),
    ) -> None: ...
    def start(self) -> None:
        """Reads the pose, starts the loop in DISARMED. CoreError when no pose can be read. A guardian opens the ports
        anew: the handles given here are closed then, as they are after `close`."""
    def arm(self) -> None:
        """Checks (reliability 3.4, first part), then SOFT_START: the first goal on the wire is the measured pose."""
    def push_chunk(self, observed: int, period: int, chunk: NDArray[np.float32], promised: int = 0) -> str:
        """As ActionQueue.push; single producer, never blocks, counts what it refuses. Accepted: also a heartbeat."""
    def push_setpoint(self, values: NDArray[np.float64], at: int) -> str: ...
    def heartbeat(self) -> None: ...
    def request_stop(self, policy: str = "") -> None:
        """'' : the configured policy. A second call within 2 s: off now."""
    def hold(self) -> None:
        """For another part of the robot that has to stop: SOFT_START and ACTIVE end in HOLD."""
    def estop(self) -> None: ...
    def resume(self) -> None: ...
    def reset(self) -> None: ...
    def release(self) -> None: ...
    def snapshot(self) -> LoopSnapshot: ...
    def records(self, since: int, most: int = 1000) -> dict[str, NDArray[Any]]:
        """Cycle records with cycle > since that the ring still holds, oldest first: cycle, deadline, woke, wrote,
        read, done (int64 ns), missing, skipped (bits), state (int), captured (int64), values (n,S), goal (n,A),
        requested (n,A)."""
    def wait(self, timeout_s: float) -> bool:
        """True once the loop has ended. Releases the GIL."""
    def report(self) -> dict[str, Any]:
        """target_hz, reached_hz, cycles, active_cycles, active_s, period_error_ms {p50,p99,p999,max}, wake_us {..},
        read_us {p50,p99,max}, misses, late_reads, missing {joint: n}, clamped, rejected {why: n}, starved,
        states [(name, at_s, reason)] of the arm that is worst off, arms [{joints, state, reason}] as they are now,
        still_energised [str], realtime [str], guardian and second_hand (process ids, 0: none), exit_code."""
    def close(self) -> None:
        """Ends the loop by its stop policy (waits for the rest move), joins it, closes the buses. May be called twice.

        In FAULT, ESTOP, and HOLD without a rest pose torque stays as it is: see `still_energised` of the report.
        """

# --- kinematics, pure: m and rad; base frame x forward, y left, z up

class Kinematics:
    """A serial arm: "so101", five joints. A pose (5,) is x y z, pitch (of the approach below the horizontal, counted
    on through straight down) and roll about the approach; heading follows from the position."""

    def __init__(self, arm: str) -> None: ...
    limits: NDArray[np.float64]  # (2, n)
    def tool(self, q: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Point (3,) and rotation (3, 3) of the tool in the base."""
    def jacobian(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """(6, n): vx vy vz wx wy wz of the tool's point in the base frame."""
    def pose(self, q: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def solve(
        self,
        pose: NDArray[np.float64],
        seed: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], float, float]:
        """Damped least squares from `seed` (n,) inside the limits: angles (n,), m and rad left over."""

class Jog:
    """A pose that a person pushes along, in robot units (degrees for `arm`'s joints): only a wish, which the loop
    limits. It keeps inside low..high and within `leash` of the measured pose; unplaced until it saw one."""

    def __init__(
        self, low: NDArray[np.float64], high: NDArray[np.float64], leash: NDArray[np.float64], arm: str = ""
    ) -> None:
        """(A,) each. arm: the chain that its first axes are ("so101"); '': joint by joint only."""
    placed: bool
    def place(self, pose: NDArray[np.float64]) -> None: ...
    def see(self, measured: NDArray[np.float64]) -> None:
        """Where the leash is held; also places what was not placed yet."""
    def forget(self) -> None:
        """The arm was held or stopped: the wish begins anew where it is seen next."""
    def move_joints(self, speeds: NDArray[np.float64], dt: float) -> None:
        """speeds (A,), units/s, for dt s (at most 0.1)."""
    def move_tool(self, speed: NDArray[np.float64], others: NDArray[np.float64], dt: float) -> bool:
        """speed (5,): m/s, rad/s of the pose; others (A,): of axes beyond the chain. False: out of its reach."""
    def target(self) -> NDArray[np.float64]: ...
    def tool(self) -> NDArray[np.float64]: ...

# --- emulator (shares no packet code with the rest)

class Emulator:
    """A chain of six emulated STS3215 behind a pseudo-terminal, with wire timing."""

    def __init__(
        self,
        kind: Literal["so101-follower", "so101-leader"] = "so101-follower",
        *,
        wave: bool = False,
        usb_us: int = 125,
        seed: int = 0,
        lag_s: float = 0.06,
        profile: Literal["", "wire", "usb", "usb-1ms", "ftdi-1ms", "ftdi-16ms"] = "",
    ) -> None:
        """usb_us: the adapter passes bytes on, both ways, on this grid; profile, when given, stands instead of it."""
    port: str  # another one after a `replug`
    def calibration(self, mode: Mode = "degrees") -> list[JointCalibration]:
        """What its registers hold; gripper always range_0_100."""
    def rest_pose(self, mode: Mode = "degrees") -> NDArray[np.float64]: ...
    def wave_at(self, t_s: NDArray[np.float64], mode: Mode = "degrees") -> NDArray[np.float64]:
        """(n, 6): the pose of the waving leader at times since its start."""
    wave_period_s: float
    started: int  # ns, monotonic: the wave's time zero
    def goal_times(self) -> NDArray[np.int64]:
        """ns at which each sync-write of goals had arrived, oldest first (the last 100,000)."""
    def goals(self) -> NDArray[np.int64]:
        """(n, 6) raw goals of those writes."""
    def positions(self) -> NDArray[np.int64]: ...
    def registers(self, id: int) -> bytes: ...
    def set_register(self, id: int, address: int, data: bytes) -> None: ...
    def carry(self, id: int, encoder: float) -> None:
        """A hand puts a joint to a step of its encoder, 0..4095 before any offset."""
    def fault(self, kind: str, **fields: Any) -> None:
        """Replies: drop, corrupt, duplicate (rate), noise (rate; inside), late, split (rate, ms; most_ms); each also
        takes `id` (only that motor) and `count` (at most so many replies). Servos: mute, unmute, reboot (id),
        overload (id, on), twin (id, of), baud (id, code), model (id, number). Adapter: stall (ms), echo (on), hangup,
        replug. A muted motor neither hears nor answers; a twin has the other's id and speaks at the same time; a
        stalled adapter holds bytes back in both directions. ValueError names what does not fit."""
    def statistics(self) -> dict[str, int]: ...
    def close(self) -> None: ...
