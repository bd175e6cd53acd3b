"""The one control session: connects, checks, starts soft, runs, and ends by the stop policy, always.

Teleoperation, recording, replay and deployment differ in their source and sinks only.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from rl.api.errors import InputError, RlError, cause_of
from rl.api.protocols import Axis, Calibrated
from rl.control import guardians
from rl.control.cameras import Cameras
from rl.control.core_errors import translated
from rl.control.direct import DirectLoop
from rl.control.keys import HOW, Keys
from rl.control.limits import loosened
from rl.control.loops import JointLoop, rests, shares
from rl.control.settings import Settings

NO_REST = "warning: no rest pose is known, so this will end holding the arm under torque; rl calibrate records one"
STOPPING = "stopping; Ctrl-C again within 2 s releases at once"
STOPPING_HELD = "stopping; the arm is held, since it has no rest pose; Ctrl-C again within 2 s lets go of it"
POLL_S = 0.02
START_S = 30.0  # longest soft start: a leader that keeps moving fast is never caught
HOLD_S = 10.0  # longest HOLD that ends by itself
PERSON_S = 60.0  # longest HOLD that a person ends
OFTEN, OFTEN_S = 6, 10.0  # so many within that time are no passing matter
COUPLED_S = 1.0  # longest wait until the parts beside a fault hold
# Causes of HOLD that are over when their source is back. What else holds an arm is for a person to look at.
PASSING = frozenset({"heartbeat_lost", "starved", "state_stale", "overrun"})
ENDING = frozenset({"no_rest_pose", "second_stop"})  # a loop that ends in HOLD by itself
GO_ON = "Enter (gamepad: a) goes on, slowly, once nothing is in the way"
NOBODY = f"nobody can say here that it may go on (no terminal, no gamepad): it ends after {HOLD_S:g} s"
SECOND_S = 2.0  # a stop asked for again within this releases at once
LAST_S = 12.0  # longest wait for a latched loop that was asked once more: 8 s of rest move of the others, release
RESUME_S = 0.5  # between two requests to go on
END_S = 30.0  # longest wait for the stop policy: 8 s of rest move, 10 s of HOLD before it, release
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
HOW_TO_RELEASE = (
    "the torque is still on: hold the arm, then run rl release with the same --robot options, or switch its power off"
)


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
    """How a session went. `exit_code`: 0, 1 (a fault, torque left on), else 130 (interrupted)."""

    exit_code: int
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)  # loop -> its report
    first_goal_s: float | None = None  # from the start of the process to the first goal on the wire
    interrupted: bool = False
    loosened: tuple[str, ...] = ()  # limits that were looser than usual


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
        keys: Keys | None = None,
    ) -> None:
        """keys: of the terminal, where it belongs to this session."""
        self.robot, self.source = robot, source
        self.cameras = cameras or Cameras({})
        self.sinks, self.settings, self.say = list(sinks), settings or Settings(), say
        self.keys = keys
        self.loop: JointLoop | None = None
        self.stopping = False
        self.outcome: Outcome | None = None  # known once the robot has stopped, also when `run` raises then
        self._interrupts = 0
        self._signals: dict[int, float] = {}  # number -> when it came last
        self._connected = self._joined = self._started = self._armed = False
        self._held = self._asked = 0.0  # since when HOLD lasts; when going on was last asked for
        self._by_hand = False  # that HOLD is for a person to end
        self._holds: deque[float] = deque(maxlen=OFTEN)  # when the latest of them began
        self._faulted = 0.0  # since when a part is in FAULT
        self._ears = ExitStack()  # what hears an e-stop
        self._soft = 0.0  # since when the soft start lasts
        self._stood = 0.0  # since when a stopping session stands still
        self._told: list[str] = []
        self._stays_up = False  # a stop ends in HOLD: there is no rest pose to go to

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except RlError as failure:
            if error is None:
                raise
            self.tell(f"while closing: {failure}")  # what came before is the failure to know of

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
        """Lines for a person, each once. A terminal that is gone changes nothing."""
        for note in notes:
            if note not in self._told:
                self._told.append(note)
                with suppress(OSError):
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
        self._check_limits(axes)
        if self.settings.stop == "rest" and not rests(self.robot):
            self._stays_up = True
            self.tell(NO_REST)
        leaders = self.source.leaders() if self.source.kind == "leader" else []
        with translated():
            self.loop = JointLoop.over(self.robot, axes, self.settings, self.source.kind, leaders)
        failures: list[BaseException] = []
        handlers = self._catch_signals()
        try:
            try:
                self._begin()
                self._watch()
            except BaseException as error:  # noqa: BLE001  raised again once the arm has stopped
                failures.append(error)
            failures += self._finish(bool(failures))
        finally:
            self._ears.close()
            self._restore(handlers)
        failures = [error for error in failures if not isinstance(error, KeyboardInterrupt)]
        if failures and not self._armed:  # nothing moved: there is nothing to say of it
            raise failures[0]
        outcome = self.outcome = self._outcome()
        if failures:
            raise failures[0]
        return outcome

    def _check_limits(self, axes: Sequence[Axis]) -> None:
        """Limits may be tightened by anybody; looser ones want to be asked for."""
        looser = loosened(axes, self.settings)
        if looser and not self.settings.unsafe:
            raise InputError(
                f"looser than the usual limits: {', '.join(looser)}",
                where="limits",
                todo="tighten them (speed: the robot's max_speed), or allow it with --limits.unsafe true",
            )
        self.tell(*(f"warning: limits loosened: {line}" for line in looser))

    def request_stop(self) -> None:
        """The stop policy, from any thread; a second call within 2 s releases at once."""
        self.stopping = True
        if self.loop is not None:
            self.loop.request_stop()

    def _begin(self) -> None:
        assert self.loop is not None
        self.loop.start()
        self._started = True
        self._listen(self.loop)
        self.source.start(self.loop)
        for sink in self.sinks:
            with named(sink):
                sink.begin(self)
        if not self._interrupts:
            self._armed = True
            try:
                self.loop.arm()
            except InputError:
                if self.loop.snapshot().state != "ESTOP":  # somebody was faster: `_watch` says it
                    raise

    def _listen(self, loop: JointLoop) -> None:
        """E-stops beside the guardian's own: of loops in this process, and of the terminal."""
        if self.settings.house == "thread" or any(isinstance(member.loop, DirectLoop) for member in loop.members):
            try:
                self._ears.enter_context(guardians.stoppable(loop.estop))
            except OSError as error:
                self.tell(f"warning: rl estop does not reach this session: {error.strerror}")
        if self.keys is not None:
            self.keys.estop = loop.estop
            self._ears.enter_context(self.keys)
            if self.keys.live:
                self.tell(f"keys: {HOW}")

    @property
    def hint(self) -> str:
        """What a person may press now."""
        keys = [HOW] if self.keys is not None and self.keys.live else []
        return "; ".join([*keys, GO_ON] if self._held and self._by_hand and self._speaks() else keys)

    def _watch(self) -> None:
        """Until the loop has ended. A failure here asks for the stop policy and waits in `_finish`."""
        assert self.loop is not None
        state = ""
        while not self.loop.wait(POLL_S):
            look = self.loop.snapshot()
            if look.state != state:
                state = look.state
                if state in ("HOLD", "FAULT", "ESTOP") and not self.stopping:
                    told = [f"{state}: {look.reason}", *(text for text in look.faults if text.startswith("leader's "))]
                    self.tell("; ".join(told))
            self._check_end(look)
            self._check_start(state)
            self._check_hold(look)
            for sink in self.sinks:
                with named(sink):
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
        """HOLD is left by itself where only the source had gone: who leads goes on, at the speed of approaches. So does
        an emulated arm. After anything else, when a leader was plugged in again, or when the arm is held over and over,
        a person says so.

        A policy or a recording on hardware does not go on: what stopped it wants to be looked at.
        """
        now = time.monotonic()
        causes = {cause.name for cause in look.causes}
        if look.state != "HOLD" or self.stopping or causes & ENDING:
            self._held = 0.0
            return
        if "unguarded" in causes:  # nothing resumes that: only a session of its own has a second hand again
            raise RlError(look.reason, where="hold")
        if not self._held:
            self._held = now
            self._holds.append(now)
            self._by_hand = len(self._holds) == OFTEN and now - self._holds[0] <= OFTEN_S
            if self._by_hand:
                self.tell(f"held {OFTEN} times in {now - self._holds[0]:.0f} s: it does not go on by itself any more")
            self._goes_on()  # said before: not meant for this HOLD
        emulated = getattr(self.robot, "simulated", False)
        gone = getattr(self.source, "gone", lambda: False)
        passing = causes <= PASSING and not gone()
        self._by_hand = self._by_hand or (self.source.led and not (emulated or passing))
        if now - self._held > self._hold_at_most(emulated):
            raise RlError(look.reason or "held", where="hold")
        if self._by_hand:
            self.tell(GO_ON if self._speaks() else NOBODY)
        asks = self._goes_on() if self._by_hand else now - self._asked > RESUME_S
        if asks and (self.source.led or emulated):
            self._asked = now
            assert self.loop is not None
            self.loop.resume()

    def _hold_at_most(self, emulated: bool) -> float:
        if not (self.source.led or emulated):
            return HOLD_S / 10
        return PERSON_S if self._by_hand and self._speaks() else HOLD_S

    def _speaks(self) -> bool:
        """Whether a person can say anything, in the terminal or at the teleoperator."""
        return bool((self.keys is not None and self.keys.live) or getattr(self.source, "speaks", False))

    def _goes_on(self) -> bool:
        """Whether a person has said so, in the terminal or at the teleoperator."""
        taken = getattr(self.source, "take", lambda event: False)
        said = taken("success")
        return bool(self.keys is not None and self.keys.take("resume")) or said

    def _check_end(self, look: Any) -> None:
        """A loop that fell into FAULT or ESTOP by itself is a failure of the session, once the other parts hold."""
        if look.given_up and not self.stopping:
            raise RlError(look.reason or "the source stayed silent", where="rest")
        if look.state not in ("FAULT", "ESTOP") or self.stopping:
            return
        now = time.monotonic()
        self._faulted = self._faulted or now
        if look.state == "ESTOP" or not look.moving or now - self._faulted > COUPLED_S:
            raise RlError(look.reason or look.state, where=look.state.lower())

    def _gave_up(self, state: str) -> bool:
        """A stop that falls into FAULT or ESTOP is forgotten there. HOLD ends by itself."""
        now = time.monotonic()
        if state not in ("FAULT", "ESTOP") or not self._stood:
            self._stood = now
        return now - self._stood > 1.0

    def _finish(self, failed: bool) -> list[RlError]:
        """The stop policy is carried out, whatever came before, then source and sinks end. What of it failed."""
        motion = [("stop", partial(self._settle, failed))] if self._started else []
        ends = [(sink, partial(sink.end, self)) for sink in self.sinks]
        return attempt([*motion, ("source", self.source.stop), *ends])

    def _settle(self, failed: bool) -> None:
        assert self.loop is not None
        if failed and not self.stopping:
            if self.loop.asked:  # by one of its parts: a second request would release at once
                self.stopping = True
            else:
                self.request_stop()
        until = time.monotonic() + END_S
        while not self.loop.wait(POLL_S) and time.monotonic() < until:
            if self._gave_up(self.loop.snapshot().state):
                self._ask_again()
                return

    def _ask_again(self) -> None:
        """FAULT and ESTOP want a request of their own, so late that it is no second one: that would drop the arm."""
        assert self.loop is not None
        while time.monotonic() - self.loop.asked <= SECOND_S + 0.1:
            if self.loop.wait(POLL_S):
                return
        self.loop.request_stop()
        until = time.monotonic() + LAST_S
        while not self.loop.wait(POLL_S) and time.monotonic() < until:
            continue

    def _outcome(self) -> Outcome:
        assert self.loop is not None
        look, reports = self.loop.snapshot(), self.loop.reports()
        codes, energised, held, left = [], [], False, False
        for member in self.loop.members:
            report, state = reports[member.name], member.loop.snapshot().state
            ended = report["exit_code"] is not None
            if self.settings.stop == "hold" and ended and state == "HOLD":  # as asked: the torque is meant to be on
                held = True
                continue
            held = held or getattr(member.loop, "held", False)
            codes += [int(report["exit_code"]) if ended else 1, int(state in ("HOLD", "FAULT", "ESTOP"))]
            energised += report["still_energised"]
            left = left or getattr(member.loop, "left_energised", bool(report["still_energised"]))
        code = max([*codes, int(bool(energised))], default=0)
        left = left or held
        if energised:
            self.tell(f"still energised: {', '.join(energised)}")
        if code and (energised or look.state in ("HOLD", "FAULT", "ESTOP")):
            self.tell(f"ended in {look.state} ({look.reason}); {HOW_TO_RELEASE if left else 'the torque is off'}")
        elif held:
            self.tell(f"held, as asked; {HOW_TO_RELEASE}")
        first = (look.first_goal - process_started_ns()) / 1e9 if look.first_goal else None
        looser = tuple(loosened(self.loop.axes, self.settings))
        interrupted = bool(self._interrupts)  # which an arm that is left under torque outranks
        return Outcome(130 if interrupted and not code else code, reports, first, interrupted, looser)

    def close(self) -> None:
        """Everything is closed; may be called twice."""
        loop = [] if self.loop is None else [("loop", self.loop.close)]  # before the handles of its buses
        devices = [("source", self.source.close), ("cameras", self.cameras.close), ("robot", self.robot.close)]
        failures = attempt([("source", self.source.stop), *loop, *devices])
        if self.loop is not None:
            notes = [note for report in self.loop.reports().values() for note in report["realtime"]]
            self.tell(*(note for note in notes if note.startswith("black box")))
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
        """The first stops, the same one again within 2 s releases; a terminal that closes (SIGHUP) never does."""
        now = time.monotonic()
        again = number != getattr(signal, "SIGHUP", None) and now - self._signals.get(number, -SECOND_S) < SECOND_S
        self._signals[number] = now
        self._interrupts += 1
        if not self.stopping and (self.loop is None or not self.loop.asked):  # asked by a part that ended: enough
            self.request_stop()
        elif again and self.loop is not None:
            self.loop.request_stop("off")
        self.stopping = True
        if self._interrupts == 1:
            with suppress(OSError, RuntimeError):  # the terminal is gone, or the signal came in the midst of a print
                self.tell(STOPPING_HELD if self._stays_up else STOPPING)


@contextmanager
def named(source: object) -> Iterator[None]:
    """What is not an RlError becomes one that says where it comes from: a text, or the thing itself."""
    where = source if isinstance(source, str) else type(source).__name__.lower()
    try:
        with translated():
            yield
    except RlError:
        raise
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        raise RlError(f"{path}{error.strerror or error}", where=where) from error
    except Exception as error:
        raise RlError(cause_of(error), where=where) from error


def attempt(steps: Iterable[tuple[object, Callable[[], object]]]) -> list[RlError]:
    """Does every step, each with its name, whatever the others do; what failed, in order."""
    failures = []
    for source, work in steps:
        try:
            with named(source):
                work()
        except RlError as error:
            failures.append(error)
    return failures


def process_started_ns() -> int:
    """When this process was executed, ns of the monotonic clock, to 10 ms."""
    import os

    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    since_boot = int(fields[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    ago = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_boot
    return time.monotonic_ns() - ago
