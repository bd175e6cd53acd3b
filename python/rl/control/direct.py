"""The loop for robots that the core cannot reach: a thread that commands and reads them at absolute deadlines.

Same calls and states as `rl._core.ControlLoop`, so the session drives both alike. Without a core bus Python's own
timing is what one gets; the timing table says so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api.errors import RlError, cause_of
from rl.api.protocols import Axis, Rests, Robot, Snapshot
from rl.control.limits import Limiter
from rl.control.settings import STALE_S, STATES, Settings

Vector = NDArray[np.float64]

STARVED_HOLD_S = 1.0  # an empty queue for this long is HOLD
REST_LIMIT_S = 8.0
LATCHED = ("FAULT", "ESTOP")
FOLLOWING = ("SOFT_START", "ACTIVE")
ILLEGAL = ("not-finite", "width", "stale", "future")  # refusals of which many hold the robot
BURST, BURST_NS = 50, 1_000_000_000
STREAM, STREAM_NS = 5, 200_000_000  # set points of a stream that a robot may be resumed into
RESUME_NS = 2_000_000_000  # how long a request to go on waits for that
STILL = 1e-9  # axis units / s
RING = 20_000  # records kept
LATE = 1.5  # periods: a tick later than this is a miss


@dataclass
class Tick:
    """One cycle, as the core's records have it."""

    cycle: int
    deadline: int
    woke: int
    wrote: int
    captured: int
    state: str
    values: Vector
    goal: Vector
    requested: Vector


