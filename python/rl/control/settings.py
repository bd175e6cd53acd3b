"""How a session runs, in one place: what the core's loop and the loop in Python are both told."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rl.api.errors import InputError

LONGEST_SOFT_S = 5.0
STALE_S = 0.1  # a position older than this is never driven on
STATES = ("DISARMED", "SOFT_START", "ACTIVE", "HOLD", "REST", "OFF", "FAULT", "ESTOP")  # their numbers in records


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Numbers of reliability and timing; the defaults are those of the core."""

    rate: float = 50.0  # Hz
    duration: float = 0.0  # s of ACTIVE; 0: until stopped
    stop: Literal["rest", "hold", "off"] = "rest"
    estop: Literal["hold", "off"] = "hold"
    merge: str = "replace"
    coefficient: float = 0.01  # of merge "ensemble"
    crossfade: int = 0  # rows of merge "crossfade"
    interpolation: Literal["linear", "cubic", "critically_damped"] = "linear"
    heartbeat_timeout_s: float = 0.1
    soft_start_s: float = 1.0
    realtime: bool = True
    unsafe: bool = False  # limits looser than the robot's usual ones are allowed
    house: Literal["guardian", "thread"] = "guardian"  # a process of its own, or a thread of this one (embedding)

    def __post_init__(self) -> None:
        if not 10 <= self.rate <= 1000:
            raise InputError(f"rate {self.rate:g} Hz is not in 10..1000", where="settings")
        if not 0 <= self.soft_start_s <= LONGEST_SOFT_S:  # longer: an arm with a fifth of its torque does not stand
            raise InputError(f"soft start {self.soft_start_s:g} s is not in 0..{LONGEST_SOFT_S:g}", where="settings")

    def core_config(self, source: str, rest_pose: Any) -> Any:
        """`rl._core.LoopConfig` for a source: "chunks", "setpoints", "leader"."""
        from rl import _core

        config = _core.LoopConfig()
        config.rate_hz, config.duration_s, config.source = self.rate, self.duration, source
        config.stop_policy, config.estop_off, config.rest_pose = self.stop, self.estop == "off", rest_pose
        config.merge, config.coefficient, config.crossfade = self.merge, self.coefficient, self.crossfade
        config.interpolation, config.realtime, config.house = self.interpolation, self.realtime, self.house
        config.heartbeat_timeout_s, config.soft_start_s = self.heartbeat_timeout_s, self.soft_start_s
        config.black_boxes = str(black_box_folder())
        return config


def black_box_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where guardians keep the last cycles before a fault. XDG base directories: state."""
    return Path(environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "rl" / "blackbox"
