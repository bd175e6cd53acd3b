"""What is known of one arm beside its calibration file: earlier versions of it, and the pose in which it may rest.

Kept in a folder of our own, `.rl/ID/` beside the calibration file, which LeRobot does not read:

    .rl/ID/0001.json, 0002.json ...   each calibration as it was written, byte for byte
    .rl/ID/0002.profile.json          the profile that was measured with it
"""

import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl.api import InputError
from rl.api.protocols import Version
from rl.plugins.so101 import JOINTS, calibration
from rl.plugins.so101.config import LeaderConfig, So101Config

FORMAT = 1


@dataclass(frozen=True)
class Profile:
    """Holds only together with the calibration whose fingerprint it names. Steps are those after its offset."""

    calibration: str
    rest: Mapping[str, int] | None = None  # joint -> steps in which the arm may be released
    measured: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # joint -> ends of the sweep
    adapter: str = ""  # USB serial number of the adapter

    def text(self) -> str:
        """The file's content."""
        content = {
            "format": FORMAT,
            "calibration": self.calibration,
            "rest": None if self.rest is None else dict(self.rest),
            "measured": {joint: list(ends) for joint, ends in self.measured.items()},
            "adapter": self.adapter,
        }
        return json.dumps(content, indent=1) + "\n"


def write_durably(path: Path, content: bytes) -> None:
    """Aside, synced, renamed, the folder synced: it is there whole, or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_profile(path: Path) -> Profile | None:
    """The profile of a file, None when there is none. Errors: InputError naming the file when it is damaged."""
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > calibration.LARGEST:
            raise ValueError("too large")
        found = json.loads(path.read_text(encoding="utf-8"))
        return _profile(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        todo = "remove it, or calibrate again"
        raise InputError("is no profile of an arm", where=str(path), todo=todo) from None


def _profile(found: Any) -> Profile:
    if found["format"] != FORMAT:
        raise ValueError("another format")
    rest = found["rest"]
    if rest is not None:
        rest = {joint: _steps(rest[joint]) for joint in JOINTS}
    measured = {str(joint): (_steps(ends[0]), _steps(ends[1])) for joint, ends in found["measured"].items()}
    return Profile(str(found["calibration"]), rest, measured, str(found["adapter"]))


def _steps(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 4095:
        raise ValueError("no step of an encoder")
    return value


class Archive:
    """The versions of one arm's calibration file. `file`: where LeRobot and we read it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.parent / ".rl" / file.stem

    def numbers(self) -> list[int]:
        """Of the versions that are kept, oldest first."""
        names = (path.stem for path in self.folder.glob("*.json"))
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def path(self, number: int) -> Path:
        """Where a version is kept."""
        return self.folder / f"{number:04d}.json"

    def profile_path(self, number: int) -> Path:
        """Where its profile is kept."""
        return self.folder / f"{number:04d}.profile.json"

    def source(self, number: int) -> Path:
        """Where its content is: for a file that was written elsewhere, and is kept when it is replaced, the file.
        Errors: InputError for a version that is not there."""
        known = {n: self.path(n) for n in self.numbers()}
        if self.file.is_file() and self.current() is None:
            known[max(known, default=0) + 1] = self.file
        if number not in known:
            todo = f"there are: {', '.join(map(str, known)) or 'none'}"
            raise InputError(f"there is no version {number}", where=str(self.file), todo=todo)
        return known[number]

    def read(self) -> dict[str, calibration.Joint]:
        """The file as it is. Errors: InputError naming it and how to go back when it is damaged."""
        try:
            return calibration.read(self.file)
        except InputError as error:
            raise InputError(error.what, where=error.where, todo=self.remedy()) from None

    def remedy(self) -> str:
        """What to do about a damaged file."""
        sound = [version.number for version in self.versions() if version.values]
        again = "rl calibrate makes a new one"
        return f"rl calibrate --roll-back {sound[-1]} stores the last sound one again, {again}" if sound else again

    def current(self) -> int | None:
        """The newest version that is the file as it is now, byte for byte; None when it was written elsewhere."""
        if not self.file.is_file():
            return None
        content = self.file.read_bytes()
        same = [n for n in self.numbers() if self.path(n).read_bytes() == content]
        return same[-1] if same else None

    def keep(self, content: bytes, profile: Profile | None) -> int:
        """One more version; its number. What is the newest already stays one version, with the new profile."""
        last = (self.numbers() or [0])[-1]
        number = last if last and self.path(last).read_bytes() == content else last + 1
        if profile is not None:
            write_durably(self.profile_path(number), profile.text().encode())
        if number != last:  # what is kept keeps its date
            write_durably(self.path(number), content)
        return number

    def keep_file(self) -> None:
        """The file as it is becomes a version unless it is one: what LeRobot wrote, or what cannot be read."""
        if self.file.is_file() and self.current() is None:
            made = self.file.stat()
            number = self.keep(self.file.read_bytes(), None)
            os.utime(self.path(number), ns=(made.st_atime_ns, made.st_mtime_ns))  # it is no younger for that

    def profile(self) -> Profile | None:
        """Of the file as it is now; None when none was measured with it."""
        number = self.current()
        return None if number is None else read_profile(self.profile_path(number))

    def versions(self) -> list[Version]:
        """All that are kept, and the file as it is when it is none of them. Damaged ones hold no values."""
        current = self.current()
        found = [self._version(n, self.path(n), n == current) for n in self.numbers()]
        if self.file.is_file() and current is None:
            found.append(self._version((self.numbers() or [0])[-1] + 1, self.file, True))
        return found

    def _version(self, number: int, path: Path, current: bool) -> Version:
        made = datetime.datetime.fromtimestamp(path.stat().st_mtime).isoformat(timespec="seconds")
        try:
            values = {name: dict(vars(joint)) for name, joint in calibration.read(path).items()}
        except InputError:
            values = {}
        return Version(number, made, current, values)


def archive_of(config: So101Config | LeaderConfig, *, leader: bool) -> Archive:
    """Of the file that an arm's calibration is read from, or would be. Errors: InputError for an id that is no name."""
    role: calibration.Role = "teleoperators" if leader else "robots"
    places = calibration.places(role, config.id, config.calibration_dir)
    return Archive(next((path for path in places if path.is_file()), places[0]))


def written_archive_of(config: So101Config | LeaderConfig, *, leader: bool) -> Archive:
    """Of the file that is written: where LeRobot looks today. Errors: InputError for an arm without a name."""
    option = "teleop" if leader else "robot"
    if config.id is None or config.id == "None":
        todo = f"give the arm a name: --{option}.id NAME"
        raise InputError("an arm without a name has no calibration file", where=option, todo=todo)
    role: calibration.Role = "teleoperators" if leader else "robots"
    return Archive(calibration.places(role, config.id, config.calibration_dir)[0])
