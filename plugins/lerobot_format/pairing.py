"""Which frame of a video file belongs to which row: planned for a whole file, refused rather than guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rl.plugins.lerobot_format.clock import Pairing

_CLOSE = 1e-4  # s


class Stream(Protocol):
    """What a plan must know of a file; `video.VideoFile` is one."""

    count: int
    begins: float
    on_grid: bool

    def nearest(self, seconds: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]: ...


@dataclass(frozen=True)
class Part:
    """One episode's share of a file."""

    episode: int
    begin: float  # from_timestamp, s
    frame_index: NDArray[np.int64]  # (rows,)
    pairing: Pairing = "frame_index"


@dataclass
class Plan:
    """Frame numbers of the rows of each episode in the file, refusals and notes."""

    frames: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def misplaced(parts: Sequence[Part], fps: float) -> bool:
    """Whether from_timestamps differ by more than half a frame from what the rows before them in the file need."""
    at = 0
    for part in sorted(parts, key=lambda p: p.begin):
        if abs(part.begin * fps - at) > 0.5:
            return True
        at += len(part.frame_index)
    return False


def plan(relative: str, stream: Stream, parts: Sequence[Part], fps: float) -> Plan:
    """Pair rows and frames of one file.

    parts: every episode that names the file. Frame n of a stream on the grid of `fps` is the one at n / fps. Off the
    grid, or for episodes paired by order, rows and frames are paired one to one when they are equally many; else the
    episode is refused, as are episodes that reach beyond the file, into the next episode, or begin where the rows
    before them say they cannot.
    """
    found = Plan()
    ordered = sorted(parts, key=lambda p: p.begin)
    rows = sum(len(p.frame_index) for p in ordered)
    equal = rows == stream.count
    if stream.count > rows:
        found.notes.append(f"{relative}: {stream.count} frames for {rows} rows")
    if not stream.on_grid and equal:
        found.notes.append(f"{relative}: frames are not at n / {fps:g} s; paired with the rows by order")
    at = 0
    for part in ordered:
        if part.pairing == "order" or (not stream.on_grid and equal):
            _by_order(found, relative, stream, part, at, equal)
        else:
            _by_time(found, relative, stream, part, fps)
            if equal and abs(part.begin * fps - at) > 0.5:
                found.refused[part.episode] = (
                    f"{relative}: from_timestamp {part.begin:.6g} s, but the rows before it end at {at / fps:.6g} s"
                )
        at += len(part.frame_index)
    _refuse_overlaps(found, relative, ordered)
    return found


def _by_order(found: Plan, relative: str, stream: Stream, part: Part, at: int, equal: bool) -> None:
    if not equal:
        found.refused[part.episode] = (
            f"{relative}: row times are off the grid and its {stream.count} frames are not one for each row"
        )
        return
    found.frames[part.episode] = at + np.arange(len(part.frame_index), dtype=np.int64)


def _by_time(found: Plan, relative: str, stream: Stream, part: Part, fps: float) -> None:
    wanted = part.begin + part.frame_index / fps
    last = int(np.rint((part.begin * fps) + part.frame_index.max()))
    if stream.on_grid and last >= stream.count:
        lost = int((np.rint(part.begin * fps + part.frame_index) >= stream.count).sum())
        found.refused[part.episode] = f"{relative}: has {stream.count} frames, {lost} rows are beyond its end"
        return
    numbers, off = stream.nearest(wanted)
    allowed = 0.5 / fps if stream.on_grid else _CLOSE
    if off.max() > allowed * (1 + 1e-6):
        found.refused[part.episode] = f"{relative}: no frame within {allowed * 1e3:.3g} ms of some rows"
        return
    if off.max() > _CLOSE:
        found.notes.append(
            f"{relative}: from_timestamp of episode {part.episode} is {off.max() * 1e3:.3g} ms off; nearest frames used"
        )
    found.frames[part.episode] = numbers


def _refuse_overlaps(found: Plan, relative: str, ordered: Sequence[Part]) -> None:
    spans = [
        (int(found.frames[p.episode].min()), int(found.frames[p.episode].max()), p.episode)
        for p in ordered
        if p.episode in found.frames
    ]
    spans.sort()
    for (_, end, one), (begin, _, other) in pairwise(spans):
        if begin <= end:
            text = f"{relative}: episodes {one} and {other} claim the same frames"
            found.refused.setdefault(one, text)
            found.refused.setdefault(other, text)
    for episode in found.refused:
        found.frames.pop(episode, None)
