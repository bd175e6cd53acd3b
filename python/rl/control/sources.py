"""Where set points come from: a leader on a core bus, any teleoperator, a policy, a recorded episode.

A source says which kind of input the loop has (`kind`), starts and stops its threads, and keeps its own failure for the
session to find: a thread that dies must end the session by its stop policy, not in silence.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rl.api.errors import InputError, RlError
from rl.api.features import Feature, Features
from rl.api.protocols import Attaches
from rl.control.cameras import Cameras
from rl.control.core_errors import translated
from rl.control.fit import unit

OLD_NS = 400_000_000  # the core refuses chunks whose observation is older than 500 ms
LOOKS = 2  # observations kept for each policy period
BEHIND_NS = 5_000_000  # the loop shows a reading some ms after it was taken
TOO_OLD = 5  # chunks in a row that the core refused as too old
BEAT_S = 0.02  # between two signs of life; the watchdog waits 0.1
STUCK_S, STUCK = 2.0, 5  # an inference that takes longer, and so many times as long as any before, hangs
# Rows are due so many reads later: the loop then has one before and one after its tick, and goes straight from one to
# the other. Taken as they come, two clocks of one rate give it none and two in turn: half the speed, then double.
AHEAD = 1.25
FOLLOWED = ("SOFT_START", "ACTIVE")  # states in which the arm goes where it is led
READ_HZ = 50.0  # a teleoperator is read at least so often: at 10 Hz its signs of life would come too late
Chunk = NDArray[np.float32]


class Source(Protocol):
    """What moves the robot."""

    kind: Literal["leader", "setpoints", "chunks"]
    led: bool  # by a person: the faster limits hold
    notes: tuple[str, ...]

    def connect(self, action: Feature) -> None:
        """Opens devices; InputError when its actions are not the robot's."""

    def leaders(self) -> list[tuple[slice, Any]]: ...
    def start(self, loop: Any) -> None:
        """The loop runs, disarmed."""

    def poll(self) -> bool:
        """True when there is nothing more to give. Errors: what its threads died of."""

    def stop(self) -> None: ...
    def close(self) -> None: ...


