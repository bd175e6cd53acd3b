"""Options of the keyboard."""

from dataclasses import dataclass
from typing import Annotated, Literal

from rl.api import InputError
from rl.config import doc

SO101 = (
    "shoulder_pan.pos",
    "shoulder_lift.pos",
    "elbow_flex.pos",
    "wrist_flex.pos",
    "wrist_roll.pos",
    "gripper.pos",
)
MOST = 10  # joints: so many pairs of keys lie above each other


@dataclass(frozen=True, kw_only=True)
class KeyboardConfig:
    """The keys of a terminal."""

    mode: Annotated[
        Literal["joints", "tool"], doc("what keys move: joints, or the tool in the arm's base frame; Tab changes it")
    ] = "joints"
    speed: Annotated[float, doc("of a joint; + and - change it while it runs", unit="deg/s", gt=0, le=120)] = 30.0
    tool_speed: Annotated[float, doc("of the tool", unit="m/s", gt=0, le=0.5)] = 0.06
    gripper_speed: Annotated[float, doc("of the gripper", unit="%/s", gt=0, le=300)] = 60.0
    port: Annotated[str, doc("terminal whose keys are read; sim: keys that nobody presses")] = "/dev/tty"
    units: Annotated[
        Literal["degrees", "range_m100_100"], doc("unit of the joints, as the robot's; the gripper is 0..100")
    ] = "degrees"
    joints: Annotated[tuple[str, ...], doc("the robot's joints; one called gripper is in percent")] = SO101

    def __post_init__(self) -> None:
        if len(self.joints) > MOST:
            raise InputError(
                f"{len(self.joints)} joints, and only {MOST} pairs of keys: the keyboard leads one arm",
                where="teleop.joints",
                todo="lead two arms by leader arms: --teleop so101-leader --teleop.arms.left.port ...",
            )
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise InputError(f"joints are 1 to {MOST} different names", where="teleop.joints")
        if self.mode == "tool" and not self.by_tool:
            raise InputError(
                "mode tool knows the SO-101 in degrees only", where="teleop", todo="use --teleop.mode joints"
            )

    @property
    def by_tool(self) -> bool:
        """Whether the tool's kinematics are known."""
        return self.joints == SO101 and self.units == "degrees"
