"""Options of the SO-101 follower and leader."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from rl.api import InputError
from rl.config import Choice, Selected, doc

Units = Literal["degrees", "range_m100_100"]

PORT = "serial port, e.g. /dev/ttyACM0; sim: an emulated arm"
ID = "name of the arm: its calibration file is ID.json"
CALIBRATION_DIR = "folder of the calibration file; null: HF_LEROBOT_CALIBRATION, HF_LEROBOT_HOME or LeRobot's default"
UNITS = "unit of the five body joints; the gripper is always 0..100"
WRITE = "bring servos that hold another calibration to the file's; otherwise such an arm is refused"
UNUSUAL = "calibration takes the range that a joint is moved through though no SO-101 has it: an arm built otherwise"
USE_DEGREES = "LeRobot's spelling of units: true is degrees, false is range_m100_100"


def settle_units(config: "So101Config | LeaderConfig") -> None:
    """`use_degrees` is folded into `units`, so that the rest reads one field."""
    if config.use_degrees is None:
        return
    if config.use_degrees and config.units != "degrees":
        raise InputError(f"use_degrees true and units {config.units} contradict each other", todo="give one of them")
    object.__setattr__(config, "units", "degrees" if config.use_degrees else "range_m100_100")


@dataclass(frozen=True, kw_only=True)
class ArmOptions:
    """One arm of several; what is not said here is as for the whole robot."""

    port: Annotated[str, doc(PORT)] = ""
    id: Annotated[str | None, doc("name of the arm; null: the robot's id with _NAME")] = None


@dataclass(frozen=True, kw_only=True)
class So101Config:
    """The SO-101 follower."""

    port: Annotated[str, doc(PORT)] = ""
    id: Annotated[str | None, doc(ID)] = None
    calibration_dir: Annotated[str | None, doc(CALIBRATION_DIR)] = None
    units: Annotated[Units, doc(UNITS)] = "degrees"
    use_degrees: Annotated[bool | None, doc(USE_DEGREES)] = None
    write_calibration: Annotated[bool, doc(WRITE)] = False
    unusual_ranges: Annotated[bool, doc(UNUSUAL)] = False
    max_speed: Annotated[
        float | None,
        doc(
            "fastest motion of a joint; null: 240, while a teleoperator leads 300 (more: --limits.unsafe)",
            unit="deg/s",
            gt=0,
            le=400,
        ),
    ] = None
    rest_pose: Annotated[
        tuple[float, ...] | None,
        doc("pose in which the arm may be released, one value a joint in their units; null: none known"),
    ] = None
    cameras: Annotated[
        dict[str, Annotated[Selected, Choice("camera")]], doc("cameras by role: --robot.cameras.front.type opencv")
    ] = field(default_factory=dict)
    arms: Annotated[
        dict[str, ArmOptions],
        doc("several arms as one robot, each with its port and id; the rest is said once: --robot.arms.left.port ..."),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_units(self)
        if self.rest_pose is not None and len(self.rest_pose) != 6:
            raise InputError(f"rest_pose has {len(self.rest_pose)} values", todo="give one for each of the 6 joints")
        if self.arms and self.port:
            raise InputError("port and arms are both given", todo="give each arm its port: --robot.arms.left.port ...")

    def parts(self) -> Mapping[str, "So101Config"]:
        """The arms of a robot of several, each with its whole configuration; {} for one arm."""
        return {name: _part(self, name, arm) for name, arm in self.arms.items()}


@dataclass(frozen=True, kw_only=True)
class LeaderConfig:
    """The SO-101 leader."""

    port: Annotated[str, doc(PORT)] = ""
    id: Annotated[str | None, doc(ID)] = None
    calibration_dir: Annotated[str | None, doc(CALIBRATION_DIR)] = None
    units: Annotated[Units, doc(UNITS)] = "degrees"
    use_degrees: Annotated[bool | None, doc(USE_DEGREES)] = None
    write_calibration: Annotated[bool, doc(WRITE)] = False
    unusual_ranges: Annotated[bool, doc(UNUSUAL)] = False
    wave: Annotated[bool, doc("an emulated leader waves by itself; false: it lies still")] = True
    arms: Annotated[
        dict[str, ArmOptions],
        doc("several leaders as one, each with its port and id; the rest is said once: --teleop.arms.left.port ..."),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_units(self)
        if self.arms and self.port:
            raise InputError("port and arms are both given", todo="give each arm its port: --teleop.arms.left.port ...")

    def parts(self) -> Mapping[str, "LeaderConfig"]:
        """The arms of a leader of several, each with its whole configuration; {} for one arm."""
        return {name: _part(self, name, arm) for name, arm in self.arms.items()}


def _part(config: Any, name: str, arm: ArmOptions) -> Any:
    without: dict[str, Any] = {"cameras": {}} if isinstance(config, So101Config) else {}
    identity = arm.id or (f"{config.id}_{name}" if config.id else None)  # LeRobot's bimanual files: ID_left.json
    return replace(config, port=arm.port, id=identity, arms={}, use_degrees=None, **without)