class Threads:
    """Threads of a source with one end and the first failure of any."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.failure: BaseException | None = None
        self.broken = False  # one has failed, told or not
        self._threads: list[threading.Thread] = []

    def run(self, name: str, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                with translated():
                    work()
            except BaseException as error:  # noqa: BLE001  kept, and raised in the session's thread
                self.failure, self.broken = self.failure or error, True

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def check(self) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def stop(self, timeout_s: float = 2.0) -> None:
        patience = 0.0 if self.over.is_set() else timeout_s  # who was waited for once is not waited for again
        self.over.set()
        for thread in self._threads:
            thread.join(patience)
        self._threads = [thread for thread in self._threads if thread.is_alive()]

    @property
    def alive(self) -> bool:
        """Whether one still runs."""
        return any(thread.is_alive() for thread in self._threads)


def check_actions(given: Feature, wanted: Feature, what: str) -> None:
    """InputError with both lists when the elements or their units differ."""
    units = [[unit(one) for one in feature.units] for feature in (given, wanted)]
    if given.names == wanted.names and units[0] == units[1] and given.shape == wanted.shape:
        return
    arms = [
        name.removesuffix(f"_{one}") for name in wanted.names for one in given.names[:1] if name.endswith(f"_{one}")
    ]
    if len(arms) > 1 and len(wanted.names) == len(arms) * len(given.names):
        raise InputError(
            f"{what} leads one arm, the robot has {len(arms)}: {', '.join(arms)}",
            where="actions",
            todo=f"lead each by a leader arm (--teleop.arms.{arms[0]}.port ...), or all by scripted (--teleop.joints)",
        )
    raise InputError(
        f"{what} gives {described(given)}, the robot takes {described(wanted)}",
        where="actions",
        todo="use the same units, and a device with the same joints (keyboard and scripted: --teleop.joints)",
    )


def described(feature: Feature) -> str:
    """'[shoulder_pan.pos degrees, ...]': elements with their units."""
    names = feature.names or tuple(str(i) for i in range(feature.shape[0]))
    return "[" + ", ".join(f"{n} {u}" for n, u in zip(names, feature.units, strict=True)) + "]"


class LeaderSource:
    """A teleoperator. On core buses leader to follower stays inside the core; otherwise a thread reads it."""

    led = True

    def __init__(self, teleoperator: Any, rate: float = 50.0) -> None:
        self.teleoperator, self.rate = teleoperator, rate
        self.kind: Literal["leader", "setpoints"] = "setpoints"
        self.events: set[str] = set()
        self._threads = Threads()

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(getattr(self.teleoperator, "notes", ()))

    def connect(self, action: Feature) -> None:
        check_actions(self.teleoperator.action, action, "the teleoperator")
        self.teleoperator.connect()
        driven = {i for span, _ in self.leaders() for i in range(span.start, span.stop)}
        if driven == set(range(action.shape[0])):
            self.kind = "leader"

    def leaders(self) -> list[tuple[slice, Any]]:
        return list(self.teleoperator.core()) if hasattr(self.teleoperator, "core") else []

    def use_thread(self) -> None:
        """The robot is not on the core: set points go through Python."""
        self.kind = "setpoints"

    def start(self, loop: Any) -> None:
        if isinstance(self.teleoperator, Attaches):
            self.teleoperator.attach(loop.axes, loop.estop)
        if self.kind == "setpoints":
            self._threads.run("rl-teleoperator", lambda: self._read(loop))

    def poll(self) -> bool:
        self._threads.check()
        return "stop" in self.events

    @property
    def speaks(self) -> bool:
        """Whether a person has keys or buttons there."""
        return isinstance(self.teleoperator, Attaches)

    def gone(self) -> bool:
        """Whether the port of a leader has vanished: it was unplugged."""
        return any(not Path(bus.port).exists() for _, bus in self.leaders())

    def take(self, event: str) -> bool:
        """Whether a person said this since it was last asked for."""
        said = event in self.events
        self.events.discard(event)
        return said

    def stop(self) -> None:
        self._threads.stop()

    def close(self) -> None:
        self._threads.stop()
        self.teleoperator.close()

    def _read(self, loop: Any) -> None:
        due, period = time.monotonic(), 1 / max(self.rate, READ_HZ)
        while not self._threads.over.is_set():
            look = loop.snapshot()
            if look.state not in FOLLOWED and isinstance(self.teleoperator, Attaches):
                self.teleoperator.forget()
            self.teleoperator.follow(look.as_snapshot())  # first: who jogs begins at the arm's own pose
            intent = self.teleoperator.read()
            self.events |= intent.events
            if "e-stop" in intent.events:
                loop.estop()
            if (
                loop.push_setpoint(np.asarray(intent.values, np.float64), intent.captured + round(AHEAD * period * 1e9))
                == ""
            ):
                loop.heartbeat()  # only what was taken is a sign of life
            due += period
            self._threads.over.wait(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - period)


class PolicySource:
    """An inference worker beside the loop: snapshot and newest pictures in, chunks stamped with their time out.

    The thread that pushes the chunks gives the signs of life, also while it waits for the worker: one that is late is
    starvation. One that hangs is none: then the signs of life end, whatever is still due.

    infer(observation, at) -> (Ta, A) in robot units; row k is due k / fps after `at`. The next inference starts so
    early that its chunk is there when `execute` rows of the last one are used up, by the latency measured so far.

    A policy that looks back (`depth` rows before now) sees what there was between its inferences too, row by row at its
    own rate, as in training: `remember(observation, at)` is told of each in order.
    """

    kind: Literal["chunks"] = "chunks"
    led = False

    def __init__(
        self,
        infer: Callable[[Mapping[str, Any], int], Chunk],
        *,
        inputs: Features,
        cameras: Cameras,
        fps: float,
        execute: int,
        rename: Mapping[str, str] | None = None,
        task: str = "",
        patient: bool = False,
        ready: Callable[[], None] = lambda: None,
        depth: int = 0,
        remember: Callable[[Mapping[str, Any], int], None] = lambda observation, at: None,
    ) -> None:
        self.depth, self.remember = depth, remember
        self._seen: deque[tuple[int, Mapping[str, Any]]] = deque(maxlen=LOOKS * (depth + 2))
        self.ready = ready  # waits until `infer` may be called, or says why it may not
        self.infer, self.inputs, self.cameras = infer, inputs, cameras
        self.period, self.execute = round(1e9 / fps), execute
        self.rename, self.task = dict(rename or {}), task  # camera feature -> the policy's name of it
        self.patient = patient  # an emulated arm also takes what comes later than the core allows on hardware
        self.notes: tuple[str, ...] = ()
        self.inferences = self._too_old = 0
        self.refused: dict[str, int] = {}
        self._latencies: deque[int] = deque(maxlen=32)
        self._longest = 0.0  # s
        self._asked: queue.SimpleQueue[Callable[[], Chunk] | None] = queue.SimpleQueue()
        self._given: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        self._threads = Threads()

    def connect(self, action: Feature) -> None:
        self.cameras.wait()

    def leaders(self) -> list[tuple[slice, Any]]:
        return []

    def start(self, loop: Any) -> None:
        self.ready()
        if self.depth:
            self._threads.run("rl-history", lambda: self._look(loop))
        self._threads.run("rl-inference", self._serve)
        self._threads.run("rl-policy", lambda: self._work(loop))

    def poll(self) -> bool:
        self._threads.check()
        return False

    def stop(self) -> None:
        self._asked.put(None)
        self._threads.stop(timeout_s=10.0)  # an inference that runs is waited for

    @property
    def running(self) -> bool:
        """Whether an inference still runs: its runtime may not be closed yet."""
        return self._threads.alive

    def close(self) -> None:
        self.stop()

    @property
    def latency_ms(self) -> tuple[float, float]:
        """Median and largest of the last 32 inferences."""
        seen = np.array(self._latencies or [0]) / 1e6
        return float(np.median(seen)), float(seen.max())

    def observe(self, snapshot: Any) -> dict[str, Any]:
        """The observation that the policy gets: (S,) float32 in robot units, pictures (H, W, 3) uint8."""
        frames = self.cameras.newest(snapshot) if self.cameras.cameras else {}
        found: dict[str, Any] = {self.rename.get(name, name): frame.image for name, frame in frames.items()}
        for name, feature in self.inputs.items():
            if feature.kind == "state":
                found[name] = np.asarray(snapshot.values, np.float32)
        if self.task:
            found["task"] = self.task
        return found

    def lead(self) -> int:
        """How long before its rows are needed an inference starts, ns: the 95th part of the latencies, and one row."""
        if not self._latencies:
            return self.period
        return int(np.quantile(np.array(self._latencies), 0.95)) + self.period

    def _serve(self) -> None:
        """The worker: one inference after another, as they are asked for."""
        while (work := self._asked.get()) is not None:
            self._given.put(work())

    def _rest(self, loop: Any, until: int) -> bool:
        """Gives signs of life until that instant, ns. False when the source is to end."""
        while (left := (until - time.monotonic_ns()) / 1e9) > 0:
            if self._threads.over.wait(min(left, BEAT_S)):
                return False
            if not self._threads.broken:
                loop.heartbeat()
        return not self._threads.over.is_set()

    def _inferred(self, loop: Any, observation: Mapping[str, Any], at: int) -> Chunk | None:
        """What the worker makes of it; None when the source is to end."""
        begun = time.monotonic()
        self._asked.put(lambda: self.infer(observation, at))
        while not self._threads.over.is_set() and not self._threads.broken:
            try:
                chunk = self._given.get(timeout=BEAT_S)
            except queue.Empty:
                if time.monotonic() - begun < max(STUCK_S, STUCK * self._longest):
                    loop.heartbeat()
                continue
            self._longest = max(self._longest, time.monotonic() - begun)
            return chunk
        return None

    def _look(self, loop: Any) -> None:
        """Observations twice a policy period, also while an inference runs: an inference begins at any instant, and
        the row that it takes for one a period ago is then no more than a quarter off. The grid begins a moment behind
        a reading of the loop, so that two looks do not now and then fall on the same side of a reading."""
        due, step = 0, self.period // LOOKS
        while not self._threads.over.wait(max(0.0, (due - time.monotonic_ns()) / 1e9)):
            snapshot = loop.snapshot()
            now = time.monotonic_ns()
            at = int(snapshot.captured) or now
            self._seen.append((at, self.observe(snapshot.as_snapshot())))
            due = due + step if now < due + step else at + step + BEHIND_NS

    def _recall(self, now: int) -> None:
        while self._seen and self._seen[0][0] < now:
            at, observation = self._seen.popleft()
            self.remember(observation, at)

    def _work(self, loop: Any) -> None:
        due = 0
        while self._rest(loop, due):
            snapshot = loop.snapshot()
            begun = time.monotonic_ns()
            armed = snapshot.state != "DISARMED"  # before, one inference warms up: its chunk would be dropped
            if not armed and self.inferences:
                due = begun + round(BEAT_S * 1e9)
                continue
            at = int(snapshot.captured) or begun
            self._recall(at)
            chunk = self._inferred(loop, self.observe(snapshot.as_snapshot()), at)
            if chunk is None:
                return
            self.inferences += 1
            self._latencies.append(time.monotonic_ns() - begun)
            if not armed:
                continue
            gone = self._gone(at, len(chunk))
            refusal = loop.push_chunk(at + gone * self.period, self.period, chunk[gone:])
            self._judge(refusal)
            due = at + max(self.execute * self.period - self.lead(), self.period)

    def _gone(self, at: int, rows: int) -> int:
        """Rows to leave out because their instants have passed; the others stay due exactly when they were."""
        behind = time.monotonic_ns() - at
        if not self.patient or behind < OLD_NS:
            return 0
        return min(int(behind // self.period), rows - 1)

    def _judge(self, refusal: str) -> None:
        """A chunk that the core refused is counted; what can only go on like that is an error."""
        self._too_old = self._too_old + 1 if refusal == "stale" else 0
        if refusal:
            self.refused[refusal] = self.refused.get(refusal, 0) + 1
        if refusal == "not-finite":
            raise RlError("the policy gave a number that is none (NaN or infinite)", where="policy")
        if self._too_old >= TOO_OLD:
            raise RlError(
                f"an inference takes {self.latency_ms[0]:.0f} ms: its actions are too old when they come (500 ms)",
                where="policy",
                todo="free the machine, use a faster device, or a policy with smaller pictures",
            )


class EpisodeSource:
    """A recorded episode: its first action is approached slowly, then its actions follow at their rate."""

    kind: Literal["chunks"] = "chunks"
    led = False
    notes: tuple[str, ...] = ()

    LONG = 60_000_000_000  # ns that the first action stays due while it is approached
    LEAD = 200_000_000  # ns between the push and the first row
    WINDOW = 256  # rows pushed at once; the core takes up to 512

    def __init__(self, actions: NDArray[np.float32], fps: float) -> None:
        """actions: (T, A) in robot units."""
        if actions.ndim != 2 or not len(actions):
            raise InputError("the episode holds no actions", where="replay")
        if not np.isfinite(actions).all():
            raise InputError("the episode holds an action that is no number", where="replay")
        self.actions, self.period = np.ascontiguousarray(actions, np.float32), round(1e9 / fps)
        self.began = 0  # ns of row 0 once it plays
        self._threads = Threads()

    def connect(self, action: Feature) -> None:
        if self.actions.shape[1] != action.shape[0]:
            raise InputError(f"the episode has {self.actions.shape[1]} values an action, the robot {action.shape[0]}")

    def leaders(self) -> list[tuple[slice, Any]]:
        return []

    def start(self, loop: Any) -> None:
        self._threads.run("rl-episode", lambda: self._play(loop))

    def poll(self) -> bool:
        self._threads.check()
        return bool(self.began) and time.monotonic_ns() >= self.began + (len(self.actions) - 1) * self.period

    def stop(self) -> None:
        self._threads.stop()

    def close(self) -> None:
        self._threads.stop()

    def _play(self, loop: Any) -> None:
        first = np.repeat(self.actions[:1], 2, axis=0)
        said = False
        while not self._threads.over.wait(BEAT_S):
            loop.heartbeat()
            state = loop.snapshot().state
            if state in FOLLOWED and not said:  # what comes before the arm is armed is dropped
                self._push(loop, time.monotonic_ns(), self.LONG, first)
                said = True
            if state == "ACTIVE":
                break
        began, pushed = time.monotonic_ns() + self.LEAD, 0
        self.began = began
        while not self._threads.over.is_set():
            now = time.monotonic_ns()
            row = max(int((now - began) // self.period), 0)
            if pushed < len(self.actions) and row >= pushed - self.WINDOW // 2:
                begin = max(row, 0)
                self._push(loop, began + begin * self.period, self.period, self.actions[begin : begin + self.WINDOW])
                pushed = begin + self.WINDOW
            loop.heartbeat()
            self._threads.over.wait(BEAT_S)

    def _push(self, loop: Any, observed: int, period: int, rows: Chunk) -> None:
        refusal = loop.push_chunk(observed, period, np.ascontiguousarray(rows))
        if refusal:
            raise RlError(f"the core refused actions of the episode: {refusal}", where="replay")
