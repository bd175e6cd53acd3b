"""The keyboard as a teleoperator: keys push a wished pose along; the loop decides what of it moves the arm."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rl.api import Feature, InputError, RlError
from rl.api.protocols import Axis, Intent, Snapshot
from rl.plugins.keyboard.config import KeyboardConfig
from rl.plugins.keyboard.keys import Decoder, Held, speeds
from rl.plugins.keyboard.terminal import Terminal

UPPER, LOWER = "qwertyuiop", "asdfghjkl;"  # above each other on the board: the upper one raises the joint
TOOL = {  # key -> (x y z pitch roll, gripper; which way); base frame: x forward, y left, z up; pitch down
    "w": (0, 1), "s": (0, -1), "up": (0, 1), "down": (0, -1),
    "a": (1, 1), "d": (1, -1), "left": (1, 1), "right": (1, -1),
    "r": (2, 1), "f": (2, -1), "k": (3, 1), "i": (3, -1), "l": (4, 1), "j": (4, -1), "o": (5, 1), "c": (5, -1),
}  # fmt: skip
EVENTS = {"enter": "success", "backspace": "rerecord", "x": "stop"}
HOW = "space: E-STOP; x: end; + -: speed; enter: leave HOLD"
HOW_TOOL = "w s ahead/back, a d left/right, r f up/down, i k tip up/down, j l roll, o c gripper"
FASTER, SLOWEST, FASTEST = 1.5, 0.1, 4.0
LEASH = 15.0  # degrees or percent that the wish may run ahead of the arm
POLL_S = 0.5


class Keyboard:
    """Keys move while they are held; a key that is not heard of for 0.15 s is released.

    The wish begins at the arm's own pose (`follow`) and never runs farther ahead of it than 15 degrees or percent.
    """

    def __init__(self, config: KeyboardConfig) -> None:  # opens nothing
        self.config, self.mode, self.pace = config, config.mode, 1.0
        names = config.joints
        self.grippers = [name.rpartition("gripper")[1] != "" for name in names]
        units = tuple("percent" if gripper else config.units for gripper in self.grippers)
        self.action = Feature("action", "action", (len(names),), unit=units, names=names)
        self.simulated = config.port == "sim"
        self._terminal: Terminal | None = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._failure: RlError | None = None
        self._held, self._events = Held(), deque[str]()  # the reading thread fills both
        self._jog: Any = None
        self._estop: Callable[[], None] | None = None
        self._read_at = 0.0
        self._chosen = 0  # the joint that the arrows move

    @property
    def notes(self) -> tuple[str, ...]:
        """What the keys do, in either mode."""
        pairs = ", ".join(f"{UPPER[at]} {LOWER[at]} {joint}" for at, joint in enumerate(self._joints()))
        joints = f"keyboard, joints: {pairs}; or a digit and the arrows"
        if not self.config.by_tool:
            return (joints, f"keyboard: {HOW}")
        return (joints, f"keyboard, tool: {HOW_TOOL}", f"keyboard: {HOW}; tab: joints/tool")

    @property
    def recording_notes(self) -> tuple[str, ...]:
        """What they do besides while episodes are recorded."""
        return ("keyboard: enter keeps the episode, backspace records it again",)

    @property
    def status(self) -> str:
        """Mode and speed as they are now."""
        gripper = f"gripper {self.config.gripper_speed * self.pace:.0f} %/s"
        if self.mode == "tool":
            return f"keyboard: tool, {self.config.tool_speed * self.pace * 1e3:.0f} mm/s, {gripper}"
        unit = "deg/s" if self.config.units == "degrees" else "units/s"
        arrows = f"arrows: {self._joints()[self._chosen]}"
        return f"keyboard: joints, {self.config.speed * self.pace:.0f} {unit}, {gripper}; {arrows}"

    def _joints(self) -> list[str]:
        return [name.removesuffix(".pos") for name in self.config.joints]

    def connect(self) -> None:
        """Errors: MissingPart without a terminal."""
        if self._jog is not None:
            return
        if not self.simulated:
            terminal = Terminal(self.config.port)
            terminal.open()
            self._terminal = terminal
            self._over.clear()
            self._thread = threading.Thread(target=self._listen, args=(terminal,), name="rl-keyboard", daemon=True)
            self._thread.start()
        self._make_jog([-180.0] * len(self.grippers), [180.0] * len(self.grippers), [LEASH] * len(self.grippers))

    def attach(self, axes: Sequence[Axis], estop: Callable[[], None]) -> None:
        """The robot's limits, and its e-stop, which the reading thread calls by itself."""
        rolling = [axis.name for axis in axes if axis.starve == "zero"]
        if rolling:
            raise InputError(f"{', '.join(rolling)} is a velocity: keys move joints only", where="keyboard")
        spans = [axis.high - axis.low for axis in axes]
        known = [unit in ("degrees", "percent") for unit in self.action.units]
        leash = [LEASH if ours else span / 15 for ours, span in zip(known, spans, strict=True)]
        self._make_jog([axis.low for axis in axes], [axis.high for axis in axes], leash)
        self._estop = estop

    def read(self) -> Intent:
        """The wished pose now. Errors: RlError once the terminal is gone."""
        import numpy as np

        if self._jog is None:
            raise RlError("not connected", where="keyboard", todo="call connect first")
        if self._failure is not None:
            raise self._failure
        if self._estop is not None and not self._jog.placed:  # a wish from nowhere would be a motion to nowhere
            raise RlError("the arm's pose is not known", where="keyboard")
        now = time.monotonic()
        self._push(now, now - self._read_at if self._read_at else 0.0)
        self._read_at = now
        events = frozenset(self._events.popleft() for _ in range(len(self._events)))
        return Intent(self._jog.target().astype(np.float32), time.monotonic_ns(), events)

    def follow(self, snapshot: Snapshot) -> None:
        """The arm's pose: where the wish begins, and what it may not run away from."""
        if len(snapshot.values) != len(self.grippers):
            raise InputError("the robot's state is not laid out as its action", where="keyboard")
        self._jog.see(snapshot.values)

    def forget(self) -> None:
        """What was wished while the arm did not follow counts no more."""
        self._jog.forget()

    def close(self) -> None:
        """The terminal is as it was before; may be called twice."""
        self._over.set()
        terminal, self._terminal = self._terminal, None
        if terminal is not None:
            terminal.wake()
            if self._thread is not None:
                self._thread.join(timeout=2.0)
            terminal.close()
        self._jog, self._thread, self._failure, self._read_at = None, None, None, 0.0
        self._held.release_all()

    # --- keys

    def _listen(self, terminal: Terminal) -> None:
        """The reading thread: an e-stop does not wait for whoever reads poses."""
        decoder = Decoder()
        try:
            while not self._over.is_set():
                typed = terminal.wait(POLL_S)
                if not typed:
                    decoder.quiet()
                for key in decoder.feed(typed):
                    self._heard(key)
        except RlError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001  kept for `read`: a keyboard that is deaf to its e-stop leads nobody
            self._failure = RlError(f"{type(error).__name__}: {error}", where="keyboard")

    def _heard(self, key: str) -> None:
        if key == "space":
            if self._estop is not None:
                self._estop()  # first of all
            self._held.release_all()
            self._events.append("e-stop")
        elif key in EVENTS:
            self._events.append(EVENTS[key])
        elif key == "tab" and self.config.by_tool:
            self._held.release_all()
            self.mode = "joints" if self.mode == "tool" else "tool"
        elif key in "+=-_":
            self.pace = min(max(self.pace * (FASTER if key in "+=" else 1 / FASTER), SLOWEST), FASTEST)
        elif key.isdigit() and self.mode == "joints":
            self._chosen = min(max(int(key) - 1, 0), len(self.grippers) - 1)
        else:
            self._held.press(key, time.monotonic())

    def _push(self, now: float, seconds: float) -> None:
        held = self._held.at(now)
        if self.mode == "tool":
            self._push_tool(held, seconds)
            return
        pairs = {key: (at, 1.0) for at, key in enumerate(UPPER[: len(self.grippers)])}
        pairs |= {key: (at, -1.0) for at, key in enumerate(LOWER[: len(self.grippers)])}
        pairs |= {"up": (self._chosen, 1.0), "right": (self._chosen, 1.0)}
        pairs |= {"down": (self._chosen, -1.0), "left": (self._chosen, -1.0)}
        wanted = speeds(held, pairs, len(self.grippers))
        self._jog.move_joints(self._scaled(wanted), seconds)

    def _push_tool(self, held: set[str], seconds: float) -> None:
        import numpy as np

        wanted = speeds(held, TOOL, 6)
        turn = math.radians(self.config.speed)
        scale = self.pace * np.array([self.config.tool_speed] * 3 + [turn, turn])
        others = np.zeros(len(self.grippers))
        others[-1] = wanted[5]
        self._jog.move_tool(np.array(wanted[:5]) * scale, self._scaled(others), seconds)

    def _scaled(self, wanted: Any) -> Any:
        import numpy as np

        each = [self.config.gripper_speed if gripper else self.config.speed for gripper in self.grippers]
        return np.asarray(wanted, np.float64) * np.array(each) * self.pace

    def _make_jog(self, low: list[float], high: list[float], leash: list[float]) -> None:
        import numpy as np

        from rl import _core  # only a keyboard that is used pays for the core

        arm = "so101" if self.config.by_tool else ""
        self._jog = _core.Jog(np.array(low), np.array(high), np.array(leash), arm)
