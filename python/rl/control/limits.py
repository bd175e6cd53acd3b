"""What an axis may do: the core's limits, and the same rules for robots that Python moves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api.protocols import Axis
from rl.control.settings import Settings

SLOW = 30.0  # deg/s: soft start, rest move, approach of a replay
JUMP = 5.0  # deg: a first setpoint farther away is approached, not followed
WATCHDOG_S = 0.1  # longest silence of a source
SHORTEST_SOFT_S = 0.3  # a soft start that is one
DEGREES = ("deg", "degrees")
RADIANS = ("rad", "radians")

Vector = NDArray[np.float64]


def soft_speed(axis: Axis) -> float:
    """The speed of approaches, axis units / s."""
    slow = {**dict.fromkeys(DEGREES, SLOW), **dict.fromkeys(RADIANS, np.radians(SLOW))}.get(axis.unit)
    return min(float(slow), axis.max_speed) if slow is not None else axis.max_speed / 8


def jump(axis: Axis) -> float:
    """How far a setpoint may lie from the pose and still be followed at once, axis units."""
    far = {**dict.fromkeys(DEGREES, JUMP), **dict.fromkeys(RADIANS, np.radians(JUMP))}.get(axis.unit)
    return float(far) if far is not None else (axis.high - axis.low) / 20


def deviation(axis: Axis) -> float:
    """How far from its goals a joint may stay before something is taken to be in its way, axis units; 0: any distance.

    A gripper closes on what it holds: its goal lies beyond the object, and its torque is limited instead. A velocity
    has no place to be.
    """
    return 0.0 if axis.unit == "percent" or axis.starve == "zero" else 4 * jump(axis)


def loosened(axes: Sequence[Axis], settings: Settings) -> list[str]:
    """What is set looser than usual, a line each: speeds of axes, the watchdog of the source, a short soft start."""
    found = [
        f"{a.name.removesuffix('.pos')} {a.max_speed:g} {a.unit}/s instead of {a.usual_speed:g}"
        for a in axes
        if a.usual_speed is not None and not a.max_speed <= a.usual_speed * (1 + 1e-9)
    ]
    if not settings.heartbeat_timeout_s <= WATCHDOG_S:
        found.append(f"a silent source is noticed after {settings.heartbeat_timeout_s:g} s instead of {WATCHDOG_S:g}")
    if not settings.soft_start_s >= SHORTEST_SOFT_S:
        found.append(f"soft start {settings.soft_start_s:g} s instead of at least {SHORTEST_SOFT_S:g}")
    return found


def core_limits(axes: Sequence[Axis]) -> Any:
    """`rl._core.Limits` of these axes."""
    from rl import _core

    def column(values: Sequence[float]) -> Vector:
        return np.asarray(values, np.float64)

    return _core.Limits(
        low=column([a.low for a in axes]),
        high=column([a.high for a in axes]),
        speed=column([a.max_speed for a in axes]),
        acceleration=column([a.max_acceleration for a in axes]),
        jerk=column([a.max_jerk for a in axes]),
        soft_speed=column([soft_speed(a) for a in axes]),
        jump=column([jump(a) for a in axes]),
        zero_on_starve=[a.starve == "zero" for a in axes],
        deviation=column([deviation(a) for a in axes]),
    )


class Limiter:
    """Position, speed and acceleration limits for a robot without a core bus, a step at a time."""

    def __init__(self, axes: Sequence[Axis], period: float) -> None:
        self.low = np.array([a.low for a in axes], np.float64)
        self.high = np.array([a.high for a in axes], np.float64)
        self.speed = np.array([a.max_speed for a in axes], np.float64)
        self.soft = np.array([soft_speed(a) for a in axes], np.float64)
        self.jump = np.array([jump(a) for a in axes], np.float64)
        self.acceleration = np.array([a.max_acceleration for a in axes], np.float64)
        self.period = period
        self.goal: Vector = np.zeros(len(axes))
        self.velocity: Vector = np.zeros(len(axes))

    def begin(self, at: Vector) -> None:
        """Motion starts here, at rest."""
        self.goal, self.velocity = np.array(at, np.float64), np.zeros(len(at))

    def step(self, wanted: Vector, *, soft: bool = False) -> Vector:
        """The goal (A,) of the next tick on the way to `wanted` (A,); never past a limit that can still be kept."""
        dt = self.period
        low, high = np.minimum(self.low, self.goal), np.maximum(self.high, self.goal)  # from outside only inward
        distance = np.clip(wanted, low, high) - self.goal
        slope = self.acceleration * dt
        brake = np.sqrt(2 * self.acceleration * np.abs(distance) + slope**2 / 4) - slope / 2
        fastest = np.minimum(self.soft if soft else self.speed, np.maximum(brake, 0))
        velocity = np.clip(distance / dt, -fastest, fastest)
        velocity = self.velocity + np.clip(velocity - self.velocity, -slope, slope)
        self.goal = np.clip(self.goal + velocity * dt, low, high)
        self.velocity = velocity
        return self.goal
