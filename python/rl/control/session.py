"""The one control session: connects, checks, starts soft, runs, and ends by the stop policy, always.

Teleoperation, recording, replay and deployment differ in their source and sinks only.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from rl.api.errors import RlError
from rl.api.protocols import Calibrated
from rl.control.cameras import Cameras
from rl.control.loops import JointLoop, shares, translated
from rl.control.settings import Settings

POLL_S = 0.02
START_S = 30.0  # longest soft start: a leader that keeps moving fast is never caught
HOLD_S = 10.0  # longest HOLD that may be left again
RESUME_S = 0.5  # between two requests to go on
END_S = 30.0  # longest wait for the stop policy: 8 s of rest move, 10 s of HOLD before it, release
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
HOW_TO_RELEASE = "the torque is still on: hold the arm, then switch its power off, or run again with --stop off"


class Sink(Protocol):
    """Watches a session. None of these calls may take long: they run in the session's own thread."""

    def begin(self, session: Session) -> None:
        """The loop runs; nothing moves yet."""

    def poll(self, session: Session) -> None:
        """Some 50 times a second."""

    def end(self, session: Session) -> None:
        """The robot has come to its end; called after failures too."""


@dataclass
class Outcome:
    """How a session went. `exit_code`: 0, 1 (a fault, torque left on), 130 (interrupted)."""

    exit_code: int
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)  # loop -> its report
    first_goal_s: float | None = None  # from the start of the process to the first goal on the wire
    interrupted: bool = False


