"""Draws on demand: a frame is a function of its instant and of the pose last told, so nothing runs in between."""

import threading
import time

import numpy as np

from rl.api import Feature, RlError
from rl.api.protocols import Frame, Snapshot
from rl.plugins.synthetic_camera.config import SyntheticCameraConfig

SKY, TABLE, DISC, ARM, CLAW = (206, 218, 226), (150, 128, 104), (214, 66, 52), (38, 70, 110), (238, 170, 48)
LINKS = (0.34, 0.30, 0.16)  # of the picture's height


class SyntheticCamera:
    """Frame number n belongs to the instant n / fps after `open`."""

    def __init__(self, config: SyntheticCameraConfig) -> None:
        self.config = config
        self.image = Feature("image", "image", (config.height, config.width, 3), dtype="uint8")
        self._started = 0
        self._pose: np.ndarray | None = None
        self._newest: Frame | None = None
        self._lock = threading.Lock()
        self._ground = self._empty()
        self._rows, self._columns = np.ogrid[: config.height, : config.width]

    def open(self) -> None:
        self._started = time.monotonic_ns()
        self._newest = None

    def observe(self, snapshot: Snapshot) -> None:
        """The pose to draw from now on: the first three body joints as links, the last value as the claw's opening."""
        self._pose = np.asarray(snapshot.values, np.float64)

    def latest(self) -> Frame | None:
        """The newest frame; drawn once, then kept."""
        if not self._started:
            raise RlError("not open", where="synthetic camera", todo="call open first")
        sequence = int((time.monotonic_ns() - self._started) * self.config.fps / 1e9)
        with self._lock:
            if self._newest is None or sequence > self._newest.sequence:
                captured = self._started + int(sequence * 1e9 / self.config.fps)
                self._newest = Frame(self._draw(sequence / self.config.fps), captured, sequence)
            return self._newest

    def close(self) -> None:
        self._started = 0

    def _empty(self) -> np.ndarray:
        ground = np.empty((self.config.height, self.config.width, 3), np.uint8)
        edge = self.config.height * 3 // 4
        ground[:edge], ground[edge:] = SKY, TABLE
        return ground

    def _draw(self, at: float) -> np.ndarray:
        image = self._ground.copy()
        height, width = image.shape[:2]
        angle = 2 * np.pi * at / self.config.period
        self._disc(
            image, width * (0.5 + 0.38 * np.cos(angle)), height * (0.25 + 0.15 * np.sin(angle)), height / 14, DISC
        )
        if self._pose is not None and len(self._pose) >= 4 and np.isfinite(self._pose).all():
            self._arm(image, self._pose)
        return image

    def _arm(self, image: np.ndarray, pose: np.ndarray) -> None:
        """A planar arm: pan moves its foot, lift and elbow bend it. A joint value of 100 is a right angle."""
        height, width = image.shape[:2]
        x, y = width * (0.5 + pose[0] / 400), height * 0.9
        heading = np.pi / 2
        for length, turn in zip(LINKS, pose[1:4], strict=True):
            heading -= turn * np.pi / 200
            to_x, to_y = x + np.cos(heading) * length * height, y - np.sin(heading) * length * height
            self._line(image, x, y, to_x, to_y, ARM)
            x, y = to_x, to_y
        self._disc(image, x, y, height * (0.02 + 0.04 * np.clip(pose[-1], 0, 100) / 100), CLAW)

    def _line(self, image: np.ndarray, x0: float, y0: float, x1: float, y1: float, colour: tuple[int, ...]) -> None:
        thick = max(1, image.shape[0] // 48)
        count = int(max(abs(x1 - x0), abs(y1 - y0)) / thick * 1.5) + 2
        for s in np.linspace(0, 1, count):
            x, y = int(x0 + s * (x1 - x0)), int(y0 + s * (y1 - y0))
            image[max(y - thick, 0) : max(y + thick, 0), max(x - thick, 0) : max(x + thick, 0)] = colour

    def _disc(self, image: np.ndarray, x: float, y: float, radius: float, colour: tuple[int, ...]) -> None:
        top, left = max(int(y - radius), 0), max(int(x - radius), 0)
        bottom, right = max(int(y + radius) + 2, 0), max(int(x + radius) + 2, 0)
        rows, columns = self._rows[top:bottom], self._columns[:, left:right]
        image[top:bottom, left:right][(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = colour
