"""Row times against the grid of the declared rate: how the rows of an episode pair with its frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pairing = Literal["frame_index", "order"]

GRID = 1e-4  # s that a row may be off its place on the grid


@dataclass(frozen=True)
class Verdict:
    """How an episode's rows find their frames. `order` still has to be confirmed by counting frames."""

    pairing: Pairing = "frame_index"
    note: str = ""
    refused: str = ""


def judge(timestamps: NDArray[np.float64] | None, frame_index: NDArray[np.int64], fps: float) -> Verdict:
    """The first rule that holds for one episode with n >= 1 rows.

    timestamps: (n,) as stored, None when the column is absent; frame_index: (n,). On the grid: nothing to say. A
    shifted clock or jitter up to half a frame: pair by frame_index and say so. Times that do not rise: refused.
    Larger drift, gaps, a wrong rate: by order, when the caller finds as many frames as rows.
    """
    if timestamps is None:
        return Verdict(note="has no timestamps; frame_index / fps is used")
    if not np.isfinite(timestamps).all():
        row = int(np.flatnonzero(~np.isfinite(timestamps))[0])
        return Verdict(refused=f"timestamp of row {row} is {timestamps[row]}")
    if np.abs(timestamps - frame_index / fps).max() <= GRID:
        return Verdict()
    elapsed = timestamps - timestamps[0]
    grid = (frame_index - frame_index[0]) / fps
    deviation = float(np.abs(elapsed - grid).max())
    if deviation <= GRID:
        return Verdict(note=f"row times begin at {timestamps[0]:.6g} s; frames are paired by frame_index")
    if deviation <= 0.5 / fps:
        return Verdict(note=f"row times are up to {deviation * 1e3:.3g} ms off the grid; paired by frame_index")
    if (np.diff(elapsed) <= 0).any():
        return Verdict(refused=f"row times do not rise (row {int(np.flatnonzero(np.diff(elapsed) <= 0)[0]) + 1})")
    rate = (len(elapsed) - 1) / elapsed[-1]
    note = f"row times are up to {deviation:.3g} s off the grid of {fps:g} Hz (mean rate {rate:.4g} Hz)"
    return Verdict(pairing="order", note=note)


def judge_all(
    timestamps: NDArray[np.float64] | None,
    frame_index: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    fps: float,
) -> dict[int, Verdict]:
    """Verdicts by position of the episode, of those that are not plainly on the grid."""
    if timestamps is not None and len(timestamps):
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(timestamps - frame_index / fps) <= GRID)
        if not off.any():
            return {}
    verdicts = {}
    for position, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        if length == 0:
            continue
        part = slice(start, start + length)
        verdict = judge(None if timestamps is None else timestamps[part], frame_index[part], fps)
        if verdict != Verdict():
            verdicts[position] = verdict
    return verdicts
