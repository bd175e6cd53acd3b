"""Options of the gamepad."""

from dataclasses import dataclass
from typing import Annotated, Literal

from rl.config import doc

JOINTS = (
    "shoulder_pan.pos",
    "shoulder_lift.pos",
    "elbow_flex.pos",
    "wrist_flex.pos",
    "wrist_roll.pos",
    "gripper.pos",
)


@dataclass(frozen=True, kw_only=True)
class GamepadConfig:
    """A gamepad of the usual layout: two sticks, two triggers, a cross."""

    mode: Annotated[
        Literal["joints", "tool"],
        doc("what the sticks move: joints, or the tool in the base frame; y changes it"),
    ] = "tool"
    port: Annotated[str, doc("which gamepad: its number, 0 is the first; sim: one that nobody touches")] = "0"
    speed: Annotated[float, doc("of a joint, stick at its end", unit="deg/s", gt=0, le=180)] = 60.0
    tool_speed: Annotated[float, doc("of the tool, stick at its end", unit="m/s", gt=0, le=0.5)] = 0.15
    gripper_speed: Annotated[float, doc("of the gripper, trigger pressed through", unit="%/s", gt=0, le=300)] = 120.0
    dead_zone: Annotated[float, doc("part of a stick's way that is no motion", ge=0.02, le=0.5)] = 0.12
