"""The SO-101 follower. Everything that moves it is in the core; this says what the core should drive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from rl.api import InputError, RlError
from rl.api.protocols import Axis, Snapshot
from rl.plugins.so101 import NAMES
from rl.plugins.so101.arm import Arm, OnArm, feature
from rl.plugins.so101.config import So101Config

if TYPE_CHECKING:
    from rl.api.protocols import Array

POLICY_SPEED, LEADER_SPEED, GRIPPER_SPEED = (
    240.0,
    300.0,
    350.0,
)  # deg/s, deg/s, %/s: below the servo's own no-load speed
ACCELERATION, JERK = 4_000.0, 100_000.0  # deg/s^2, deg/s^3; recorded teleoperation stays below at p99
MARGIN = 0.01  # of the range, at each end


class So101(OnArm):
    """Six joints over one bus of the core. Features are known before connecting; `axes` follow the calibration."""

    def __init__(self, config: So101Config) -> None:  # touches no hardware
        self.config = config
        self.state = feature("observation.state", "state", config.units)
        self.action = feature("action", "action", config.units)
        self._arm = Arm(config, leader=False)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Limits for policies and recordings."""
        return self._axes(POLICY_SPEED)

    @property
    def leader_axes(self) -> tuple[Axis, ...]:
        """Limits while a person leads: faster."""
        return self._axes(LEADER_SPEED)

    @property
    def robot_type(self) -> str:
        """What data sets call this arm: LeRobot's name."""
        return "so101_follower"

    def snapshot(self) -> Snapshot:
        import numpy as np

        values, captured, age, faults = self._connected().read()
        return Snapshot(values.astype(np.float32), captured, age.astype(np.float32), tuple(faults))

    def command(self, values: Array, at: int) -> Array:
        raise RlError("the arm is moved by the core's loop only", where="so101", todo="run it in a session")

    def stop(self, policy: Literal["hold", "rest", "off"]) -> None:
        """Nothing is energised outside the core's loop, which carries the policy out; so there is nothing to do."""

    def rest_pose(self) -> Any:
        """(6,) from the configuration, the emulator's, or as recorded at calibration; None for an arm that has none.
        A recorded one lies at the stops: it is moved inside the limits. Errors: InputError for a given one that lies
        beyond what was calibrated."""
        import numpy as np

        if self.config.rest_pose is not None:
            given = np.asarray(self.config.rest_pose, np.float64)
            for value, axis in zip(given, self.axes, strict=True):
                beyond = MARGIN * (axis.high - axis.low) / (1 - 2 * MARGIN)
                if not axis.low - beyond <= value <= axis.high + beyond:
                    what = f"{axis.name} {value:g} is outside {axis.low - beyond:.1f}..{axis.high + beyond:.1f}"
                    raise InputError(f"{what} {axis.unit}", where="robot.rest_pose", todo="rl calibrate records one")
            return given
        emulator = self._arm.emulator
        if emulator is not None:
            return emulator.rest_pose(self.config.units)
        if self._arm.rest is None:
            return None
        axes = self.axes
        return np.clip(np.asarray(self._arm.rest, np.float64), [a.low for a in axes], [a.high for a in axes])

    def cameras(self) -> Mapping[str, Any]:
        return self.config.cameras

    def _axes(self, usual: float) -> tuple[Axis, ...]:
        speed = self.config.max_speed or usual
        axes = []
        for at, (name, span) in enumerate(zip(NAMES[:5], self._arm.spans(), strict=True)):
            degrees = self.config.units == "degrees"
            unit = 1.0 if degrees else 200.0 / span  # of the axis for one degree
            edge = span / 2 * (1 - 2 * MARGIN) if degrees else 100 * (1 - 2 * MARGIN)
            if name.startswith("wrist_roll"):  # turns all the way round: no stop to keep away from
                edge = (span / 2 - 1) * unit
            axes.append(
                Axis(
                    NAMES[at],
                    self.config.units,
                    -edge,
                    edge,
                    speed * unit,
                    ACCELERATION * unit,
                    max_jerk=JERK * unit,
                    usual_speed=usual * unit,
                )
            )
        gripper = min(GRIPPER_SPEED, speed * GRIPPER_SPEED / usual)
        axes.append(Axis(NAMES[5], "percent", 1.0, 99.0, gripper, ACCELERATION, max_jerk=JERK))
        return tuple(axes)
