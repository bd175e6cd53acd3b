"""The inputs that a written graph is tried on: recorded ones, likely ones, and extreme ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api import Feature, Features, InputError, MissingPart
from rl.data.opening import open_dataset
from rl.data.windows import WindowView

Window = dict[str, NDArray[Any]]
Statistics = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Trial:
    """One input: raw windows (1, T, *shape) as a robot gives them, and the task's text."""

    name: str
    window: Window
    real: bool = False
    task: str = ""


class Recorded:
    """Trials from a data set, spread over all of it. Empty, with a reason, when there is none that fits."""

    def __init__(self, root: str | None, inputs: Features, windows: Mapping[str, Sequence[int]], must: bool) -> None:
        """must: a data set that cannot be used is an InputError, not a reason."""
        self.inputs, self.source, self._view = inputs, "no data set is known", None
        if root is None:
            return
        try:
            self._view = _view(root, inputs, windows)
            self.source = root
        except (InputError, MissingPart) as error:
            if must:
                raise
            self.source = f"synthetic, the data set cannot be used: {error}"

    def __len__(self) -> int:
        return 0 if self._view is None else len(self._view)

    def take(self, count: int) -> Iterator[Trial]:
        if self._view is None:
            return
        rows = np.linspace(0, len(self._view) - 1, min(count, len(self._view))).astype(np.int64)
        for number, position in enumerate(self._view.positions[np.unique(rows)]):
            batch = self._view.batch(np.array([position]))
            window = {name: batch[name].astype(f.dtype, copy=False) for name, f in self.inputs.items()}
            yield Trial(f"recorded {number}", window, real=True, task=str(batch["task"][0]))


def trials(
    inputs: Features,
    windows: Mapping[str, Sequence[int]],
    statistics: Statistics,
    recorded: Recorded,
    count: int,
    task: str,
) -> Iterator[Trial]:
    """`count` recorded or likely inputs, then the extreme ones. Made one by one: pictures are large."""
    made = 0
    for trial in recorded.take(count):
        made += 1
        yield trial
    shapes = {name: _shape(feature, windows) for name, feature in inputs.items()}
    noise = np.random.default_rng(7)
    for number in range(count - made):
        window = {n: _likely(f, shapes[n], statistics.get(n, {}), noise) for n, f in inputs.items()}
        yield Trial(f"likely {number}", window, task=task)
    for name, vector, level in EXTREMES:
        window = {n: _extreme(f, shapes[n], statistics.get(n, {}), vector, level, noise) for n, f in inputs.items()}
        yield Trial(name, window, task=task)


#: name, what vectors hold, what pictures hold (None: noise of every pixel)
EXTREMES: tuple[tuple[str, str, int | None], ...] = (
    ("all zeros", "zero", 0),
    ("white, upper limits", "max", 255),
    ("black, lower limits", "min", 0),
    ("noise, far above", "above", None),
    ("grey, far below", "below", 128),
    ("noise, alternating limits", "mixed", None),
)


def dataset_of(folder: Path) -> str | None:
    """Root of the data set that a checkpoint was trained on, as its train_config.json says it and if it is there."""
    path = folder / "train_config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < 1 << 20 else {}
    except (OSError, ValueError):
        return None
    entry = content.get("dataset") if isinstance(content, dict) else None
    root = entry.get("root") if isinstance(entry, dict) else None
    return root if isinstance(root, str) and Path(root).expanduser().exists() else None


def _view(root: str, inputs: Features, windows: Mapping[str, Sequence[int]]) -> WindowView:
    reader = open_dataset(root)
    sizes = {}
    for name, feature in inputs.items():
        found = reader.info.features.get(name)
        if found is None:
            raise InputError(f"it has no '{name}'", where=root)
        if feature.kind == "image":
            sizes[name] = (feature.shape[0], feature.shape[1])
        elif found.shape != feature.shape:
            raise InputError(f"'{name}' has shape {list(found.shape)}, not {list(feature.shape)}", where=root)
    sizes = {n: size for n, size in sizes.items() if reader.info.features[n].shape[:2] != size}
    offsets = {name: tuple(windows.get(name, (0,))) for name in inputs}
    return WindowView(reader, offsets, image_size=sizes or None)


def _shape(feature: Feature, windows: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    if feature.kind == "language":
        return (1, *feature.shape)
    return (1, len(windows.get(feature.name, (0,))), *feature.shape)


def _likely(
    feature: Feature, shape: tuple[int, ...], entry: Mapping[str, Any], noise: np.random.Generator
) -> NDArray[Any]:
    if feature.kind == "image":
        return _picture(shape, noise)
    if np.dtype(feature.dtype).kind != "f":
        return np.zeros(shape, feature.dtype)
    mean, std = _vector(entry, "mean", 0.0), _vector(entry, "std", 1.0)
    return (mean + std * noise.standard_normal(shape)).astype(feature.dtype)


def _picture(shape: tuple[int, ...], noise: np.random.Generator) -> NDArray[np.uint8]:
    """A gradient with blots and grain: edges, flat parts and colours, unlike noise alone."""
    height, width = shape[2:4]
    y, x = np.mgrid[0:height, 0:width]
    out = np.empty(shape, np.uint8)
    for step in range(shape[1]):
        a, b, c, d = noise.random(4)
        base = 255 * np.stack([a * y / height + (1 - a) * x / width, b * x / width, 1 - c * y / height], -1)
        blot = (y - d * height) ** 2 + (x - c * width) ** 2 < (height * (0.1 + 0.2 * a)) ** 2
        base[blot] = 255 * noise.random(3)
        out[0, step] = np.clip(base + noise.normal(0, 6, base.shape), 0, 255)[..., : shape[4]]
    return out


def _extreme(
    feature: Feature,
    shape: tuple[int, ...],
    entry: Mapping[str, Any],
    vector: str,
    level: int | None,
    noise: np.random.Generator,
) -> NDArray[Any]:
    if feature.kind == "image":
        return np.full(shape, level, np.uint8) if level is not None else noise.integers(0, 256, shape, dtype=np.uint8)
    if np.dtype(feature.dtype).kind != "f":
        return np.zeros(shape, feature.dtype)
    low, high = _vector(entry, "min", -1.0), _vector(entry, "max", 1.0)
    span = np.maximum(np.abs(high - low), 1e-3)
    values = {
        "zero": np.zeros_like(low),
        "max": high,
        "min": low,
        "above": high + 10 * span,
        "below": low - 10 * span,
        "mixed": np.where(np.arange(np.size(low)).reshape(np.shape(low)) % 2, low, high),
    }[vector]
    return np.broadcast_to(values, shape).astype(feature.dtype)


def _vector(entry: Mapping[str, Any], key: str, default: float) -> NDArray[np.float64]:
    return np.asarray(entry.get(key, default), np.float64)
