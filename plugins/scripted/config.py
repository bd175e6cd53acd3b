"""Options of the scripted leader."""

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


@dataclass(frozen=True, kw_only=True)
class ScriptedConfig:
    """A motion by name, or poses from a file."""

    motion: Annotated[
        Literal["wave", "still"], doc("wave: every joint on its own slow sine; still: the pose it found")
    ] = "wave"
    file: Annotated[
        str | None, doc("YAML list of poses instead: - {t: 0.0, pose: [0, -40, 40, 20, 0, 50]}; t in s, rising")
    ] = None
    repeat: Annotated[int, doc("how often the file is played; 0: without end", ge=0)] = 1
    speed: Annotated[float, doc("1: as written, 0.5: half as fast", gt=0, le=4)] = 1.0
    units: Annotated[
        Literal["degrees", "range_m100_100"], doc("unit of the joints, as the robot's; the gripper is 0..100")
    ] = "degrees"
    joints: Annotated[tuple[str, ...], doc("the robot's joints; one called gripper is in percent")] = SO101

    def __post_init__(self) -> None:
        if not 1 <= len(self.joints) <= 64 or len(set(self.joints)) != len(self.joints):
            raise InputError("joints are 1 to 64 different names", where="teleop.joints")
