"""Episodes from a running session: rows by the data set's clock, out of what the loop measured and really sent.

Row k belongs to the instant t0 + k / fps: the state is the newest that was read by then, pictures the newest by then,
the action is the goal that was written right after that reading. The loop never waits for any of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api.errors import RlError
from rl.api.features import Feature
from rl.control.cameras import Cameras, role_of
from rl.control.session import Session

CAPTURED, REQUESTED = "rl.capture_ns", "rl.action_requested"
SAID = {"success": "next", "rerecord": "again"}  # events of a teleoperator -> meanings of keys
FLUSH_S = 0.5  # the last row's goal is written one cycle after its instant


def features(state: Feature, action: Feature, cameras: Cameras) -> dict[str, Feature]:
    """What a recorded row holds: state, action, pictures, and when and from what they came (rl.*)."""
    roles = ("state", *(role_of(name) for name in cameras.features))
    found = {state.name: state, **cameras.features, action.name: action}
    found[CAPTURED] = Feature(CAPTURED, "free", (len(roles),), dtype="int64", unit="none", names=roles)
    found[REQUESTED] = Feature(REQUESTED, "free", action.shape, unit=action.unit, names=action.names)
    return found


class Cycles:
    """The newest cycles of all loops, looked up by time."""

    KEEP_NS = 5_000_000_000  # longer than a writer may block
    FIRST = 400  # cycles looked back at when a take begins

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self._kept: dict[str, dict[str, NDArray[Any]]] = {}

    def refresh(self) -> None:
        for member in self.loop.members:
            kept = self._kept.get(member.name)
            since = int(kept["cycle"][-1]) if kept is not None and len(kept["cycle"]) else self._from(member)
            found = member.loop.records(since)
            if kept is not None:
                found = {name: np.concatenate([kept[name], found[name]]) for name in kept}
                times = found["captured"]
                begin = int(np.searchsorted(times, times[-1] - self.KEEP_NS)) if len(times) else 0
                found = {name: values[begin:] for name, values in found.items()}
            self._kept[member.name] = found

    def at(self, instant: int) -> dict[str, NDArray[Any]] | None:
        """State read by `instant`, ns, and the goal written next; None while that has not happened yet.

        Errors: RlError when the cycles of that instant are not kept any more.
        """
        state, action = np.zeros(self.loop.state, np.float32), np.zeros(self.loop.action, np.float32)
        requested, captured = action.copy(), 0
        for member in reversed(self.loop.members):  # the core's elements win
            kept = self._kept[member.name]
            times = kept["captured"]
            row = int(np.searchsorted(times, instant, side="right")) - 1
            if row < 0 and len(times):
                raise RlError("storing the rows is too slow: the cycles of one are gone already", where="record")
            if row + 1 >= len(times) or row < 0 or not kept["wrote"][row + 1]:
                return None
            state[member.states] = kept["values"][row]
            action[member.actions] = kept["goal"][row + 1]
            requested[member.actions] = kept["requested"][row + 1]
            captured = max(captured, int(times[row]))
        return {"state": state, "action": action, "requested": requested, "captured": np.array(captured)}

    def _from(self, member: Any) -> int:
        return max(-1, int(member.loop.snapshot().cycle) - self.FIRST)


@dataclass
class Take:
    """One episode while it is recorded: a thread that samples and appends."""

    writer: Any
    cameras: Cameras
    loop: Any
    names: tuple[str, str]  # of state and action
    fps: float
    rows: int  # most

    def __post_init__(self) -> None:
        self.over = threading.Event()  # no further row
        self.done = threading.Event()  # the thread has ended
        self.failure: BaseException | None = None
        self.written = 0
        self._waiting: deque[tuple[int, Mapping[str, Any]]] = deque()
        self._cycles = Cycles(self.loop)
        self._thread = threading.Thread(target=self._run, name="rl-recorder", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """No more rows; returns when the last one is appended. Errors: what the thread failed of."""
        self.over.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            self._sample()
            until = time.monotonic() + FLUSH_S
            while self._waiting and time.monotonic() < until:
                time.sleep(0.005)
                self._append()
        except BaseException as error:  # noqa: BLE001  raised by `finish`, in the session's thread
            self.failure = error
        finally:
            self.done.set()

    def _sample(self) -> None:
        begin, step = time.monotonic_ns(), 1e9 / self.fps
        for k in range(self.rows):
            due = begin + int(k * step)
            if self.over.wait(max(0.0, (due - time.monotonic_ns()) / 1e9)):
                return
            frames = self.cameras.newest(self.loop.snapshot().as_snapshot()) if self.cameras.cameras else {}
            self._waiting.append((due, frames))
            self._append()

    def _append(self) -> None:
        self._cycles.refresh()
        while self._waiting:
            due, frames = self._waiting[0]
            found = self._cycles.at(due)
            if found is None:
                return
            self._waiting.popleft()
            captured = [int(found["captured"]), *(frame.captured for frame in frames.values())]
            row = {self.names[0]: found["state"], self.names[1]: found["action"], REQUESTED: found["requested"]}
            row[CAPTURED] = np.array(captured, np.int64)
            self.writer.append(row | {name: frame.image for name, frame in frames.items()})
            self.written += 1


@dataclass
class Recorder:
    """A sink: `episodes` takes of `episode_time` s with `reset_time` s between them, then the session stops."""

    writer: Any
    cameras: Cameras
    task: str
    fps: float
    episodes: int
    episode_time: float
    reset_time: float
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.saved: list[int] = []  # indices in the set
        self.rows = 0
        self._take: Take | None = None
        self._since = 0.0
        self._saving: threading.Thread | None = None
        self._failure: BaseException | None = None

    # --- calls of the session

    def begin(self, session: Session) -> None:
        if session.keys is not None and session.keys.live:
            self.say("keys: n ends the episode or the pause, r records it again, q saves it and ends")

    def poll(self, session: Session) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if session.stopping or self._saving is not None:
            return
        key = (session.keys.take("next", "again", "quit") if session.keys else "") or self._said(session.source)
        active = session.loop is not None and session.loop.snapshot().state == "ACTIVE"
        if self._take is not None:
            self._during(session, key, active)
        elif len(self.saved) >= self.episodes or key == "quit":
            session.request_stop()
        elif active and (not self._since or time.monotonic() - self._since >= self.reset_time or key == "next"):
            self._start(session)

    def end(self, session: Session) -> None:
        saving = self._saving
        if saving is not None:
            saving.join()
        if self._take is not None:
            self._discard("interrupted")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    # --- episodes

    def _said(self, source: Any) -> str:
        """What the person at the teleoperator said with its own keys or buttons."""
        taken = getattr(source, "take", None)
        return next((word for event, word in SAID.items() if taken is not None and taken(event)), "")

    def _start(self, session: Session) -> None:
        self.writer.begin(self.task)
        names = (session.robot.state.name, session.robot.action.name)
        rows = max(round(self.episode_time * self.fps), 1)
        self._take = Take(self.writer, self.cameras, session.loop, names, self.fps, rows)
        self.say(f"recording episode {len(self.saved) + 1} of {self.episodes}")

    def _during(self, session: Session, key: str, active: bool) -> None:
        assert self._take is not None
        if not active:
            self._discard("the robot left its motion")
            return
        if key == "again":
            self._discard("to be recorded again")
            return
        if key in ("next", "quit") or self._take.done.is_set():
            if key == "quit":
                self.episodes = len(self.saved) + 1
            self._saving = threading.Thread(target=self._save, name="rl-saver", daemon=True)
            self._saving.start()

    def _save(self) -> None:
        take = self._take
        assert take is not None
        try:
            take.finish()
            if not take.written:
                self.writer.discard()
                raise RlError("the episode has no row", where="record", todo="give --episode-time more time")
            index = self.writer.save()
            self.saved.append(index)
            self.rows += take.written
            self.say(f"saved episode {index}: {take.written} rows")
            if len(self.saved) < self.episodes and self.reset_time:
                self.say(f"put the scene back: {self.reset_time:g} s")
        except BaseException as error:  # noqa: BLE001  raised by `poll` or `end`, in the session's thread
            self._failure = error
        finally:
            self._take, self._since, self._saving = None, time.monotonic(), None

    def _discard(self, why: str) -> None:
        take, self._take = self._take, None
        self._since = time.monotonic()
        assert take is not None
        take.over.set()
        take.done.wait()
        self.writer.discard()
        if take.failure is not None and self._failure is None:
            self._failure = take.failure
        self.say(f"the open episode ({take.written} rows) is discarded: {why}")
