"""Compares a data set read by `rl` with what the reference read from it: the part of the golden checker for sets."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from rl.api import InputError
from rl.data.statistics import QUANTILES, compute, merge
from rl.data.windows import WindowView
from rl.plugins.lerobot_format.config import LeRobotConfig
from rl.plugins.lerobot_format.reader import LeRobotReader

Report = Callable[[str, float, float, bool], None]

_CAMERA_SLACK = {"mean": 0.02, "std": 0.03, "min": 0.25, "max": 0.25}  # decoded pictures are not those measured


def check_dataset(folder: Path, meta: Mapping[str, Any], report: Report) -> bool:
    """Whether everything under folder/expected is reproduced; `report` is called once a tensor.

    Errors: LookupError for a format that is not known here.
    """
    if meta.get("format") != "lerobot-v3.0":
        raise LookupError(f"data set format {meta.get('format')!r}")
    golden = _Golden(folder, meta, report)
    golden.columns()
    golden.items()
    golden.frames()
    golden.statistics()
    golden.episode_statistics()
    golden.episodes()
    golden.tasks()
    return golden.ok


def _cancellation(rows: NDArray[Any], own: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """What sqrt(E[x^2] - E[x]^2) in the column's own precision can lose: the reference's formula."""
    precision = np.finfo(rows.dtype if rows.dtype.kind == "f" else np.float64).eps
    square = own["mean"] ** 2 + own["std"] ** 2
    return 2 * precision * square / np.maximum(own["std"], np.sqrt(precision * square) + 1e-30)


def check(folder: Path, golden: Mapping[str, Any], comparison: Any) -> None:
    """The same for check.py: rows go into its comparison, and an unknown format is its NotKnown."""
    compare = sys.modules[type(comparison).__module__]

    def report(name: str, absolute: float, relative: float, good: bool) -> None:
        comparison.rows[name] = compare.Row(name, good, absolute, relative)

    try:
        check_dataset(folder, golden, report)
    except LookupError as error:
        raise compare.NotKnown(f"{error.args[0]} is not known yet") from None
    except InputError as error:
        comparison.rows["opens"] = compare.Row("opens", False, note=str(error))


class _Golden:
    def __init__(self, folder: Path, meta: Mapping[str, Any], report: Report) -> None:
        self.folder, self.meta, self._report, self.ok = folder, meta, report, True
        self.reader = LeRobotReader(folder / meta.get("dataset", "dataset"), LeRobotConfig())
        self.all = np.arange(self.reader.table.count)
        tolerance = meta.get("tolerance", {})
        self.pixels = float(tolerance.get("pixels", {}).get(self._decoder(), 2))
        statistics = tolerance.get("stats", {})
        self.rtol, self.atol = float(statistics.get("rtol", 1e-6)), float(statistics.get("atol", 1e-9))

    def _decoder(self) -> str:
        """AV1 and H.264 decoding is exact by the standards; the conversion to RGB is the library's."""
        return "same_decoder_library"

    def expected(self, name: str) -> dict[str, NDArray[Any]]:
        path = self.folder / "expected" / f"{name}.safetensors"
        if not path.is_file():
            return {}
        try:
            return load_file(path)
        except (SafetensorError, struct.error) as error:
            raise ValueError(f"{path}: {error}") from error

    def hit(self, name: str, got: Any, want: NDArray[Any], rtol: float = 0.0, atol: float = 0.0) -> None:
        """Report one tensor; shapes are compared flattened where one is a scalar."""
        got = np.asarray(got)
        if got.size == want.size == 1 or (want.ndim == 1 and got.size == want.size):
            got = got.reshape(want.shape)
        if got.shape != want.shape:
            self.fail(f"{name} {got.shape} != {want.shape}")
            return
        a, b = got.astype(np.float64), want.astype(np.float64)
        off = np.abs(a - b)
        with np.errstate(all="ignore"):
            relative = np.where(off > 0, off / np.abs(b), 0.0)
        good = bool((off <= atol + rtol * np.abs(b)).all())
        if a.dtype.kind != "f" or rtol == atol == 0:
            good = bool(np.array_equal(a, b))
        self.tell(name, float(off.max(initial=0)), float(relative.max(initial=0)), good)

    def tell(self, name: str, absolute: float, relative: float, good: bool) -> None:
        self.ok &= good
        self._report(name, absolute, relative, good)

    def fail(self, name: str) -> None:
        self.tell(name, float("inf"), float("inf"), False)

    def equal(self, name: str, got: Any, want: Any) -> None:
        good = got == want
        off = 0.0 if good else float("inf")
        self.tell(name if good else f"{name}: {got!r} != {want!r}", off, off, good)

    # --- values

    def columns(self) -> None:
        features = self.reader.info.features
        for name, want in self.expected("columns").items():
            if name not in features:
                self.fail(f"columns/{name} is not in the set")
                continue
            got = self.reader.rows(self.all, [name])[name]
            self.equal(f"columns/{name} dtype", str(got.dtype), str(want.dtype))
            self.hit(f"columns/{name}", got.reshape(want.shape) if got.size == want.size else got, want)
        for name, stated in self.meta.get("columns", {}).items():
            if name in features and not stated.startswith("string"):
                self.equal(f"columns/{name} stated", features[name].dtype, stated.split()[0])
        self.equal("total_frames", self.reader.table.count, self.meta.get("total_frames", self.reader.table.count))
        self.equal("fps", self.reader.info.fps, float(self.meta.get("fps", self.reader.info.fps)))

    def items(self) -> None:
        wanted = self.expected("items")
        deltas: Mapping[str, Sequence[int]] = self.meta.get("delta_frames", {})
        keys = {key.partition("/")[2] for key in wanted}
        plain = [k for k in keys if k in self.reader.info.features and k not in deltas]
        view = WindowView(self.reader, {k: tuple(v) for k, v in deltas.items()}, features=plain)
        texts = self.meta.get("item_tasks", {})
        for index in self.meta.get("item_indices", []):
            batch = view.batch(np.array([index]))
            for key in sorted(k for k in wanted if k.startswith(f"{index}/")):
                self._item(key, batch, deltas, wanted[key])
            if str(index) in texts:
                self.equal(f"items/{index}/task", batch["task"][0], texts[str(index)])
            for name, text in self.meta.get("item_strings", {}).get(str(index), {}).items():
                self.equal(f"items/{index}/{name}", self.reader.rows(np.array([index]), [name])[name][0], text)

    def _item(self, key: str, batch: Mapping[str, Any], deltas: Mapping[str, Any], want: NDArray[Any]) -> None:
        name = key.partition("/")[2]
        if name not in batch:
            self.fail(f"items/{key} is not offered")
            return
        got = np.asarray(batch[name])[0] if name != "index" else np.asarray(batch[name])
        feature = self.reader.info.features.get(name)
        if feature is not None and feature.kind == "image":
            got = np.moveaxis(got, -1, -3)
            got = got if name in deltas else got[0]
            self._pixels(f"items/{key}", got, want)
            return
        self.hit(f"items/{key}", got.astype(want.dtype).reshape(want.shape) if got.size == want.size else got, want)

    def _pixels(self, name: str, got: NDArray[np.uint8], want: NDArray[Any]) -> None:
        if want.dtype != np.uint8:
            want = np.rint(want * 255)
        self.hit(name, got, want, atol=self.pixels)

    def frames(self) -> None:
        for key, want in self.expected("frames").items():
            index, _, camera = key.partition("/")
            got = self.reader.frames(camera, np.array([int(index)]))[0]
            self._pixels(f"frames/{key}", np.moveaxis(got, -1, 0), want)

    # --- statistics

    def statistics(self) -> None:
        have = self.reader.info.statistics or {}
        for key, want in self.expected("stats").items():
            name, _, kind = key.rpartition("/")
            if kind not in have.get(name, {}):
                self.fail(f"stats/{key} is not offered")
                continue
            self.hit(f"stats/{key}", have[name][kind], want, self.rtol, self.atol)

    def episode_statistics(self) -> None:
        """Recompute: rows against the episodes' stored values, and the merge of those against the whole."""
        whole = self.expected("stats")
        values = self.expected("columns")
        stored = {e.index: self.reader.episode_statistics(e.index) for e in self.reader.info.episodes}
        if not all(stored.values()):
            return
        for name in sorted({k.rpartition("/")[0] for k in whole}):
            parts = [each[name] for each in stored.values() if name in each]
            if len(parts) != len(stored):
                self.fail(f"stats of episodes/{name} are incomplete")
                continue
            for kind, got in merge(parts).items():
                if f"{name}/{kind}" in whole:
                    self.hit(f"merged/{name}/{kind}", got, whole[f"{name}/{kind}"], self.rtol, self.atol)
            if name in values:
                self._recomputed(name, values[name], stored)
            elif self.reader.info.features[name].kind == "image":
                self._cameras(name, stored)

    def _recomputed(self, name: str, values: NDArray[Any], stored: Mapping[int, Any]) -> None:
        for episode in self.reader.info.episodes:
            rows = values[episode.start : episode.start + episode.length]
            own, said = compute(rows), stored[episode.index][name]
            span = own["max"] - own["min"]
            for kind in ("min", "max", "mean", "std"):
                off = np.abs(own[kind] - said[kind].reshape(own[kind].shape))
                slack = 1e-6 * span + 1e-6 * np.abs(own[kind]) + 1e-9
                if kind == "std":
                    slack = slack + _cancellation(rows, own)
                self._slack(f"recomputed/{episode.index}/{name}/{kind}", off, slack)
            for kind in QUANTILES:
                if kind in said:
                    off = np.abs(own[kind] - said[kind].reshape(own[kind].shape))
                    bound = span / 5000 * (1 + 1e-6) + 1e-9 + 1e-6 * np.abs(own[kind])
                    self._slack(f"recomputed/{episode.index}/{name}/{kind}", off, bound)

    def _cameras(self, name: str, stored: Mapping[int, Any]) -> None:
        for episode in self.reader.info.episodes:
            images = self.reader.frames(name, np.arange(episode.start, episode.start + episode.length))
            own = compute(images.reshape(-1, 3))
            for kind, slack in _CAMERA_SLACK.items():
                off = np.abs(own[kind] / 255 - stored[episode.index][name][kind].reshape(-1))
                self._slack(f"decoded/{episode.index}/{name}/{kind}", off, np.full(3, slack))

    def _slack(self, name: str, off: NDArray[np.float64], bound: NDArray[np.float64]) -> None:
        self.tell(name, float(off.max(initial=0)), float((off / bound).max(initial=0)), bool((off <= bound).all()))

    # --- tables

    def episodes(self) -> None:
        lengths = self.meta.get("lengths")
        if lengths is not None:
            self.equal("lengths", [e.length for e in self.reader.info.episodes], list(lengths))
        by_number = {row.index: row for row in self.reader.episode_rows}
        for want in self.meta.get("episodes", []):
            number = want["episode_index"]
            row, at = by_number.get(number), f"episodes/{number}"
            if row is None:
                self.fail(f"{at} is not in the set")
                continue
            self.equal(f"{at}/tasks", sorted(row.tasks), sorted(want["tasks"]))
            self.equal(f"{at}/rows", (row.begin, row.end), (want["dataset_from_index"], want["dataset_to_index"]))
            for camera, place in row.videos.items():
                self.equal(f"{at}/{camera}/from", place.begin, want[f"videos/{camera}/from_timestamp"])
        for row in self.reader.episode_rows:
            self.equal(f"episodes/{row.index}/refused", self._refusal(row.index), "")

    def _refusal(self, number: int) -> str:
        return next((e.refused for e in self.reader.info.episodes if e.index == number), "not listed")

    def tasks(self) -> None:
        want = self.meta.get("tasks")
        if want is not None:
            self.equal("tasks", {v: k for k, v in self.reader.info.tasks.items()}, dict(want))
