"""Windows over any reader: rows at offsets around a start, clamped to its episode, with masks of what was clamped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rl.api import Feature, InputError, Offsets
from rl.api.protocols import DatasetReader, Episode

Size = tuple[int, int]


@runtime_checkable
class ChecksFrames(Protocol):
    """A reader that can say before any picture is decoded whether those of some episodes can be."""

    def check_frames(self, cameras: Sequence[str], episodes: Sequence[int]) -> Sequence[str]:
        """Notes, one line each. InputError naming files and episodes when pictures are missing."""


class WindowView:
    """What a policy is shown at each row: `offsets` of every named feature.

    offsets: feature -> steps relative to now, ascending. features: further names that get (0,). image_size: (H, W) of
    decoded pictures, or one each by camera. episodes: the set's own episode numbers to use, all when None; refused
    ones are left out and named in `notes`. drop_last: rows at an episode's end that are no start.
    `positions`: (N,) int64, every legal start as a row of the reader. Rows outside the episode repeat its first or
    last row and are true in `<feature>_is_pad`. Errors: InputError for an unknown feature or episode, for missing
    pictures, and when nothing is left. Cheap to pickle when the reader is.
    """

    def __init__(
        self,
        reader: DatasetReader,
        offsets: Offsets,
        *,
        image_size: Size | Mapping[str, Size] | None = None,
        episodes: Iterable[int] | None = None,
        drop_last: int = 0,
        features: Iterable[str] = (),
    ) -> None:
        known = reader.info.features
        wanted = {**dict.fromkeys(features, (0,)), **{name: tuple(steps) for name, steps in offsets.items()}}
        for name in wanted:
            if name not in known:
                raise InputError(
                    f"there is no feature '{name}'", where="data set", todo=f"it has {', '.join(sorted(known))}"
                )
        self.reader = reader
        self.offsets: dict[str, NDArray[np.int64]] = {n: np.asarray(s, np.int64) for n, s in wanted.items()}
        self.notes: tuple[str, ...] = ()
        self.episodes = self._choose(reader.info.episodes, episodes)
        self._starts = np.array([e.start for e in self.episodes], np.int64)
        self._ends = np.array([e.start + e.length for e in self.episodes], np.int64)
        self._order = np.argsort(self._starts, kind="stable")
        ranges = [np.arange(e.start, e.start + max(0, e.length - drop_last), dtype=np.int64) for e in self.episodes]
        self.positions: NDArray[np.int64] = np.concatenate(ranges) if ranges else np.empty(0, np.int64)
        if not len(self.positions):
            raise InputError(
                f"no episode is longer than the {drop_last} rows that the policy drops at its end", where="data set"
            )
        self.cameras = tuple(n for n in wanted if known[n].kind == "image")
        self._sizes = {n: _size_of(image_size, n) for n in self.cameras}
        if self.cameras and isinstance(reader, ChecksFrames):
            self.notes += tuple(reader.check_frames(self.cameras, [e.index for e in self.episodes]))

    def __len__(self) -> int:
        return len(self.positions)

    def _choose(self, available: Sequence[Episode], wanted: Iterable[int] | None) -> list[Episode]:
        by_index = {e.index: e for e in available}
        numbers = list(by_index) if wanted is None else list(dict.fromkeys(int(i) for i in wanted))
        missing = [i for i in numbers if i not in by_index]
        if missing:
            raise InputError(
                f"there is no episode {missing[0]}",
                where="data set",
                todo=f"it has {len(by_index)}: {min(by_index, default=0)} to {max(by_index, default=0)}",
            )
        chosen = [by_index[i] for i in numbers]
        refused = [e for e in chosen if e.refused]
        self.notes += tuple(f"episode {e.index} is left out: {e.refused}" for e in refused)
        usable = [e for e in chosen if not e.refused and e.length > 0]
        if not usable:
            cause = f" (episode {refused[0].index}: {refused[0].refused})" if refused else ""
            raise InputError(f"no usable episode among {len(chosen)}{cause}", where="data set")
        return usable

    def feature(self, name: str) -> Feature:
        """The feature as `batch` gives it: pictures at the size they are decoded to."""
        feature = self.reader.info.features[name]
        size = self._sizes.get(name)
        if size is None:
            return feature
        return Feature(name, feature.kind, (*size, feature.shape[-1]), feature.dtype, feature.unit, feature.names)

    def spec(self, batch_size: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of each array of a batch; texts are not arrays."""
        arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        for name, steps in self.offsets.items():
            feature = self.feature(name)
            if feature.dtype != "string":
                arrays[name] = ((batch_size, len(steps), *feature.shape), np.dtype(feature.dtype))
            arrays[f"{name}_is_pad"] = ((batch_size, len(steps)), np.dtype(bool))
        return arrays | {"index": ((batch_size,), np.dtype(np.int64))}

    def rows_at(self, positions: NDArray[np.int64], steps: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows (B, T) at `steps` around `positions`, clamped to their episodes, and the mask of those clamped."""
        ordered = self._starts[self._order]
        which = self._order[np.searchsorted(ordered, positions, side="right") - 1]
        first, end = self._starts[which][:, None], self._ends[which][:, None]
        if (positions < first[:, 0]).any() or (positions >= end[:, 0]).any():
            raise InputError("a row outside the chosen episodes was asked for", where="data set")
        rows = positions[:, None] + steps[None, :]
        return np.clip(rows, first, end - 1), (rows < first) | (rows >= end)

    def batch(self, positions: NDArray[np.int64]) -> dict[str, Any]:
        """Windows that start at the rows `positions` (B,).

        Returns each feature as (B, T, *shape) in its own dtype (pictures uint8 HWC), `<feature>_is_pad` (B, T) bool,
        `index` (B,) int64 and `task`, a list of B texts.
        """
        positions = np.asarray(positions, np.int64)
        out: dict[str, Any] = {}
        for steps, names in self._by_steps():
            rows, padded = self.rows_at(positions, steps)
            unique, back = np.unique(rows, return_inverse=True)
            back = back.reshape(rows.shape)
            columns = [n for n in names if n not in self._sizes]
            values = self.reader.rows(unique, columns) if columns else {}
            for name in columns:
                out[name] = values[name][back]
            for name in names:
                if name in self._sizes:
                    images = self.reader.frames(name, rows.ravel(), self._sizes[name])
                    out[name] = images.reshape(*rows.shape, *images.shape[1:])
                out[f"{name}_is_pad"] = padded.copy()
        out["index"] = positions
        out["task"] = self._tasks(positions)
        return out

    def _by_steps(self) -> list[tuple[NDArray[np.int64], list[str]]]:
        """Features that share offsets are read together."""
        groups: dict[tuple[int, ...], list[str]] = {}
        for name, steps in self.offsets.items():
            groups.setdefault(tuple(int(s) for s in steps), []).append(name)
        return [(np.asarray(steps, np.int64), names) for steps, names in groups.items()]

    def _tasks(self, positions: NDArray[np.int64]) -> list[str]:
        """The text of each row: by its `task_index` when the set has one, else its episode's only text."""
        info = self.reader.info
        if "task_index" in info.features:
            numbers = self.reader.rows(positions, ["task_index"])["task_index"].reshape(-1)
            return [info.tasks.get(int(number), "") for number in numbers]
        which = self._order[np.searchsorted(self._starts[self._order], positions, side="right") - 1]
        return [self.episodes[w].tasks[0] if len(self.episodes[w].tasks) == 1 else "" for w in which]


def _size_of(image_size: Size | Mapping[str, Size] | None, name: str) -> Size | None:
    given = image_size.get(name) if isinstance(image_size, Mapping) else image_size
    if given is None:
        return None
    height, width = (int(v) for v in given)
    if not (1 <= height <= 8192 and 1 <= width <= 8192):
        raise InputError(f"image size {height}x{width} is outside 1..8192", where="data")
    return height, width