class DirectLoop:
    """Moves `columns` of a robot's action vector. `others` gives the whole vector where only a part is moved here."""

    def __init__(
        self,
        robot: Robot,
        axes: Sequence[Axis],
        columns: Sequence[int],
        settings: Settings,
        source: str,
        others: Callable[[], Vector] | None = None,
    ) -> None:
        from rl import _core

        self.robot, self.settings, self.source, self.others = robot, settings, source, others
        self.columns = np.asarray(columns)
        self.axes = [axes[i] for i in columns]
        self.period = 1 / settings.rate
        self.limiter = Limiter(self.axes, self.period)
        self.rolls = np.array([axis.starve == "zero" for axis in self.axes])  # a wheel stops, a joint keeps its place
        self.queue = _core.ActionQueue(
            len(self.axes), settings.merge, settings.coefficient, settings.crossfade, settings.interpolation
        )
        self._lock = threading.RLock()  # a signal may ask for the stop in the midst of a look
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._state, self._reason = "DISARMED", "not armed yet"
        self._states: list[tuple[str, float, str]] = []
        self._setpoint: Vector | None = None
        self._beat = self._starved = self._armed = self._stopping = self._began = 0
        self._stop_policy = settings.stop
        self._limp = settings.estop == "off"  # an e-stop lets go at once
        self._let_go = False  # it did
        self._ticks: deque[Tick] = deque(maxlen=RING)
        self._errors_ms: list[float] = []
        self._counts = {"cycles": 0, "active": 0, "misses": 0, "late": 0, "starved": 0}
        self._first_goal = self._last_active = 0
        self._intervals, self._between = 0, 0  # number and ns of those between two cycles in motion
        self._rejected: dict[str, int] = {}
        self._align = 0
        unknown = np.full(robot.state.shape[0], np.nan, np.float32)
        self._seen = Snapshot(unknown, 0, np.full(len(unknown), np.inf, np.float32))  # until `start` reads it
        self._age_s = 0.0  # of the state when it was seen
        self._asked = 0  # when a stop was last requested, ns; the end by duration is no request
        self._newest = -1  # stamp of the newest set point
        self._why = _core.Reason
        self._cause = _core.Reason.none
        self._illegal: deque[int] = deque(maxlen=BURST)  # when, ns
        self._arrivals: deque[int] = deque(maxlen=STREAM)  # of set points, ns
        self._resume_until = 0
        self._release_next = False  # asked twice: braked, then off

    # --- calls of the session

    def start(self) -> None:
        """Reads the pose and starts the thread. Errors: RlError of the robot."""
        self._see()
        self._began = time.monotonic_ns()
        self._enter("DISARMED", "started")
        self._thread = threading.Thread(target=self._run, name="rl-direct", daemon=True)
        self._thread.start()

    def align(self, deadline: int) -> None:
        """Deadlines from now on are a whole number of periods away from this instant, ns."""
        self._align = deadline

    def arm(self) -> None:
        faults = self._seen.faults
        if faults:
            raise RlError(f"not armed: {', '.join(faults)}", where="robot")
        with self._lock:
            if self._state not in ("DISARMED", "OFF") or self._stopping:
                return
            begin = np.where(self.rolls, 0.0, self._measured())
            if not np.isfinite(begin).all():
                odd = ", ".join(a.name for a, ok in zip(self.axes, np.isfinite(begin), strict=True) if not ok)
                raise RlError(f"not armed: the measured pose is no number: {odd}", where="robot")
            self.limiter.begin(begin)
            self._armed = self._beat = time.monotonic_ns()
            self._enter("SOFT_START", "armed")

    def push_chunk(self, observed: int, period: int, chunk: NDArray[np.float32]) -> str:
        with self._lock:
            return self._count(self.queue.push(observed, period, np.ascontiguousarray(chunk), time.monotonic_ns()))

    def push_setpoint(self, values: Vector, at: int) -> str:
        with self._lock:
            if len(values) != len(self.axes):
                return self._count("width")
            if not np.isfinite(values).all():
                return self._count("not-finite")
            if at <= self._newest:  # what came before, or twice, says nothing new
                return self._count("stale" if at < self._newest else "duplicate")
            self._setpoint, self._newest = np.array(values, np.float64), at
            self._arrivals.append(time.monotonic_ns())
        return ""

    def heartbeat(self) -> None:
        self._beat = time.monotonic_ns()

    def request_stop(self, policy: str = "") -> None:
        """As the core: a second request within 2 s, or one for off, releases. FAULT and ESTOP stay latched."""
        now = time.monotonic_ns()
        with self._lock:
            if self._state in ("OFF", *LATCHED):
                return
            again = self._asked != 0 and now - self._asked < 2_000_000_000
            self._asked = now
            if again or (self._stopping and policy == "off"):
                self._stop_policy, self._release_next = "off", True
                self._enter("HOLD", "asked twice", self._why.second_stop)
            elif not self._stopping:
                self._stopping, self._stop_policy = now, policy or self._stop_policy  # type: ignore[assignment]
                self._enter("REST" if self._state in ("SOFT_START", "ACTIVE", "HOLD") else "OFF", "stop requested")

    def estop(self) -> None:
        with self._lock:
            self._enter("ESTOP", "e-stop", self._why.estop)

    def hold(self) -> None:
        """For another part of the robot that has to stop: brakes and keeps its place until it is resumed."""
        with self._lock:
            if self._state in FOLLOWING:
                self._enter("HOLD", "another part of the robot is held", self._why.coupled)

    def resume(self) -> None:
        """Goes on, slowly at first, as soon as the robot stands, its state is fresh and set points stream in."""
        with self._lock:
            if self._state == "HOLD" and not self._stopping:
                self._resume_until = time.monotonic_ns() + RESUME_NS

    def snapshot(self) -> Any:
        with self._lock:
            last = self._ticks[-1] if self._ticks else None
            return SimpleNamespace(
                state=self._state,
                reason=self._reason,
                cause=self._cause,
                causes=[self._cause] if self._state == "HOLD" and self._cause != self._why.coupled else [],
                cycle=self._counts["cycles"],
                active_cycles=self._counts["active"],
                values=np.asarray(self._seen.values, np.float64),
                captured=int(self._seen.captured),
                age=np.asarray(self._seen.age, np.float64),
                goal=self._measured() if last is None else last.goal,
                requested=self._measured() if last is None else last.requested,
                faults=list(self._seen.faults),
                remaining=int(self.queue.remaining(time.monotonic_ns())),
                first_goal=self._first_goal,
            )

    def records(self, since: int, most: int = 1000) -> dict[str, NDArray[Any]]:
        with self._lock:
            kept = [tick for tick in self._ticks if tick.cycle > since][:most]
        names = ("cycle", "deadline", "woke", "wrote", "captured")
        found: dict[str, NDArray[Any]] = {n: np.array([getattr(t, n) for t in kept], np.int64) for n in names}
        found["state"] = np.array([STATES.index(t.state) for t in kept], np.int64)
        shapes = {"values": len(self._seen.values), "goal": len(self.axes), "requested": len(self.axes)}
        for name, width in shapes.items():
            found[name] = np.array([getattr(t, name) for t in kept], np.float64).reshape(len(kept), width)
        return found

    def wait(self, timeout_s: float) -> bool:
        return self._ended.wait(timeout_s)

    def report(self) -> dict[str, Any]:
        active_s = self._between / 1e9
        errors = np.array(self._errors_ms or [0.0])
        shares = {"p50": 50, "p99": 99, "p999": 99.9, "max": 100}
        failed = self._state in ("FAULT", "ESTOP") or (self._state == "HOLD")
        return {
            "target_hz": self.settings.rate,
            "reached_hz": self._intervals / active_s if active_s > 0 else 0.0,
            "cycles": self._counts["cycles"],
            "active_cycles": self._counts["active"],
            "active_s": active_s,
            "period_error_ms": {name: float(np.percentile(errors, share)) for name, share in shares.items()},
            "misses": self._counts["misses"],
            "late_reads": self._counts["late"],
            "missing": {},
            "clamped": 0,
            "warnings": [],
            "rejected": dict(self._rejected),
            "starved": self._counts["starved"],
            "states": list(self._states),
            "still_energised": [],
            "realtime": ["no core bus: Python's timing"],
            "exit_code": 1 if failed else 0,
        }

    @property
    def held(self) -> bool:
        """Whether it ended as asked with the torque on."""
        return self._state == "OFF" and self._stop_policy == "hold"

    @property
    def left_energised(self) -> bool:
        """Whether a latched end left the torque on; the robot itself is not asked."""
        return self._state in ("HOLD", *LATCHED) and not self._let_go

    def close(self) -> None:
        """Ends the loop; may be called twice."""
        if self._thread is not None:
            with self._lock:
                if self._state not in ("OFF", *LATCHED):
                    self._enter("OFF", "closed")
            self._thread.join(timeout=2.0)
            self._thread = None

    # --- the thread

    def _run(self) -> None:
        step = round(1e9 / self.settings.rate)
        deadline = time.monotonic_ns() + step
        if self._align:
            deadline += (self._align - deadline) % step
        last = 0
        try:
            while True:
                time.sleep(max(0.0, (deadline - time.monotonic_ns()) / 1e9))
                woke = time.monotonic_ns()
                if not self._tick(deadline, woke):
                    break
                if last and self._state == "ACTIVE":
                    self._errors_ms.append(abs((woke - last) - step) / 1e6)
                last = woke
                deadline += step
                behind = time.monotonic_ns() - deadline
                if behind > step * (LATE - 1):
                    skipped = behind // step + 1
                    self._counts["misses"] += int(skipped)
                    deadline += int(skipped) * step  # never bunched
        except (RlError, OSError, ValueError) as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001  a vendor's library may raise anything; the arm must still end safely
            self._fail(cause_of(error))
        finally:
            try:
                self._release()
            finally:
                self._ended.set()

    def _tick(self, deadline: int, woke: int) -> bool:
        with self._lock:
            self._advance(woke)
            state = self._state
            if state in ("OFF", "FAULT") or (state == "ESTOP" and (not self._armed or self._limp or self._still())):
                return False
            wanted = self._wanted(woke, state)
            goal = None
            if state != "DISARMED":
                goal = self.limiter.step(wanted, soft=state in ("SOFT_START", "REST"))
                if state in ("HOLD", "ESTOP"):
                    goal = np.where(self.rolls, 0.0, goal)
        sent, wrote = self._measured(), 0
        if goal is not None:
            sent = self._send(goal, deadline)
            wrote = time.monotonic_ns()
            self._first_goal = self._first_goal or wrote
        self._see()
        with self._lock:
            self._counts["cycles"] += 1
            if state == "ACTIVE":
                self._counts["active"] += 1
                if self._last_active:
                    self._intervals += 1
                    self._between += deadline - self._last_active
            self._last_active = deadline if state == "ACTIVE" else 0
            values = np.asarray(self._seen.values, np.float64)
            number = self._counts["cycles"]
            self._ticks.append(Tick(number, deadline, woke, wrote, self._seen.captured, state, values, sent, wanted))
        return True

    def _send(self, goal: Vector, deadline: int) -> Vector:
        whole = goal
        if self.others is not None:
            whole = np.array(self.others(), np.float64)
            whole[self.columns] = goal
        if not np.isfinite(whole).all():
            raise RlError("a goal is no number; it was not sent", where="robot")
        sent = np.asarray(self.robot.command(whole.astype(np.float32), deadline), np.float64)
        return sent[self.columns] if self.others is not None else sent

    def _advance(self, now: int) -> None:
        """The state machine: what time and sources make of the state."""
        self._check_age(now)
        trouble = self._trouble(now)
        if self._state in FOLLOWING and trouble is not None:
            self._enter("HOLD", *trouble)
        if self._state == "HOLD":
            self._leave_hold(now, trouble is None)
        if self._state == "SOFT_START":
            wanted = self._due(now)
            near = wanted is None or bool((np.abs(wanted - self.limiter.goal) <= self.limiter.jump).all())
            ready = wanted is not None or self.source == "leader"
            if ready and near and now - self._armed > self.settings.soft_start_s * 1e9:
                self._enter("ACTIVE", "soft start over")
        if self._state == "ACTIVE" and self._over() and not self._stopping:
            self._stopping = now
            self._enter("REST", "duration over")
        if self._state == "REST" and self._rested(now):
            self._enter("OFF", "at rest")

    def _trouble(self, now: int) -> tuple[str, Any] | None:
        """What of the source holds the robot."""
        if self.source == "leader":
            return None
        if now - self._beat > self.settings.heartbeat_timeout_s * 1e9:
            return "the source gives no sign of life", self._why.heartbeat_lost
        if len(self._illegal) == BURST and now - self._illegal[0] <= BURST_NS:
            return "too many illegal set points", self._why.illegal_setpoints
        if self._state == "ACTIVE" and self._starved and now - self._starved > STARVED_HOLD_S * 1e9:
            return "no actions for 1 s", self._why.starved
        return None

    def _leave_hold(self, now: int, sound: bool) -> None:
        """Released once it stands, when that was asked for; resumed into a fresh stream, when that was."""
        if self._release_next and self._still():
            self._enter("OFF", "asked twice")
        elif sound and now < self._resume_until and self._age_s <= STALE_S and self._still() and self._fresh(now):
            self._enter("SOFT_START", "resumed")

    def _fresh(self, now: int) -> bool:
        """Five set points in 200 ms or in six of their periods, the longer; or an action that is due."""
        if self.source != "setpoints":
            return self._due(now) is not None
        if len(self._arrivals) < STREAM:
            return False
        period = float(np.median(np.diff(self._arrivals)))  # a pause between two streams is none
        return now - self._arrivals[0] <= max(STREAM_NS, 6 * period)

    def _still(self) -> bool:
        return bool((np.abs(self.limiter.velocity) <= STILL).all())

    def _check_age(self, now: int) -> None:
        """An old state holds the robot; a stop that waits for a fresh one goes on, or ends when that takes too long."""
        stale = not self._age_s <= STALE_S  # no number counts as stale
        if stale and self._state in ("SOFT_START", "ACTIVE", "REST"):
            self._enter("HOLD", "the robot's state is stale", self._why.state_stale)
        elif self._state == "HOLD" and self._stopping and not self._release_next:
            if not stale:
                self._enter("REST", "stop requested")
            elif now - self._stopping > REST_LIMIT_S * 1e9:
                self._enter("OFF", "rest move took too long")

    def _over(self) -> bool:
        """Counted in cycles, as the core does: a host that stands still does not shorten what was asked for."""
        wanted = self.settings.duration
        return bool(wanted) and self._counts["active"] >= round(wanted * self.settings.rate)

    def _rested(self, now: int) -> bool:
        there = np.abs(self._resting() - self.limiter.goal) <= np.where(self.rolls, 1e-6, self.limiter.jump / 2)
        still = np.abs(self.limiter.velocity) <= self.limiter.soft * 1e-3
        too_long = now - (self._stopping or now) > REST_LIMIT_S * 1e9
        return bool((there & still).all()) or too_long

    def _resting(self) -> Vector:
        """Where REST leads to: the rest pose where there is one, and wheels at rest."""
        rest = self._rest()
        return np.where(self.rolls, 0.0, self.limiter.goal if rest is None else rest)

    def _rest(self) -> Vector | None:
        if self._stop_policy != "rest" or not isinstance(self.robot, Rests):
            return None
        pose = self.robot.rest_pose()
        found = None if pose is None else np.asarray(pose, np.float64)[self.columns]
        return found if found is not None and np.isfinite(found).all() else None

    def _due(self, now: int) -> Vector | None:
        if self.source == "chunks":
            found = self.queue.at(now)
            return None if found is None else np.asarray(found, np.float64)
        return self._setpoint if self.source == "setpoints" else None

    def _wanted(self, now: int, state: str) -> Vector:
        still = np.where(self.rolls, 0.0, self.limiter.goal)
        if state == "REST":
            return self._resting()
        if state not in ("SOFT_START", "ACTIVE"):
            return still
        due = self._due(now)
        if due is None:
            self._counts["starved"] += state == "ACTIVE" and self.source != "leader"
            self._starved = self._starved or (now if self.source != "leader" else 0)
            return still
        self._starved = 0
        return due

    def _see(self) -> None:
        seen = self.robot.snapshot()
        ages = np.asarray(seen.age, np.float64)
        own = ages[self.columns] if len(ages) > self.columns.max() else ages
        self._age_s = (time.monotonic_ns() - int(seen.captured)) / 1e9 + float(own.max(initial=0.0))
        self._seen = seen

    def _measured(self) -> Vector:
        values = np.asarray(self._seen.values, np.float64)
        return values[self.columns] if len(values) > self.columns.max() else np.zeros(len(self.columns))

    def _count(self, refusal: str) -> str:
        if refusal in ILLEGAL:
            self._illegal.append(time.monotonic_ns())
        if refusal:
            self._rejected[refusal] = self._rejected.get(refusal, 0) + 1
        return refusal

    def _enter(self, state: str, reason: str, cause: Any = None) -> None:
        if state == self._state and self._states:
            return
        self._state, self._reason, self._cause = state, reason, cause or self._why.none
        self._resume_until = 0  # a request is for the HOLD that it was made in
        self._states.append((state, (time.monotonic_ns() - self._began) / 1e9, reason))

    def _fail(self, reason: str) -> None:
        with self._lock:
            if self._state == "ESTOP":  # stays latched; the reason says more
                self._reason = f"{self._reason}; {reason}"
            else:
                self._enter("FAULT", reason)

    def _release(self) -> None:
        """The robot's own stop. After a fault or an e-stop it holds, unless it is to let go: a free arm falls."""
        try:
            off = self._state == "ESTOP" and self._limp
            self.robot.stop("off" if off else "hold" if self._state in LATCHED else self._stop_policy)
            self._let_go = off
        except Exception as error:  # noqa: BLE001  a vendor's library may raise anything
            self._fail(f"stop failed: {cause_of(error)}")
