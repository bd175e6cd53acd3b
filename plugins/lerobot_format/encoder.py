"""One camera's pictures into an MP4 file while they are recorded, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rl.api import MissingPart, RlError
from rl.data.statistics import from_histogram, histogram, sampled_frames
from rl.plugins.lerobot_format.config import LeRobotConfig
from rl.plugins.lerobot_format.durable import sync_file

_POLL = 0.1  # s between looks at whether the encoder still lives while its queue is full


class CameraEncoder:
    """H.264, yuv420p, no B-frames, frame n at n / fps: what joins and seeks well.

    size: (H, W), both even. `put` copies the picture and returns at once while fewer than `config.queue` frames wait;
    then it waits: a frame is never dropped. Errors of the thread are raised by the next call.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int, config: LeRobotConfig) -> None:
        self.path, self.size, self.fps, self.config = path, size, fps, config
        self.frames = 0
        self._levels: list[NDArray[np.uint32]] = []  # of each frame: which ones count is known at the end
        self._queue: queue.Queue[NDArray[np.uint8] | None] = queue.Queue(config.queue)
        self._failure: BaseException | None = None
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"rl-encode-{path.stem}", daemon=True)
        self._thread.start()

    def put(self, image: NDArray[np.uint8]) -> None:
        """Have one picture (H, W, 3) uint8 RGB encoded."""
        self._offer(np.array(image, np.uint8, copy=True, order="C"))
        self.frames += 1

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """Wait for the rest, close and sync the file; the camera's statistics (3, 1, 1) of the episode."""
        self._offer(None)
        self._thread.join()
        self._check()
        sync_file(self.path)
        picked = sampled_frames(self.frames)
        levels: NDArray[np.int64] = np.stack([self._levels[i] for i in picked]).sum(axis=0, dtype=np.int64)
        return from_histogram(levels, len(picked))

    def abandon(self) -> None:
        """Stop as soon as possible; the file is of no use afterwards. May be called twice, and after `finish`."""
        self._abandoned.set()
        while self._thread.is_alive():
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                self._queue.get_nowait()
            self._thread.join(_POLL)

    def _offer(self, image: NDArray[np.uint8] | None) -> None:
        while True:
            self._check()
            try:
                self._queue.put(image, timeout=_POLL)
            except queue.Full:
                continue
            return

    def _check(self) -> None:
        if self._failure is not None:
            if isinstance(self._failure, RlError):
                raise self._failure
            cause = " ".join(str(self._failure).split())
            raise RlError(f"encoding failed ({cause:.120})", where=str(self.path)) from self._failure

    def _run(self) -> None:
        try:
            self._encode()
        except BaseException as error:  # noqa: BLE001  raised again by the caller's next call
            self._failure = error

    def _encode(self) -> None:
        with av.open(str(self.path), "w", format="mp4") as container:
            try:
                stream = container.add_stream("libx264", rate=self.fps)
            except (ValueError, av.FFmpegError):
                raise MissingPart("PyAV was built without libx264", where="record", todo="pip install av") from None
            stream.height, stream.width = self.size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = self.config.gop
            stream.codec_context.max_b_frames = 0
            stream.codec_context.thread_count = 1
            stream.codec_context.time_base = Fraction(1, self.fps)
            stream.options = {"preset": self.config.preset, "crf": str(self.config.crf), "bf": "0"}
            number = 0
            while (image := self._queue.get()) is not None and not self._abandoned.is_set():
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, self.fps)
                container.mux(stream.encode(frame))
                self._levels.append(histogram(image))
                number += 1
            container.mux(stream.encode(None))
