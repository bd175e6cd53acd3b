"""Options of a camera that OpenCV opens."""

from dataclasses import dataclass
from typing import Annotated, Literal

from rl.api import InputError
from rl.config import doc


@dataclass(frozen=True, kw_only=True)
class OpenCVCameraConfig:
    """A camera that OpenCV opens; null settings are left to the device."""

    index_or_path: Annotated[int | str, doc("number of the camera, its device file, or a video file")] = 0
    width: Annotated[int | None, doc("width of the picture, before rotation", unit="pixels", ge=1, le=16384)] = None
    height: Annotated[int | None, doc("height of the picture, before rotation", unit="pixels", ge=1, le=16384)] = None
    fps: Annotated[float | None, doc("pictures a second", unit="Hz", gt=0, le=1000)] = None
    fourcc: Annotated[str | None, doc("pixel format of the device, e.g. MJPG")] = None
    rotation: Annotated[Literal[0, 90, 180, 270, -90], doc("turned clockwise by this much", unit="deg")] = 0
    color_mode: Annotated[Literal["rgb", "bgr"], doc("order of the colours in what is recorded")] = "rgb"
    warmup_s: Annotated[float, doc("longest wait for the first picture", unit="s", gt=0, le=60)] = 5.0
    timeout_s: Annotated[float, doc("a camera that gives nothing new for this long is lost", unit="s", gt=0)] = 1.0
    loop: Annotated[bool, doc("a video file begins again at its end; false: the end is an error")] = False

    def __post_init__(self) -> None:
        if self.fourcc is not None and len(self.fourcc) != 4:
            raise InputError(f"fourcc '{self.fourcc}' has not four letters", todo="e.g. MJPG")
        if (self.width is None) != (self.height is None):
            raise InputError("width and height are given together or not at all")
