"""Which loop moves which element of the action vector: one over all core buses, one for each robot without."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api.errors import InputError
from rl.api.protocols import Axis, Rests, Snapshot
from rl.control.composite import Composite
from rl.control.core_errors import translated
from rl.control.direct import FOLLOWING, LATCHED, DirectLoop
from rl.control.limits import core_limits
from rl.control.settings import Settings

RESUME_S = 2.0  # how long a request to go on is kept for the parts that wait for another one
ORDER = ("ACTIVE", "SOFT_START", "HOLD", "REST", "DISARMED", "OFF", "FAULT", "ESTOP")  # the whole is its worst part


@dataclass(frozen=True)
class Member:
    """One loop with its elements of the action and of the state vector."""

    name: str
    loop: Any
    actions: NDArray[np.intp]
    states: NDArray[np.intp]


@dataclass(frozen=True)
class Share:
    """A robot of which Python moves the elements `own` of its action vector, and its places in the whole."""

    name: str
    robot: Any
    own: tuple[int, ...]
    action: slice
    state: slice


def shares(robot: Any, name: str = "robot", action: int = 0, state: int = 0) -> list[Share]:
    """The robots, compositions opened, that have elements which no core bus drives."""
    if isinstance(robot, Composite):
        found = []
        for (key, part), a, s in zip(robot.parts.items(), robot.spans, robot.state_spans, strict=True):
            found += shares(part, key, action + a.start, state + s.start)
        return found
    width, states = robot.action.shape[0], robot.state.shape[0]
    driven = {i for span, _ in robot.core() for i in range(span.start, span.stop)}
    own = tuple(i for i in range(width) if i not in driven)
    if not own:
        return []
    return [Share(name, robot, own, slice(action, action + width), slice(state, state + states))]


def driven_states(robot: Any, offset: int = 0) -> list[int]:
    """Places in the state vector of what the core's buses read, in the order of `robot.core()`."""
    if isinstance(robot, Composite):
        parts = zip(robot.parts.values(), robot.state_spans, strict=True)
        return [i for part, span in parts for i in driven_states(part, offset + span.start)]
    return [offset + i for span, _ in robot.core() for i in range(span.start, span.stop)]


