"""LeRobot's calibration files: where they lie, what they hold, written back byte for byte. Standard library only."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rl.api import InputError
from rl.data.home import lerobot_home
from rl.plugins.so101 import JOINTS

Role = Literal["robots", "teleoperators"]

LARGEST = 64 << 10  # bytes; six joints need 1,000
FOLDERS = {  # the class's name today, then those of versions until 0.4.2
    "robots": ("so_follower", "so101_follower", "so100_follower"),
    "teleoperators": ("so_leader", "so101_leader", "so100_leader"),
}
BOUNDS = {
    "id": (1, 253),
    "drive_mode": (0, 1),
    "homing_offset": (-2047, 2047),
    "range_min": (0, 4095),
    "range_max": (0, 4095),
}


@dataclass(frozen=True)
class Joint:
    """One joint of a calibration file. `range_*` are raw steps after the offset."""

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int


Calibration = Mapping[str, Joint]  # in motor order


def of_core(joints: Iterable[Any]) -> dict[str, Joint]:
    """`rl._core.JointCalibration`s as the file has them."""
    return {j.name: Joint(j.id, j.drive_mode, j.homing_offset, j.range_min, j.range_max) for j in joints}


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds `robots/` and `teleoperators/`."""
    if given := environ.get("HF_LEROBOT_CALIBRATION"):
        return Path(given).expanduser()
    return lerobot_home(environ) / "calibration"


def places(role: Role, identity: str | None, folder: str | None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The files that may hold an arm's calibration, the one that is written first.

    Without an id LeRobot names the file None.json; it is read, never written. Errors: InputError for an id that is no
    plain file name.
    """
    name = identity if identity is not None else "None"
    if not name or name != Path(name).name or name.startswith(".") or "\\" in name:
        raise InputError(f"'{name}' is no name of an arm", where="id", todo="use letters, digits, dashes")
    folders = [Path(folder).expanduser()] if folder else [home(environ) / role / kind for kind in FOLDERS[role]]
    return [one / f"{name}.json" for one in folders]


def find(role: Role, identity: str | None, folder: str | None, where: str) -> Path:
    """The arm's calibration file. Errors: InputError naming the path that is missing and how to get it."""
    candidates = places(role, identity, folder)
    for path in candidates:
        if path.is_file():
            return path
    option = "robot" if role == "robots" else "teleop"
    if identity is None:
        todo = f"give it with --{option}.id NAME; rl calibrate makes one for an arm that has none"
        raise InputError("the arm has no name, so its calibration is not known", where=where, todo=todo)
    todo = f"run rl calibrate with the same --{option} options, or give --{option}.calibration_dir"
    raise InputError(f"there is no calibration file {candidates[0]}", where=where, todo=todo)


def read(path: Path) -> dict[str, Joint]:
    """The joints of a calibration file. Errors: InputError naming file, joint and field."""
    if path.stat().st_size > LARGEST:
        raise InputError("larger than any calibration", where=str(path))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError("not readable as JSON", where=str(path)) from None
    if not isinstance(found, dict):
        raise InputError("holds no mapping of joints", where=str(path))
    missing = [name for name in JOINTS if name not in found]
    unknown = [name for name in found if name not in JOINTS]
    if missing or unknown:
        what = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise InputError(" and ".join(what), where=str(path), todo=f"the joints are {', '.join(JOINTS)}")
    joints = {name: _joint(found[name], f"{path}: {name}") for name in found}
    if len({joint.id for joint in joints.values()}) != len(joints):
        raise InputError("two joints have the same id", where=str(path))
    return joints


def _joint(given: Any, where: str) -> Joint:
    if not isinstance(given, dict) or set(given) != set(BOUNDS):
        raise InputError(f"does not hold exactly {', '.join(BOUNDS)}", where=where)
    for field, (low, high) in BOUNDS.items():
        value = given[field]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InputError(f"{field} {value!r} is no whole number in {low}..{high}", where=where)
    joint = Joint(**given)
    if joint.range_min >= joint.range_max:
        raise InputError(f"range_min {joint.range_min} is not below range_max {joint.range_max}", where=where)
    return joint


def ways(option: str) -> str:
    """What to do when motors and file differ."""
    return (
        f"is it the right arm, and its id? then rl calibrate --roll-back N brings motors and file to a version, "
        f"--{option}.write_calibration true the motors to the file when a session starts; or calibrate again"
    )


REGISTERS = ("Homing_Offset", "Min_Position_Limit", "Max_Position_Limit")  # that hold it, in the order of `stored`
Stored = Mapping[int, tuple[int, int, int]]  # motor id -> offset, lowest and highest position that it holds


def stored(joints: Calibration) -> dict[int, tuple[int, int, int]]:
    """What the motors of a calibrated arm hold."""
    return {joint.id: (joint.homing_offset, joint.range_min, joint.range_max) for joint in joints.values()}


def owner(held: Stored, path: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The other file that says what these motors hold: beside `path`, or where LeRobot keeps calibrations."""
    usual = [home(environ) / role / kind for role, kinds in FOLDERS.items() for kind in kinds]
    for folder in [path.parent, *usual]:
        for file in sorted(folder.glob("*.json")):
            try:
                if file != path and stored(read(file)) == held:
                    return file
            except (InputError, OSError):  # another program's, or damaged: none that this arm could be known by
                continue
    return None


def text(calibration: Calibration) -> str:
    """The file's content, as LeRobot writes it: 4 spaces, motor order, no newline at the end."""
    return json.dumps({name: asdict(joint) for name, joint in calibration.items()}, indent=4)


def write(path: Path, calibration: Calibration) -> None:
    """Write aside, sync, rename. Errors: InputError for None.json, the name of an arm that has none."""
    if path.stem == "None":
        raise InputError("an arm without an id has no file", where=str(path), todo="give it an id")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text(calibration))
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def fingerprint(calibration: Calibration) -> str:
    """A short hash of what the units depend on: offset, range and direction of each joint. 16 hex digits."""
    lines = [
        f"{name} {j.drive_mode} {j.homing_offset} {j.range_min} {j.range_max}"
        for name, j in sorted(calibration.items())
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
