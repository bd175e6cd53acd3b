"""A thread reads the device; `latest` hands out the newest picture without waiting."""

import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

from rl.api import Feature, InputError, MissingPart, RlError
from rl.api.protocols import Frame
from rl.plugins.opencv_camera.config import OpenCVCameraConfig

TURNS = {
    90: "ROTATE_90_CLOCKWISE",
    180: "ROTATE_180",
    270: "ROTATE_90_COUNTERCLOCKWISE",
    -90: "ROTATE_90_COUNTERCLOCKWISE",
}


class OpenCVCamera:
    """`image` holds the asked size until `open`, then the device's own; `notes` say what differs."""

    def __init__(self, config: OpenCVCameraConfig) -> None:  # touches no device
        self.config = config
        self.image = self._feature(config.height or 480, config.width or 640)
        self.notes: list[str] = []
        self._device: Any = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._newest: Frame | None = None
        self._lost = ""
        self._period = 0.0  # s between the pictures of a video file, 0 for a device

    @property
    def where(self) -> str:
        return f"camera {self.config.index_or_path}"

    def open(self) -> None:
        """Errors: MissingPart when there is no such camera or file, InputError when a setting is not taken."""
        import cv2

        if self._thread is not None:
            return
        source = self._source()
        self._device = cv2.VideoCapture(source)
        if not self._device.isOpened():
            self._device.release()
            raise MissingPart("cannot be opened", where=self.where, todo=self._why(source))
        try:
            self._settle(cv2, source)
        except RlError:
            self._device.release()
            raise
        self._over.clear()
        self._lost, self._newest = "", None
        self._thread = threading.Thread(target=self._read, args=(cv2,), name=self.where, daemon=True)
        self._thread.start()
        self._first()

    def latest(self) -> Frame | None:
        """The newest picture. Errors: RlError once the camera has gone, or the video is over."""
        with self._lock:
            frame, lost = self._newest, self._lost
        if self._thread is None:
            raise RlError("not open", where=self.where, todo="call open first")
        if lost:
            raise RlError(lost, where=self.where)
        if frame is not None and not self._period:
            silent = (time.monotonic_ns() - frame.captured) / 1e9
            if silent > self.config.timeout_s:
                raise RlError(f"no new picture for {silent:.1f} s", where=self.where, todo="check cable and USB hub")
        return frame

    def close(self) -> None:
        """Releases the device; may be called twice."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
            self._thread = None
        if self._device is not None:
            self._device.release()
            self._device = None

    def _feature(self, height: int, width: int) -> Feature:
        if self.config.rotation in (90, 270, -90):
            height, width = width, height
        return Feature("image", "image", (height, width, 3), dtype="uint8")

    def _source(self) -> int | str:
        given = self.config.index_or_path
        if isinstance(given, int) or "://" in given:
            return given
        path = Path(given).expanduser()
        if not path.exists():
            raise MissingPart(f"there is no {path}", where=self.where, todo="see rl cameras")
        return str(path)

    def _why(self, source: int | str) -> str:
        device = f"/dev/video{source}" if isinstance(source, int) else source
        if Path(device).exists() and not os.access(device, os.R_OK):
            return f"no permission for {device}: add yourself to its group (video), then log in again"
        return "see rl cameras for those that there are"

    def _is_file(self, source: int | str) -> bool:
        return isinstance(source, str) and Path(source).exists() and stat.S_ISREG(Path(source).stat().st_mode)

    def _settle(self, cv2: Any, source: int | str) -> None:
        """Ask for the settings, read them back; a size that the device does not give is refused."""
        config, device = self.config, self._device
        if not self._is_file(source):
            if config.fourcc:
                device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*config.fourcc))
            for setting, value in (
                (cv2.CAP_PROP_FRAME_WIDTH, config.width),
                (cv2.CAP_PROP_FRAME_HEIGHT, config.height),
                (cv2.CAP_PROP_FPS, config.fps),
            ):
                if value is not None:
                    device.set(setting, value)
            device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        width, height = int(device.get(cv2.CAP_PROP_FRAME_WIDTH)), int(device.get(cv2.CAP_PROP_FRAME_HEIGHT))
        rate = float(device.get(cv2.CAP_PROP_FPS))
        if config.width is not None and (width, height) != (config.width, config.height):
            what = f"gives {width}x{height}, not {config.width}x{config.height}"
            raise InputError(what, where=self.where, todo="leave width and height out, or ask for a size that it has")
        if config.fps is not None and rate > 0 and abs(rate - config.fps) > 0.5:
            self.notes.append(f"{self.where}: {config.fps:g} pictures a second were asked, it gives {rate:g}")
        self._period = 1 / (config.fps or rate or 30) if self._is_file(source) else 0.0
        self.image = self._feature(height, width)
        self.notes.append(f"{self.where}: {width}x{height} at {rate:g} Hz")

    def _first(self) -> None:
        until = time.monotonic() + self.config.warmup_s
        while time.monotonic() < until:
            with self._lock:
                if self._newest is not None or self._lost:
                    break
            time.sleep(0.005)
        if self._newest is None:
            self.close()
            raise MissingPart(self._lost or f"no picture in {self.config.warmup_s:g} s", where=self.where)

    def _read(self, cv2: Any) -> None:
        sequence, due = 0, time.monotonic()
        while not self._over.is_set():
            good, picture = self._device.read()
            captured = time.monotonic_ns()  # as the driver hands it over; V4L2's own stamp is not passed on by OpenCV
            if not good:
                if self._period and self.config.loop and sequence:
                    self._device.set(cv2.CAP_PROP_POS_FRAMES, 0)
                    good, picture = self._device.read()
                if not good:
                    with self._lock:
                        self._lost = "the video is over" if self._period and sequence else "gives no picture any more"
                    return
            image = self._shaped(cv2, picture)
            with self._lock:
                self._newest = Frame(image, captured, sequence)
            sequence += 1
            if self._period:
                due += self._period
                self._over.wait(max(0.0, due - time.monotonic()))

    def _shaped(self, cv2: Any, picture: Any) -> Any:
        if self.config.rotation:
            picture = cv2.rotate(picture, getattr(cv2, TURNS[self.config.rotation]))
        return picture if self.config.color_mode == "bgr" else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