class JointLoop:
    """All loops of a session as one."""

    def __init__(self, members: Sequence[Member], action: int, state: int) -> None:
        self.members, self.action, self.state = tuple(members), action, state
        self.axes: tuple[Axis, ...] = ()  # limits of the whole action vector
        self.asked = 0.0  # when the stop was last asked for, s of the monotonic clock; 0: never
        self._coupled: set[int] = set()  # members that are held because another one is
        self._told: set[int] = set()  # of those, whoever was told to hold and does not yet
        self._resume_until = 0.0

    @classmethod
    def over(
        cls,
        robot: Any,
        axes: Sequence[Axis],
        settings: Settings,
        source: str,
        leaders: Sequence[tuple[slice, Any]] = (),
    ) -> JointLoop:
        """The loops for a connected robot. Errors: InputError when a leader would drive what is on no bus."""
        members = []
        drives = list(robot.core())
        columns = [i for span, _ in drives for i in range(span.start, span.stop)]
        if drives:
            rest = np.ascontiguousarray(_rest_of(robot)[columns])
            part = rest if np.isfinite(rest).all() else None
            from rl import _core

            loop = _core.ControlLoop(
                _packed(drives, columns),
                core_limits([axes[i] for i in columns]),
                settings.core_config(source, part),
                _packed(leaders, columns),
            )
            members.append(Member("core", loop, np.array(columns), np.array(driven_states(robot))))
        elif leaders:
            raise InputError("the robot has no core bus for this leader to drive", where="teleop")
        whole = cls(members, robot.action.shape[0], robot.state.shape[0])
        whole.axes = tuple(axes)
        direct = [whole._direct(share, axes, settings, source) for share in shares(robot)]
        whole.members = (*members, *direct)
        return whole

    def _direct(self, share: Share, axes: Sequence[Axis], settings: Settings, source: str) -> Member:
        own = np.array(share.own)
        partial = len(own) < share.robot.action.shape[0]

        def others() -> NDArray[np.float64]:
            goal: NDArray[np.float64] = self.snapshot().goal[share.action]
            return goal

        loop = DirectLoop(share.robot, axes[share.action], share.own, settings, source, others if partial else None)
        states = np.arange(share.state.start, share.state.stop)
        if partial:  # what the core reads is not taken from here
            states = states[: share.robot.state.shape[0]]
        return Member(share.name, loop, own + share.action.start, states)

    # --- as one loop

    def start(self) -> None:
        """All loops, or none: what runs already is closed when another one fails."""
        begun: list[Any] = []
        with translated():
            try:
                for member in self.members:
                    if isinstance(member.loop, DirectLoop) and self.members[0].loop is not member.loop:
                        member.loop.align(_deadline(self.members[0].loop))
                    member.loop.start()
                    begun.append(member.loop)
            except BaseException:
                for loop in reversed(begun):
                    with suppress(Exception):  # the failure to start is the one to know of
                        loop.close()
                raise

    def arm(self) -> None:
        with translated():
            for member in self.members:
                member.loop.arm()

    def push_chunk(self, observed: int, period: int, chunk: NDArray[np.float32]) -> str:
        """The first refusal, '' when every loop took its part. A chunk (T, A) with one bad row is refused whole."""
        parts = self._parts(np.asarray(chunk))
        pairs = zip(self.members, parts, strict=True)
        answers = [member.loop.push_chunk(observed, period, part) for member, part in pairs]
        return next(filter(None, answers), "")

    def push_setpoint(self, values: NDArray[np.float64], at: int) -> str:
        """As `push_chunk`, for one set point (A,)."""
        parts = self._parts(np.asarray(values, np.float64)[None])
        pairs = zip(self.members, parts, strict=True)
        answers = [member.loop.push_setpoint(part[0], at) for member, part in pairs]
        return next(filter(None, answers), "")

    def _parts(self, rows: NDArray[Any]) -> list[NDArray[Any]]:
        """The rows (T, A) as each loop takes them. One that is illegal anywhere is so for all: each counts it."""
        if rows.ndim != 2 or rows.shape[1] != self.action:
            return [np.zeros((1, 0), rows.dtype)] * len(self.members)
        with np.errstate(over="ignore"):  # as the core sees them: too large is infinite
            if not np.isfinite(rows.astype(np.float32)).all():
                rows = np.full_like(rows, np.nan)
        return [np.ascontiguousarray(rows[:, member.actions]) for member in self.members]

    def heartbeat(self) -> None:
        for member in self.members:
            member.loop.heartbeat()

    def request_stop(self, policy: str = "") -> None:
        self.asked = time.monotonic()
        self.couple()  # a part that was e-stopped just now takes no other one to its rest pose
        for member in self.members:
            member.loop.request_stop(policy)

    def estop(self) -> None:
        for member in self.members:
            member.loop.estop()

    def resume(self) -> None:
        """First whoever holds by a cause of its own; the others go on when none of those is left."""
        self._resume_until = time.monotonic() + RESUME_S
        for at, member in enumerate(self.members):
            if at not in self._coupled:
                member.loop.resume()

    def couple(self) -> None:
        """What stops one stops all: an e-stop as an e-stop; a fault or a cause of HOLD as HOLD, not the HOLD that
        follows from it, or two would hold each other for ever."""
        if len(self.members) == 1:
            return
        states = [member.loop.snapshot().state for member in self.members]
        if "ESTOP" in states:
            for member, state in zip(self.members, states, strict=True):
                if state != "ESTOP" and not member.loop.wait(0.0):
                    member.loop.estop()
            return
        moving = {at for at, state in enumerate(states) if state in FOLLOWING}
        self._told &= moving
        self._coupled &= self._told | {at for at, state in enumerate(states) if state == "HOLD"}
        stopped = any(state in ("HOLD", "FAULT") and at not in self._coupled for at, state in enumerate(states))
        if stopped:
            self._told |= moving
            self._coupled |= moving
            for at in moving:
                self.members[at].loop.hold()
        elif time.monotonic() < self._resume_until:
            for at in self._coupled - moving:
                self.members[at].loop.resume()

    def snapshot(self) -> Any:
        """One look at all: vectors of the whole robot, the worst state, its reason."""
        looks = [member.loop.snapshot() for member in self.members]
        _, worst = max(enumerate(looks), key=lambda one: (ORDER.index(one[1].state), one[0] not in self._coupled))
        newest = max(look.captured for look in looks)
        whole = _Whole(
            worst.state, worst.reason, newest, max(look.first_goal for look in looks), self.action, self.state
        )
        for member, look in zip(reversed(self.members), reversed(looks), strict=True):  # the core's elements win
            whole.values[member.states] = look.values
            whole.age[member.states] = np.asarray(look.age) + (newest - look.captured) / 1e9
            whole.goal[member.actions], whole.requested[member.actions] = look.goal, look.requested
            if hasattr(look, "temperature"):
                known = np.asarray(look.temperature) > 0
                whole.load[member.actions] = np.where(known, look.load, np.nan)
                whole.temperature[member.actions] = np.where(known, look.temperature, np.nan)
            whole.faults += tuple(look.faults)
        whole.moving = any(look.state in FOLLOWING for look in looks)
        own = (look for at, look in enumerate(looks) if at not in self._coupled)
        whole.causes = tuple(cause for look in own for cause in look.causes)
        whole.given_up = any(look.state == "REST" and look.cause.name == "source_dead" for look in looks)
        whole.remaining = min(look.remaining for look in looks)
        whole.cycle, whole.active_cycles = looks[0].cycle, looks[0].active_cycles
        return whole

    def wait(self, timeout_s: float) -> bool:
        """True once every loop has ended. One that ended as asked stops the others, which are asked once."""
        self.couple()
        ended = [member.loop.wait(timeout_s if at == 0 else 0.0) for at, member in enumerate(self.members)]
        if any(ended) and not all(ended):
            left = [member.loop for member, over in zip(self.members, ended, strict=True) if not over]
            moving = [loop for loop in left if loop.snapshot().state in ("SOFT_START", "ACTIVE", "HOLD")]
            latched = any(member.loop.snapshot().state in LATCHED for member in self.members)
            if moving and not latched and not self.asked:  # a second request within 2 s would mean: off, now
                self.asked = time.monotonic()
                for loop in moving:
                    loop.request_stop()
            if ended[0]:  # the first one's wait returns at once from now on
                next(m for m, over in zip(self.members, ended, strict=True) if not over).loop.wait(timeout_s)
        return all(ended)

    def reports(self) -> dict[str, dict[str, Any]]:
        """member -> report of its loop."""
        return {member.name: member.loop.report() for member in self.members}

    def close(self) -> None:
        """Every loop is closed before the first failure is raised."""
        failures: list[Exception] = []
        for member in self.members:
            try:
                member.loop.close()
            except Exception as error:  # noqa: BLE001  raised below, once all are closed
                failures.append(error)
        if failures:
            raise failures[0]


