"""The scripted leader: says the pose that is due, from the moment on at which the arm has come to the first one."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from rl.api import Feature, InputError, RlError
from rl.api.protocols import Intent, Snapshot
from rl.plugins.scripted.config import ScriptedConfig

NEAR = 5.0  # units from the first pose at which the motion begins
PATIENCE_S = 15.0  # longest wait for it: an arm whose limits do not reach the first pose begins where it can
LARGEST = 4 << 20  # bytes of a file
MOST = 100_000  # poses
MIDDLE, SWING, PERIOD_S = (0.0, -40.0, 40.0, 20.0, 0.0), (30.0, 12.0, 15.0, 20.0, 30.0), 6.0
GRIPPER = (50.0, 35.0)  # middle and swing, percent


class Scripted:
    """The same every time: for tests and demonstrations."""

    def __init__(self, config: ScriptedConfig) -> None:  # reads nothing
        self.config = config
        self.grippers = [name.rpartition("gripper")[1] != "" for name in config.joints]
        units = tuple("percent" if gripper else config.units for gripper in self.grippers)
        self.action = Feature("action", "action", (len(units),), unit=units, names=config.joints)
        self._poses: tuple[Any, Any] | None = None  # times (T,), poses (T, A)
        self._connected = False
        self._seen: Any = None
        self._found: Any = None  # the pose at the beginning
        self._began = self._waits = 0.0

    def connect(self) -> None:
        """Reads the file. Errors: InputError naming its entry."""
        if self.config.file:
            self._poses = read(Path(self.config.file).expanduser(), len(self.grippers))
        self._connected = True

    def read(self) -> Intent:
        """The pose that is due; the event stop once the file is over."""
        import numpy as np

        if not self._connected:
            raise RlError("not connected", where="scripted", todo="call connect first")
        now = time.monotonic()
        if not self._began and self._arrived(now):
            self._began = now
        seconds = (now - self._began) * self.config.speed if self._began else 0.0
        over = self._poses is not None and bool(self._began) and seconds >= self._end()
        events = frozenset({"stop"}) if over else frozenset()
        return Intent(np.asarray(self.pose(seconds), np.float32), time.monotonic_ns(), events)

    def pose(self, seconds: float) -> Any:
        """(A,) float64 at a time of the motion."""
        import numpy as np

        if self._poses is not None:
            times, poses = self._poses
            length = float(times[-1])
            again = length > 0 and length <= seconds < self._end()  # at the very end it stays
            at = math.fmod(seconds, length) if again else seconds
            return np.array([np.interp(at, times, column) for column in poses.T])
        if self.config.motion == "still":
            return np.zeros(len(self.grippers)) if self._found is None else self._found
        return self._wave(seconds)

    def follow(self, snapshot: Snapshot) -> None:
        if len(snapshot.values) != len(self.grippers):
            raise InputError("the robot's state is not laid out as its action", where="scripted")
        self._seen = snapshot.values
        if self._found is None:
            self._found = snapshot.values.copy()

    def close(self) -> None:
        """Nothing is held; may be called twice."""
        self._connected, self._began, self._waits = False, 0.0, 0.0
        self._seen = self._found = None

    def _wave(self, seconds: float) -> Any:
        import numpy as np

        joints, pose = 0, []
        for gripper in self.grippers:
            middle, swing = GRIPPER if gripper else (MIDDLE[joints % 5], SWING[joints % 5])
            turns = seconds / PERIOD_S * (1 + 0.25 * (joints % 3))
            pose.append(middle + swing * math.sin(2 * math.pi * turns))
            joints += not gripper
        return np.array(pose)

    def _end(self) -> float:
        """When the file has been played as often as was asked for, s."""
        assert self._poses is not None
        return float(self._poses[0][-1]) * (self.config.repeat or math.inf)

    def _arrived(self, now: float) -> bool:
        """Whether the arm stands at the first pose, or has had its time to get there."""
        import numpy as np

        if self._seen is None:
            return False
        self._waits = self._waits or now
        near = float(np.abs(self._seen - self.pose(0.0)).max()) <= NEAR
        return near or now - self._waits > PATIENCE_S


def read(path: Path, width: int) -> tuple[Any, Any]:
    """Times (T,) s and poses (T, width) of a file. Errors: InputError naming file and entry."""
    import numpy as np
    import yaml

    where = str(path)
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"larger than {LARGEST >> 20} MiB", where=where)
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{error.strerror}", where=where) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError("not readable as YAML", where=where) from None
    if not isinstance(found, list) or not 1 <= len(found) <= MOST:
        raise InputError(f"holds no list of 1 to {MOST} poses", where=where, todo="write - {t: 0.0, pose: [...]}")
    times, poses = np.zeros(len(found)), np.zeros((len(found), width))
    for at, entry in enumerate(found):
        times[at], poses[at] = _entry(entry, width, f"{where}: entry {at + 1}")
        if at and times[at] <= times[at - 1]:
            raise InputError(f"t {times[at]:g} is not after {times[at - 1]:g}", where=f"{where}: entry {at + 1}")
    return times - times[0], poses


def _entry(entry: Any, width: int, where: str) -> tuple[float, list[float]]:
    if not isinstance(entry, dict) or set(entry) != {"t", "pose"}:
        raise InputError("does not hold exactly t and pose", where=where)
    pose = entry["pose"]
    if not isinstance(pose, list) or len(pose) != width:
        raise InputError(f"pose is no list of {width} numbers", where=where)
    numbers = [entry["t"], *pose]
    if any(isinstance(n, bool) or not isinstance(n, (int, float)) or not abs(n) < 1e9 for n in numbers):
        raise InputError("holds what is no finite number", where=where)
    return float(entry["t"]), [float(n) for n in pose]
