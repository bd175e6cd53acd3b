"""Statistics of data sets as the field stores them: mean, std, min, max, count and five quantiles, and their merge.

Vectors give [n], scalars [1], features of rank >= 2 are reduced over all axes but the last, pictures give (3, 1, 1) in
0..1. Quantile q is the smallest value that at least q * rows do not exceed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api import InputError
from rl.api.protocols import DatasetReader

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Statistics = Mapping[str, NDArray[Any]]

_PICTURES = 480  # frames of one camera that `statistics_for` decodes at most


def compute(values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Statistics over rows (N, *shape) of numbers or bools, float64; `count` is [N].

    Errors: InputError when there is no row or a value is not finite (the message gives the first such row).
    """
    rows = len(values)
    if rows == 0:
        raise InputError("statistics of no rows were asked for", where="data")
    table = np.asarray(values, np.float64)
    flat = table.reshape(rows, 1) if table.ndim == 1 else table.reshape(-1, table.shape[-1])
    if not np.isfinite(flat).all():
        row = int(np.argwhere(~np.isfinite(table.reshape(rows, -1)).all(axis=1))[0, 0])
        raise InputError(f"row {row} holds NaN or infinity", where="data")
    ordered = np.sort(flat, axis=0)
    out = {"min": ordered[0], "max": ordered[-1], "mean": flat.mean(axis=0), "std": flat.std(axis=0)}
    out["count"] = np.array([rows], np.int64)
    for name, q in QUANTILES.items():
        out[name] = ordered[_rank(q, len(ordered))]
    return out


def _rank(q: float, count: int) -> int:
    """Position, in sorted order, of the smallest value that at least q * count values do not exceed."""
    return min(count - 1, max(0, int(np.ceil(q * count - 1e-9)) - 1))


def sampled_frames(count: int) -> NDArray[np.int64]:
    """Which of an episode's `count` frames its camera statistics are taken from: all up to 100, then count^0.75."""
    number = max(min(100, count), min(int(count**0.75), 10_000))
    return np.round(np.linspace(0, count - 1, number)).astype(np.int64)


