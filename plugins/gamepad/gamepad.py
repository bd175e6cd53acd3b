"""The gamepad as a teleoperator: sticks push a wished pose along; the loop decides what of it moves the arm."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rl.api import Feature, InputError, RlError
from rl.api.protocols import Axis, Intent, Snapshot
from rl.plugins.gamepad.config import JOINTS, GamepadConfig
from rl.plugins.gamepad.pad import STICKS, TRIGGERS, Pad, Touch, open_pad

LEASH = 15.0  # degrees or percent that the wish may run ahead of the arm
DEAD_MAN = "left_shoulder"
TRIGGER_BEGIN = 0.05
EVENTS = {"a": "success", "x": "rerecord", "start": "stop"}
GRIPPER = {"left_trigger": 1.0, "right_trigger": -1.0}
MOVES: dict[str, dict[str, tuple[int, float]]] = {  # control -> (which, how)
    "joints": {
        "left_x": (0, 1), "left_y": (1, -1), "right_y": (2, -1), "down": (3, 1), "up": (3, -1), "right_x": (4, 1),
    },
    "tool": {  # x y z pitch roll; base frame: x forward, y left, z up; pitch down
        "left_y": (0, -1), "left_x": (1, -1), "right_y": (2, -1), "down": (3, 1), "up": (3, -1), "right_x": (4, -1),
    },
}  # fmt: skip
TOLD = {
    "joints": "left stick pan and lift, right stick elbow and roll, cross up/down wrist",
    "tool": "left stick ahead/back and left/right, right stick up/down and roll, cross up/down tips the tool",
}
HOW = "hold the left shoulder button to move; triggers: gripper; y: joints/tool; start: end; a: leave HOLD; b: E-STOP"


class Gamepad:
    """Nothing moves unless the left shoulder button is held. b is the e-stop, always."""

    def __init__(self, config: GamepadConfig, pad: Pad | None = None) -> None:  # opens nothing
        """pad: what is read instead of the gamepad that the config names."""
        self.config, self.mode = config, config.mode
        self.action = Feature("action", "action", (6,), unit=("degrees",) * 5 + ("percent",), names=JOINTS)
        self.simulated = config.port == "sim"
        self._pad: Pad = pad or open_pad(config.port)
        self._jog: Any = None
        self._estop: Callable[[], None] | None = None
        self._before: frozenset[str] = frozenset()
        self._read_at = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What the buttons do."""
        return (*(f"gamepad, {mode}: {told}" for mode, told in TOLD.items()), f"gamepad: {HOW}")

    @property
    def recording_notes(self) -> tuple[str, ...]:
        """What they do besides while episodes are recorded."""
        return ("gamepad: a keeps the episode, x records it again",)

    @property
    def status(self) -> str:
        """The mode as it is now."""
        return f"gamepad: {self.mode}"

    def connect(self) -> None:
        """Errors: MissingPart without a gamepad."""
        if self._jog is None:
            self._pad.open()
            self._make_jog([-180.0] * 6, [180.0] * 6)

    def attach(self, axes: Sequence[Axis], estop: Callable[[], None]) -> None:
        """The robot's limits, and its e-stop."""
        self._make_jog([axis.low for axis in axes], [axis.high for axis in axes])
        self._estop = estop

    def read(self) -> Intent:
        """The wished pose now. Errors: RlError once the gamepad is gone."""
        import numpy as np

        if self._jog is None:
            raise RlError("not connected", where="gamepad", todo="call connect first")
        touch = self._pad.poll()
        if touch is None:
            raise RlError("the gamepad is gone", where="gamepad", todo="charge it, or use its cable")
        events = self._events(touch)
        if self._estop is not None and not self._jog.placed:  # a wish from nowhere would be a motion to nowhere
            raise RlError("the arm's pose is not known", where="gamepad")
        now = time.monotonic()
        moves = DEAD_MAN in touch.buttons and "e-stop" not in events
        self._push(touch if moves else Touch(), now - self._read_at if self._read_at else 0.0)
        self._read_at = now
        return Intent(self._jog.target().astype(np.float32), time.monotonic_ns(), events)

    def follow(self, snapshot: Snapshot) -> None:
        """The arm's pose: where the wish begins, and what it may not run away from."""
        if len(snapshot.values) != len(JOINTS):
            raise InputError("the robot's state is not laid out as its action", where="gamepad")
        self._jog.see(snapshot.values)

    def forget(self) -> None:
        """What was wished while the arm did not follow counts no more."""
        self._jog.forget()

    def close(self) -> None:
        """May be called twice."""
        if self._jog is not None:
            self._jog, self._read_at, self._before = None, 0.0, frozenset()
            self._pad.close()

    # --- what is touched

    def _events(self, touch: Touch) -> frozenset[str]:
        """What was pressed since the last look; the e-stop acts here, before anything else."""
        fresh = touch.buttons - self._before
        self._before = touch.buttons
        if "b" in touch.buttons:
            if self._estop is not None:
                self._estop()
            return frozenset({"e-stop"})
        if "y" in fresh:
            self.mode = "joints" if self.mode == "tool" else "tool"
        return frozenset(EVENTS[button] for button in fresh & EVENTS.keys())

    def _push(self, touch: Touch, seconds: float) -> None:
        import numpy as np

        given = deflections(touch, self.config.dead_zone)
        joints = np.zeros(len(JOINTS))
        joints[5] = self.config.gripper_speed * sum(given[name] * how for name, how in GRIPPER.items())
        wanted = np.zeros(5)
        for control, (at, how) in MOVES[self.mode].items():
            wanted[at] += how * given[control]
        if self.mode == "tool":
            turn = math.radians(self.config.speed)
            self._jog.move_tool(wanted * ([self.config.tool_speed] * 3 + [turn, turn]), joints, seconds)
        else:
            joints[:5] = wanted * self.config.speed
            self._jog.move_joints(joints, seconds)

    def _make_jog(self, low: list[float], high: list[float]) -> None:
        import numpy as np

        from rl import _core  # only a gamepad that is used pays for the core

        self._jog = _core.Jog(np.array(low), np.array(high), np.full(len(low), LEASH), "so101")


def deflections(touch: Touch, dead_zone: float) -> Mapping[str, float]:
    """Every stick, trigger and arrow as -1..1: still in the dead zone, fine near it. What is no number is still."""
    found = dict.fromkeys((*STICKS, *TRIGGERS), 0.0)
    for name in found:
        value = touch.axes.get(name, 0.0)
        edge = dead_zone if name in STICKS else TRIGGER_BEGIN
        if math.isfinite(value) and abs(value) > edge:
            way = min((abs(value) - edge) / (1 - edge), 1.0)
            found[name] = math.copysign(way * way, value) if name in STICKS else max(math.copysign(way, value), 0.0)
    return found | {arrow: float(arrow in touch.buttons) for arrow in ("up", "down", "left", "right")}
