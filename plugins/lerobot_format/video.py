"""Pictures out of video files: decoders that stay open, one seek a key frame, straight to the wanted size."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from rl.api import InputError
from rl.plugins.lerobot_format.paths import inside

Size = tuple[int, int]  # H, W
Sink = Callable[[int, NDArray[np.uint8]], None]  # frame number, picture (H, W, 3) that is only lent

_SEEK_COST = 3  # frames that may be decoded instead of a seek
_MOST_PIXELS = 1 << 26
_SAME_TIME = 1e-4  # s, accepted between a frame and its place on the grid


class VideoFile:
    """One open video. Frames are numbered in order of presentation.

    size: (H, W) of the stream. count: frames in it. begins: s of the first. on_grid: frame n lies at n / fps. Errors:
    InputError naming the file when it is absent, empty, cut, no video, or a link out of the set. Not for two threads.
    """

    def __init__(self, root: Path, relative: str, fps: float) -> None:
        path = inside(root, relative)
        if not path.is_file():
            raise InputError("is missing", where=relative)
        self.relative = relative
        self._length = path.stat().st_size
        try:
            self._container = av.open(str(path), options={"protocol_whitelist": "file"})
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._damage(error) from None
        try:
            self._open_stream(fps)
        except BaseException:
            self._container.close()
            raise
        self._reformatter = VideoReformatter()
        self._frames: Iterator[Any] | None = None
        self._last: int | None = None  # pts of the frame that came out last
        self._target = 0  # pts of the frame that is looked for

    def _open_stream(self, fps: float) -> None:
        if not self._container.streams.video:
            raise InputError("holds no video stream", where=self.relative)
        self._stream = self._container.streams.video[0]
        context = self._stream.codec_context
        if context is None or not context.is_decoder:
            raise InputError("holds a video that no decoder here can read, or is cut", where=self.relative)
        context.thread_count = 1  # workers are the parallelism; frame threads delay random access
        self.size: Size = (context.height, context.width)
        if not 0 < context.height * context.width <= _MOST_PIXELS:
            raise InputError(f"has pictures of {context.height}x{context.width} pixels", where=self.relative)
        self._tick = float(self._stream.time_base or 0)
        entries = list(self._stream.index_entries)
        self._check_length(entries)
        stamps = np.array([e.timestamp for e in entries], np.int64)
        start = self._stream.start_time or 0
        steps = np.diff(np.sort(stamps))
        if len(stamps) > 1 and (steps == steps[0]).all() and steps[0] > 0:
            self._pts = start + np.arange(len(stamps), dtype=np.int64) * steps[0]
        else:
            self._pts = self._demuxed_stamps()
        self.count = len(self._pts)
        if not self.count:
            raise InputError("holds no frames", where=self.relative)
        shift = int(self._pts[0]) - (int(stamps.min()) if len(stamps) else 0)  # reordering: decode times run ahead
        self._key_pts = sorted(e.timestamp + shift for e in entries if e.is_keyframe)
        self.begins = float(self._pts[0]) * self._tick
        grid = np.arange(self.count) / fps
        self.on_grid = bool(np.abs(self._pts * self._tick - grid).max() <= _SAME_TIME)

    def _check_length(self, entries: list[Any]) -> None:
        """An index may promise pictures that a cut file no longer has."""
        lost = sum(1 for e in entries if e.pos + e.size > self._length)
        if lost:
            raise InputError(f"is cut: {lost} of its {len(entries)} frames lie beyond its end", where=self.relative)

    def _demuxed_stamps(self) -> NDArray[np.int64]:
        """Presentation times of all frames, by reading the packets: for streams off any grid."""
        try:
            stamps = [p.pts for p in self._container.demux(self._stream) if p.size and p.pts is not None]
            self._container.seek(0, stream=self._stream)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._damage(error) from None
        return np.array(sorted(stamps), np.int64)

    def nearest(self, seconds: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Frame numbers nearest to times in the file, and how far off each is, s."""
        stamps = self._pts * self._tick
        right = np.clip(np.searchsorted(stamps, seconds), 1, max(1, self.count - 1))
        left = right - 1
        right = np.minimum(right, self.count - 1)
        number = np.where(np.abs(stamps[left] - seconds) <= np.abs(stamps[right] - seconds), left, right)
        return number, np.abs(stamps[number] - seconds)

    def decode(self, numbers: NDArray[np.int64], size: Size | None, sink: Sink) -> None:
        """Give `sink` the pictures `numbers` (ascending, unique), RGB at `size` or the stream's own."""
        if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < self.count:
            raise InputError(f"has {self.count} frames, frame {int(numbers[-1])} was asked for", where=self.relative)
        for number in numbers.tolist():
            sink(number, self._picture(self._frame(int(self._pts[number]), number), size))

    def _frame(self, target: int, number: int) -> Any:
        """The decoded frame with that presentation time."""
        self._target = target
        key = bisect_right(self._key_pts, target) - 1
        if not self._goes_on(target, key):
            self._seek(target, key)
        while True:
            frame = self._next(number)
            if self._last is None and frame.pts > target and key > 0:
                key -= 1  # leading pictures of an open group: their key frame is the one before
                self._seek(target, key)
                continue
            self._last = frame.pts
            if frame.pts == target:
                return frame
            if frame.pts > target:
                raise InputError(f"has no frame {number} at its place in time", where=self.relative)

    def _goes_on(self, target: int, key: int) -> bool:
        """Whether decoding on from the last frame is cheaper than a seek."""
        if self._frames is None or self._last is None or self._last >= target:
            return False
        if key < 0 or self.count < 2:
            return True
        step = max(1, int(self._pts[-1] - self._pts[0]) // (self.count - 1))
        return (target - self._last) // step <= (target - self._key_pts[key]) // step + _SEEK_COST

    def _seek(self, target: int, key: int) -> None:
        try:
            self._container.seek(self._key_pts[key] if key >= 0 else target, stream=self._stream, backward=True)
        except (av.FFmpegError, OSError) as error:
            raise self._damage(error) from None
        self._frames = self._decoded()
        self._last = None

    def _decoded(self) -> Iterator[Any]:
        """Frames from here on; those before the target that no other frame needs may be left out."""
        context = self._stream.codec_context
        for packet in self._container.demux(self._stream):
            # Pictures behind the target are kept: the next request may go on from here.
            context.skip_frame = "NONREF" if packet.pts is not None and packet.pts < self._target else "DEFAULT"
            yield from packet.decode()

    def _next(self, number: int) -> Any:
        assert self._frames is not None
        try:
            frame = next(self._frames)
        except StopIteration:
            self._frames = None
            raise InputError(f"ends before frame {number} of {self.count}", where=self.relative) from None
        except (av.FFmpegError, OSError, ValueError) as error:
            self._frames = None
            raise self._damage(error, number) from None
        if frame.is_corrupt:
            self._frames = None
            raise InputError(f"is damaged at frame {number}", where=self.relative)
        return frame

    def _picture(self, frame: Any, size: Size | None) -> NDArray[np.uint8]:
        if (frame.height, frame.width) != self.size:
            raise InputError(f"changes its size from {self.size} to {(frame.height, frame.width)}", where=self.relative)
        return to_rgb(self._reformatter, frame, size)

    def _damage(self, error: BaseException, number: int | None = None) -> InputError:
        if self._length == 0:
            return InputError("is empty", where=self.relative)
        cause = " ".join(str(getattr(error, "strerror", None) or error).split())
        at = "" if number is None else f" at frame {number}"
        return InputError(f"cannot be decoded{at} ({cause:.100})", where=self.relative, todo="copy the file again")

    def close(self) -> None:
        """Give the file back."""
        self._frames = None
        self._container.close()


def to_rgb(reformatter: VideoReformatter, frame: Any, size: Size | None) -> NDArray[np.uint8]:
    """(H, W, 3) of a decoded frame, bilinear when `size` differs. The array is a view of memory that is only lent."""
    height, width = size or (frame.height, frame.width)
    rgb = reformatter.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BILINEAR, threads=1)
    plane = rgb.planes[0]
    lent: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8)
    return lent.reshape(height, plane.line_size)[:, : width * 3].reshape(height, width, 3)