def thinned(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every k-th pixel of a picture (H, W, C) whose sides reach 300, so that about 150 stay on the shorter side."""
    height, width = image.shape[:2]
    if max(height, width) < 300:
        return image
    stride = max(1, int(width / 150) if width > height else int(height / 150))
    return image[::stride, ::stride]


def histogram(image: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(C, 256) counts of the levels of a thinned picture (H, W, C): all that its statistics need."""
    pixels = thinned(image)
    levels = pixels.reshape(-1, pixels.shape[-1])
    return np.stack([np.bincount(levels[:, c], minlength=256) for c in range(levels.shape[1])]).astype(np.uint32)


def from_histogram(counts: NDArray[Any], frames: int) -> dict[str, NDArray[Any]]:
    """Camera statistics (C, 1, 1) in 0..1 from summed level counts (C, 256); `count` is [frames]."""
    counts = np.asarray(counts, np.float64)
    levels = np.arange(256) / 255.0
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    std = np.sqrt(np.maximum(0, ((levels - mean[:, None]) ** 2 * counts).sum(axis=1) / total))
    below = counts.cumsum(axis=1)
    used = counts > 0
    low = levels[used.argmax(axis=1)]
    high = levels[255 - used[:, ::-1].argmax(axis=1)]
    out = {"min": low, "max": high, "mean": mean, "std": std}
    for name, q in QUANTILES.items():
        out[name] = levels[(below >= q * total[:, None] - 1e-9).argmax(axis=1)]
    out = {name: value.reshape(-1, 1, 1) for name, value in out.items()}
    out["count"] = np.array([frames], np.int64)
    return out


def merge(parts: Sequence[Statistics]) -> dict[str, NDArray[Any]]:
    """Statistics of several episodes as one.

    min and max are exact; mean is weighted by count; var = sum(count * (var_i + (mean_i - mean)^2)) / sum(count);
    quantiles are the weighted means of the parts' (what the field's stored files hold: approximate). Keys that one
    part lacks are left out. Errors: InputError when shapes differ or nothing is given.
    """
    if not parts:
        raise InputError("statistics of no episodes were asked for", where="data")
    keys = [k for k in parts[0] if all(k in p for p in parts)]
    shapes = {np.shape(p["mean"]) for p in parts}
    if len(shapes) != 1:
        raise InputError(f"statistics of different shapes cannot be merged: {sorted(shapes)}", where="data")
    weight = np.array([float(np.asarray(p["count"]).reshape(-1)[0]) for p in parts])
    share = (weight / weight.sum()).reshape(-1, *(1,) * len(next(iter(shapes))))
    stacked = {k: np.stack([np.asarray(p[k], np.float64) for p in parts]) for k in keys if k != "count"}
    out: dict[str, NDArray[Any]] = {}
    for key, values in stacked.items():
        if key in QUANTILES or key == "mean":
            out[key] = (values * share).sum(axis=0)
    mean = out["mean"]
    out["min"], out["max"] = stacked["min"].min(axis=0), stacked["max"].max(axis=0)
    out["std"] = np.sqrt(((stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2) * share).sum(axis=0))
    out["count"] = np.array([int(weight.sum())], np.int64)
    return out


def sane(statistics: Statistics, size: int) -> bool:
    """Whether stored statistics can be used: finite, `size` elements each, min <= max, std >= 0."""
    for key in ("mean", "std", "min", "max"):
        value = statistics.get(key)
        if value is None or np.size(value) != size or not np.isfinite(value).all():
            return False
    quantiles = (statistics[q] for q in QUANTILES if q in statistics)
    if any(np.size(q) != size or not np.isfinite(q).all() for q in quantiles):
        return False
    return bool((statistics["min"] <= statistics["max"]).all() and (statistics["std"] >= 0).all())


def statistics_for(reader: DatasetReader, names: Iterable[str]) -> dict[str, dict[str, NDArray[Any]]]:
    """Statistics of `names`: the set's own where they are complete (quantiles too), else computed from its rows.

    Cameras are computed from at most 480 decoded pictures spread over all episodes that are not refused. Features that
    hold no numbers (texts) are left out. Errors: InputError naming the feature when the set has none of that name or
    its rows hold NaN.
    """
    stored = reader.info.statistics or {}
    out: dict[str, dict[str, NDArray[Any]]] = {}
    for name in names:
        feature = reader.info.features.get(name)
        if feature is None:
            raise InputError(f"there is no feature '{name}'", where="data set")
        if feature.dtype == "string" or feature.kind == "language":
            continue
        size = 3 if feature.kind == "image" else _width(feature.shape)
        have = stored.get(name)
        if have is not None and all(q in have for q in QUANTILES) and sane(have, size):
            out[name] = {k: np.asarray(v) for k, v in have.items()}
        else:
            out[name] = _camera(reader, name) if feature.kind == "image" else _column(reader, name)
    return out


def _width(shape: tuple[int, ...]) -> int:
    return shape[-1] if shape else 1


def _usable_rows(reader: DatasetReader) -> NDArray[np.int64]:
    ranges = [np.arange(e.start, e.start + e.length, dtype=np.int64) for e in reader.info.episodes if not e.refused]
    if not ranges:
        raise InputError("there is no usable episode to take statistics from", where="data set")
    return np.concatenate(ranges)


def _column(reader: DatasetReader, name: str) -> dict[str, NDArray[Any]]:
    try:
        return compute(reader.rows(_usable_rows(reader), [name])[name])
    except InputError as error:
        raise InputError(error.what, where=f"column {name}", todo="repair or leave out those rows") from error


def _camera(reader: DatasetReader, name: str) -> dict[str, NDArray[Any]]:
    rows = _usable_rows(reader)
    picked = rows[np.unique(np.round(np.linspace(0, len(rows) - 1, min(_PICTURES, len(rows)))).astype(np.int64))]
    counts = np.zeros((3, 256), np.int64)
    for at in range(0, len(picked), 32):  # bounded: 32 full pictures at a time
        for image in reader.frames(name, picked[at : at + 32]):
            counts += histogram(image)
    return from_histogram(counts, len(picked))
