"""Options of the synthetic camera."""

from dataclasses import dataclass
from typing import Annotated

from rl.config import doc


@dataclass(frozen=True, kw_only=True)
class SyntheticCameraConfig:
    """A drawn scene: a disc on its round, and the arm as its state says."""

    width: Annotated[int, doc("width of the picture", unit="pixels", ge=16, le=4096)] = 640
    height: Annotated[int, doc("height of the picture", unit="pixels", ge=16, le=4096)] = 480
    fps: Annotated[float, doc("new pictures a second", unit="Hz", gt=0, le=1000)] = 30.0
    period: Annotated[float, doc("time of the disc's round", unit="s", gt=0)] = 3.1
