"""Options of the LeRobotDataset format."""

from dataclasses import dataclass
from typing import Annotated

from rl.config import doc


@dataclass(frozen=True, kw_only=True)
class LeRobotConfig:
    """LeRobotDataset v3.0 folders."""

    decoders: Annotated[int, doc("video files kept open in each process", ge=1, le=1000)] = 48
    allow_newer: Annotated[bool, doc("read sets whose major version is above 3")] = False
    robot_type: Annotated[str, doc("robot type written into info.json of a new set")] = ""
    calibration: Annotated[str, doc("fingerprint of the robot's calibration, written into a new set")] = ""
    gop: Annotated[int, doc("frames from one key frame to the next in recorded videos", ge=1, le=15)] = 2
    crf: Annotated[int, doc("quality of recorded videos, lower is better", ge=0, le=51)] = 23
    preset: Annotated[str, doc("x264 preset of recorded videos")] = "veryfast"
    queue: Annotated[int, doc("frames that may wait for a camera's encoder", ge=30, le=1000)] = 60