class Decoders:
    """Video files kept open, least recently used closed first. Own set in each process: a fork starts empty."""

    def __init__(self, root: Path, fps: float, capacity: int) -> None:
        self.root, self.fps, self.capacity = root, fps, capacity
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._open: OrderedDict[str, VideoFile] = OrderedDict()
        self.lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Decoders, (self.root, self.fps, self.capacity))

    def check_process(self) -> None:
        """After a fork the parent's decoders are left alone: their state is shared memory no more, their file is."""
        if self._process != os.getpid():
            self._reset()

    def __contains__(self, relative: str) -> bool:
        return relative in self._open

    def get(self, relative: str) -> VideoFile:
        """The open file; call with `lock` held. InputError when it cannot be opened."""
        if relative in self._open:
            self._open.move_to_end(relative)
            return self._open[relative]
        while len(self._open) >= self.capacity:
            self._open.popitem(last=False)[1].close()
        self._open[relative] = VideoFile(self.root, relative, self.fps)
        return self._open[relative]

    def drop(self, relative: str) -> None:
        """Close a file that failed: its decoder's state is unknown."""
        file = self._open.pop(relative, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        """Close all."""
        while self._open:
            self._open.popitem()[1].close()


def read_picture(data: bytes, where: str) -> Any:
    """The decoded frame of PNG or JPEG bytes. InputError when they are neither, damaged or absurdly large."""
    kind = "png" if data[:8] == b"\x89PNG\r\n\x1a\n" else "mjpeg" if data[:2] == b"\xff\xd8" else None
    if kind is None:
        raise InputError("holds neither PNG nor JPEG", where=where)
    if kind == "png":
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        if not 0 < width * height <= _MOST_PIXELS:
            raise InputError(f"holds a picture of {height}x{width} pixels", where=where)
    decoder = av.CodecContext.create(kind, "r")
    decoder.options = {"max_pixels": str(_MOST_PIXELS)}
    decoder.thread_count = 1
    try:
        frames = decoder.decode(av.Packet(data)) + decoder.decode(None)  # type: ignore[attr-defined]
    except (av.FFmpegError, ValueError, MemoryError) as error:
        cause = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(f"holds a damaged picture ({cause:.80})", where=where) from None
    if not frames:
        raise InputError("holds a picture that ends early", where=where)
    return frames[0]