class _Whole:
    """What `JointLoop.snapshot` gives; the names are those of `rl._core.LoopSnapshot`."""

    def __init__(self, state: str, reason: str, captured: int, first_goal: int, actions: int, states: int) -> None:
        self.state, self.reason, self.captured, self.first_goal = state, reason, captured, first_goal
        self.values, self.age = np.zeros(states), np.zeros(states)
        self.goal, self.requested = np.zeros(actions), np.zeros(actions)
        self.load, self.temperature = np.full(actions, np.nan), np.full(actions, np.nan)  # nan: not told
        self.faults: tuple[str, ...] = ()
        self.moving = False  # a part is in SOFT_START or ACTIVE
        self.causes: tuple[Any, ...] = ()  # rl._core.Reason of each part that is in HOLD by itself
        self.given_up = False  # a part lays itself down, because its source stayed silent
        self.remaining = self.cycle = self.active_cycles = 0

    def as_snapshot(self) -> Snapshot:
        """The same as the robot contract has it."""
        return Snapshot(self.values.astype(np.float32), self.captured, self.age.astype(np.float32), self.faults)


def _packed(drives: Sequence[tuple[slice, Any]], columns: Sequence[int]) -> list[tuple[slice, Any]]:
    """Slices of the whole vector as slices of the vector that holds only `columns`."""
    packed = []
    for span, bus in drives:
        if span.start not in columns or span.stop - 1 not in columns:
            raise InputError("the leader drives elements that are on no core bus", where="teleop")
        first = columns.index(span.start)
        packed.append((slice(first, first + span.stop - span.start), bus))
    return packed


def _rest_of(robot: Any) -> NDArray[np.float64]:
    """The rest pose (A,), NaN where a part of a composition has none."""
    pose = np.full(robot.action.shape[0], np.nan)
    if isinstance(robot, Composite):
        for part, span in zip(robot.parts.values(), robot.spans, strict=True):
            pose[span] = _rest_of(part)
    elif isinstance(robot, Rests) and (found := robot.rest_pose()) is not None:
        pose[:] = found
    return pose


def rests(robot: Any) -> bool:
    """Whether what the core moves of this robot has a rest pose. Robots that Python moves stop where they are."""
    columns = [i for span, _ in robot.core() for i in range(span.start, span.stop)]
    return not columns or bool(np.isfinite(_rest_of(robot)[columns]).all())


def _deadline(loop: Any) -> int:
    """A deadline of a running loop, for others to keep step with."""
    found = loop.records(-1, 1)["deadline"]
    return int(found[-1]) if len(found) else 0