class Session:
    """One robot, one source, any number of sinks.

    with Session(robot, source, cameras) as session:
        session.connect()   # everything is open and known; nothing is energised
        session.run()       # soft start ... stop policy
    """

    def __init__(
        self,
        robot: Any,
        source: Any,
        cameras: Cameras | None = None,
        sinks: Sequence[Sink] = (),
        settings: Settings | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.robot, self.source = robot, source
        self.cameras = cameras or Cameras({})
        self.sinks, self.settings, self.say = list(sinks), settings or Settings(), say
        self.loop: JointLoop | None = None
        self.stopping = False
        self._interrupts = 0
        self._connected = self._joined = False
        self._held = self._asked = 0.0  # since when HOLD lasts; when going on was last asked for
        self._soft = 0.0  # since when the soft start lasts
        self._stood = 0.0  # since when a stopping session stands still
        self._told: list[str] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- before motion

    def connect(self) -> None:
        """Robot and cameras side by side, then the source. Errors: RlError with its exit code."""
        failures: list[BaseException] = []

        def cameras() -> None:
            try:
                self.cameras.open()
            except BaseException as error:  # noqa: BLE001  raised below, in the session's thread
                failures.append(error)

        beside = threading.Thread(target=cameras, name="rl-cameras")
        beside.start()
        try:
            with translated():
                self.robot.connect()
        finally:
            beside.join()
        if failures:
            raise failures[0]
        self._connected = True
        self.tell(*getattr(self.robot, "notes", ()), *self.cameras.notes)

    def join(self) -> None:
        """Opens the source; its actions must be the robot's."""
        with translated():
            self.source.connect(self.robot.action)
        if self.source.kind == "leader" and shares(self.robot):
            self.source.use_thread()
        self._joined = True
        self.tell(*self.source.notes)

    def tell(self, *notes: str) -> None:
        """Lines for a person, each once."""
        for note in notes:
            if note not in self._told:
                self._told.append(note)
                self.say(note)

    @property
    def fingerprint(self) -> str:
        """Of the robot's calibration; '' when it has none."""
        return self.robot.fingerprint() if isinstance(self.robot, Calibrated) else ""

    # --- motion

    def run(self) -> Outcome:
        """Returns when the robot has stopped. Errors: what source, sink or robot failed of, after the stop."""
        if not self._connected:
            self.connect()
        if not self._joined:
            self.join()
        axes = getattr(self.robot, "leader_axes", self.robot.axes) if self.source.led else self.robot.axes
        leaders = self.source.leaders() if self.source.kind == "leader" else []
        self.loop = JointLoop.over(self.robot, axes, self.settings, self.source.kind, leaders)
        failure: BaseException | None = None
        handlers = self._catch_signals()
        try:
            self._begin()
            self._watch()
        except BaseException as error:  # noqa: BLE001  raised again once the arm has stopped
            failure = error
        finally:
            self._finish(failure)
            self._restore(handlers)
        outcome = self._outcome()
        if failure is not None and not isinstance(failure, KeyboardInterrupt):
            raise failure
        return outcome

    def request_stop(self) -> None:
        """The stop policy, from any thread; a second call within 2 s releases at once."""
        self.stopping = True
        if self.loop is not None:
            self.loop.request_stop()

    def _begin(self) -> None:
        assert self.loop is not None
        self.loop.start()
        self.source.start(self.loop)
        for sink in self.sinks:
            sink.begin(self)
        if not self._interrupts:
            self.loop.arm()

    def _watch(self) -> None:
        """Until the loop has ended. A failure here asks for the stop policy and waits in `_finish`."""
        assert self.loop is not None
        state = ""
        while not self.loop.wait(POLL_S):
            look = self.loop.snapshot()
            if look.state != state:
                state = look.state
                if state in ("HOLD", "FAULT", "ESTOP") and not self.stopping:
                    self.tell(f"{state}: {look.reason}")
            self._check_end(look)
            self._check_start(state)
            self._check_hold(look)
            for sink in self.sinks:
                sink.poll(self)
            if self.source.poll() and not self.stopping:
                self.request_stop()
            if self.stopping and self._gave_up(state):
                return
        self._check_end(self.loop.snapshot())

    def _check_start(self, state: str) -> None:
        """A soft start that never catches its source is a failure, not a wait without end."""
        now = time.monotonic()
        self._soft = (self._soft or now) if state == "SOFT_START" else 0.0
        if self._soft and now - self._soft > START_S:
            raise RlError(f"the source was not caught within {START_S:g} s", where="soft start", todo="move it slowly")

    def _check_hold(self, look: Any) -> None:
        """HOLD is left by a fresh source: a person who leads (or an emulated arm) goes on, at the speed of approaches.

        A policy or a recording on hardware does not go on by itself: what stopped it wants to be looked at.
        """
        now = time.monotonic()
        if look.state != "HOLD" or self.stopping:
            self._held = 0.0
            return
        self._held = self._held or now
        again = self.source.led or getattr(self.robot, "simulated", False)
        if now - self._held > (HOLD_S if again else HOLD_S / 10):
            raise RlError(look.reason or "held", where="hold")
        if again and now - self._asked > RESUME_S:
            self._asked = now
            assert self.loop is not None
            self.loop.resume()

    def _check_end(self, look: Any) -> None:
        """A loop that fell into FAULT or ESTOP by itself is a failure of the session."""
        if look.state in ("FAULT", "ESTOP") and not self.stopping:
            raise RlError(look.reason or look.state, where=look.state.lower())

    def _gave_up(self, state: str) -> bool:
        """A stop that ends in HOLD (no rest pose), FAULT or ESTOP is over when it stands still."""
        now = time.monotonic()
        if state not in ("HOLD", "FAULT", "ESTOP") or not self._stood:
            self._stood = now
        return now - self._stood > 1.0

    def _finish(self, failure: BaseException | None) -> None:
        """The stop policy is carried out, whatever came before."""
        assert self.loop is not None
        try:
            if failure is not None and not self.stopping:
                self.request_stop()
            until = time.monotonic() + END_S
            if failure is not None:
                while not self.loop.wait(POLL_S) and time.monotonic() < until:
                    if self._gave_up(self.loop.snapshot().state):
                        break
        finally:
            self.source.stop()
            self._end_sinks()

    def _end_sinks(self) -> None:
        failures = []
        for sink in self.sinks:
            try:
                sink.end(self)
            except RlError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _outcome(self) -> Outcome:
        assert self.loop is not None
        look, reports = self.loop.snapshot(), self.loop.reports()
        code = max(int(report["exit_code"]) for report in reports.values())
        if look.state in ("HOLD", "FAULT", "ESTOP") and self.settings.stop != "hold":
            code = max(code, 1)
            self.tell(f"ended in {look.state} ({look.reason}); {HOW_TO_RELEASE}")
        for report in reports.values():
            for joint in report["still_energised"]:
                code = max(code, 1)
                self.tell(f"still energised: {joint}")
        first = (look.first_goal - process_started_ns()) / 1e9 if look.first_goal else None
        return Outcome(130 if self._interrupts else code, reports, first, bool(self._interrupts))

    def close(self) -> None:
        """Everything is closed; may be called twice."""
        failures: list[RlError] = []
        loop = [] if self.loop is None else [self.loop.close]  # before the handles of its buses
        for close in (self.source.stop, *loop, self.source.close, self.cameras.close, self.robot.close):
            try:
                with translated():
                    close()
            except RlError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    # --- signals

    def _catch_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}
        known = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        return {number: signal.signal(number, self._on_signal) for number in known}

    def _restore(self, handlers: dict[int, Any]) -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        self.request_stop()  # the core takes a second one within 2 s as: off, now
        if self._interrupts == 1:
            self.tell("stopping; press Ctrl-C again to release at once")


def process_started_ns() -> int:
    """When this process was executed, ns of the monotonic clock, to 10 ms."""
    import os

    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    since_boot = int(fields[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    ago = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_boot
    return time.monotonic_ns() - ago
