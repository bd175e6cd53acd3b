"""Records LeRobotDataset v3.0: an episode is in the set, whole and on disk, or not at all.

Each episode gets its own data, video and episodes files, which the format allows. They are finished under `.rl/open`,
outside the folders that readers search, then renamed into place; then come tasks and statistics, and last info.json,
whose rename is the commit. What a killed writer left beyond that point is moved to `.rl/aside` when the next one opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api import Feature, Features, InputError, RlError
from rl.data.statistics import compute, merge
from rl.plugins.lerobot_format import durable, schema
from rl.plugins.lerobot_format.config import LeRobotConfig
from rl.plugins.lerobot_format.encoder import CameraEncoder
from rl.plugins.lerobot_format.existing import Existing, open_existing

_LEAST_ROWS = 2  # the format's own tools cannot merge the statistics of an episode of one frame


class LeRobotWriter:
    """A set that grows by whole episodes: `begin`, `append`, then `save` or `discard`; `close` at the end.

    features: what every row holds (default columns are added); pictures are uint8 (H, W, 3) RGB with even sizes.
    fps: a whole number. An existing set must have the same features and rate. Errors: InputError when it has not, when
    a row does not fit, when the folder holds something else or is written by another process; RlError when a disk or
    encoder fails: the episode is then gone, those saved before are not. For one thread at a time.
    """

    def __init__(self, root: Path, features: Features, fps: float, config: LeRobotConfig | None = None) -> None:
        self.root, self.config = root, config or LeRobotConfig()
        if not 0 < fps <= 1000 or float(fps) != int(fps):
            raise InputError(f"a recording needs a whole number of frames a second, not {fps:g}", where="record")
        self.fps = int(fps)
        self.features = schema.recordable(features)
        self._check_folder()
        self._scratch = root / ".rl" / "open"
        durable.make_folder(self._scratch.parent)
        self._lock = durable.Lock(root / ".rl" / "lock", str(root))
        self._episode: _Episode | None = None
        try:
            self._set = self._reopen()
        except BaseException:
            self._lock.release()
            raise

    @property
    def episodes(self) -> int:
        """Episodes saved so far, those of earlier recordings included."""
        return self._set.episodes

    @property
    def rows(self) -> int:
        """Rows of the open episode; 0 when none is open."""
        return self._episode.rows if self._episode else 0

    def begin(self, task: str) -> None:
        """Open an episode with its task's text."""
        self._check_closed()
        if self._episode is not None:
            raise RlError("an episode is open already", where=str(self.root), todo="save or discard it")
        if self._set.dirty:
            self._set = self._reopen()
        durable.make_folder(self._scratch)
        self._episode = _Episode(task, self.features, self._scratch, self.fps, self.config)

    def append(self, row: Mapping[str, NDArray[Any]], task: str | None = None) -> None:
        """One frame: every feature once, (*shape); its task is the episode's unless given.

        Copies what it is given. Waits only while a camera's encoder is `config.queue` frames behind.
        """
        self._opened().append(row, task)

    def save(self) -> int:
        """Finish the episode; its index. Once it returns, a power cut loses nothing of it."""
        episode = self._opened()
        if episode.rows < _LEAST_ROWS:
            rows = episode.rows
            self.discard()
            raise InputError(
                f"an episode of {rows} frame{'s' * (rows != 1)} cannot be stored; it is discarded",
                where=str(self.root),
                todo=f"record at least {_LEAST_ROWS}",
            )
        index = self._set.episodes
        try:
            self._commit(episode)
        except OSError as error:
            raise RlError(f"the episode cannot be written ({error.strerror})", where=str(self.root)) from error
        finally:
            self._episode = None
            episode.abandon()
        return index

    def discard(self) -> None:
        """Forget the open episode, if there is one."""
        episode, self._episode = self._episode, None
        if episode is not None:
            episode.abandon()
            episode.remove_files()

    def close(self) -> None:
        """Discard what is open and let others write. May be called twice."""
        self.discard()
        self._lock.release()

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- inside

    def _check_folder(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise InputError("is no folder", where=str(self.root))
        info = self.root / "meta" / "info.json"
        ours = self.root / ".rl"
        if self.root.is_dir() and not info.is_file() and not ours.is_dir() and any(self.root.iterdir()):
            raise InputError("holds other files than a data set", where=str(self.root), todo="choose a new folder")

    def _check_closed(self) -> None:
        if self._lock.released:
            raise RlError("the writer is closed", where=str(self.root))

    def _opened(self) -> _Episode:
        self._check_closed()
        if self._episode is None:
            raise RlError("no episode is open", where=str(self.root), todo="begin one")
        return self._episode

    def _reopen(self) -> Existing:
        return open_existing(self.root, self.features, self.fps, self.config)

    def _commit(self, episode: _Episode) -> None:
        """Everything aside and synced, then the renames in an order that a kill cannot hurt."""
        known, index = self._set, self._set.episodes
        cameras = {name: encoder.finish() for name, encoder in episode.encoders.items()}
        numbers = known.next_numbers(self.features)
        tasks, columns = self._columns(episode, index)
        statistics = {name: compute(values) for name, values in columns.items() if values.dtype != object} | cameras
        row = self._row(episode, columns, numbers, statistics)
        data = self._scratch / "data.rows"
        schema.write_table(data, known.data_table(columns))
        meta = self._scratch / "episode.row"
        schema.write_table(meta, schema.episode_table(row, known.episode_schema))

        known.dirty = True  # until the commit: a failure between leaves files that the next opening moves aside
        for name, encoder in episode.encoders.items():
            durable.place(encoder.path, self.root / known.video_file(name, numbers[name]))
        durable.place(data, self.root / known.data_file(numbers["data"]))
        durable.place(meta, self.root / known.episodes_file(numbers["episodes"]))
        if tasks != known.tasks or not (self.root / "meta" / "tasks.parquet").is_file():
            table = self._scratch / "tasks.new"
            schema.write_table(table, schema.tasks_table(tasks))
            durable.place(table, self.root / "meta" / "tasks.parquet")
        total = known.merged(statistics, merge)
        durable.write_json(self._scratch, self.root / "meta" / "stats.json", schema.statistics_json(total))
        info = known.info_after(episode.rows, tasks)
        durable.write_json(self._scratch, self.root / "meta" / "info.json", info)
        self._set = known.after(episode.rows, tasks, numbers, total, info)

    def _columns(self, episode: _Episode, index: int) -> tuple[dict[int, str], dict[str, NDArray[Any]]]:
        """The task table with the episode's texts, and every column of its rows."""
        tasks = dict(self._set.tasks)
        by_text = {text: number for number, text in reversed(tasks.items())}
        for text in episode.texts:
            if text not in by_text:
                by_text[text] = max(tasks, default=-1) + 1
                tasks[by_text[text]] = text
        count = episode.rows
        columns = {name: episode.column(name, f) for name, f in self.features.items() if f.kind != "image"}
        frame = np.arange(count, dtype=np.int64)
        columns["timestamp"] = (frame / self.fps).astype(np.float32)
        columns["frame_index"] = frame
        columns["episode_index"] = np.full(count, index, np.int64)
        columns["index"] = self._set.frames + frame
        columns["task_index"] = np.array([by_text[text] for text in episode.texts], np.int64)
        return tasks, columns

    def _row(
        self,
        episode: _Episode,
        columns: Mapping[str, NDArray[Any]],
        numbers: Mapping[str, tuple[int, int]],
        statistics: Mapping[str, Mapping[str, NDArray[Any]]],
    ) -> dict[str, Any]:
        count, begin = episode.rows, self._set.frames
        row: dict[str, Any] = {
            "episode_index": int(columns["episode_index"][0]),
            "tasks": list(dict.fromkeys(episode.texts)),
            "length": count,
            "data/chunk_index": numbers["data"][0],
            "data/file_index": numbers["data"][1],
            "dataset_from_index": begin,
            "dataset_to_index": begin + count,
        }
        for name in episode.encoders:
            row[f"videos/{name}/chunk_index"], row[f"videos/{name}/file_index"] = numbers[name]
            row[f"videos/{name}/from_timestamp"] = 0.0
            row[f"videos/{name}/to_timestamp"] = count / self.fps
        row |= schema.statistics_columns(statistics)
        row["meta/episodes/chunk_index"], row["meta/episodes/file_index"] = numbers["episodes"]
        return row


class _Episode:
    """The rows of the open episode and its running encoders."""

    def __init__(
        self, task: str, features: Mapping[str, Feature], scratch: Path, fps: int, config: LeRobotConfig
    ) -> None:
        self.task, self.features = task, features
        self.texts: list[str] = []
        self._values: dict[str, list[NDArray[Any]]] = {n: [] for n, f in features.items() if f.kind != "image"}
        self.encoders: dict[str, CameraEncoder] = {}
        for number, (name, feature) in enumerate((n, f) for n, f in features.items() if f.kind == "image"):
            size = (feature.shape[0], feature.shape[1])
            self.encoders[name] = CameraEncoder(scratch / f"camera-{number}.mp4", size, fps, config)

    @property
    def rows(self) -> int:
        return len(self.texts)

    def append(self, row: Mapping[str, NDArray[Any]], task: str | None) -> None:
        if row.keys() != self.features.keys():
            missing, extra = self.features.keys() - row.keys(), row.keys() - self.features.keys()
            parts = [f"lacks {', '.join(sorted(missing))}"] * bool(missing) + [
                f"has {', '.join(sorted(extra))} too much"
            ] * bool(extra)
            raise InputError(" and ".join(parts), where=f"row {self.rows}")
        values = {name: self._fitting(name, np.asarray(value)) for name, value in row.items()}
        for name, encoder in self.encoders.items():
            encoder.put(values[name])
        for name, kept in self._values.items():
            kept.append(values[name])
        self.texts.append(self.task if task is None else task)

    def _fitting(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """The value in the feature's shape and dtype; a copy unless it is a picture, which the encoder copies."""
        feature, where = self.features[name], f"row {self.rows}, {name}"
        if feature.dtype == "string":
            return np.array(str(value), object)
        if value.shape != feature.shape and not (value.size == 1 and feature.shape in ((), (1,))):
            raise InputError(f"has shape {value.shape}, declared is {feature.shape}", where=where)
        if feature.kind == "image":
            if value.dtype != np.uint8:
                raise InputError(f"is {value.dtype}, pictures are uint8", where=where)
            return value
        if not np.can_cast(value.dtype, feature.dtype, "same_kind"):
            raise InputError(f"is {value.dtype}, declared is {feature.dtype}", where=where)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputError("holds NaN or infinity", where=where)
        return value.astype(feature.dtype, copy=True).reshape(feature.shape)

    def column(self, name: str, feature: Feature) -> NDArray[Any]:
        if feature.dtype == "string":
            return np.array([*self._values[name], None], object)[:-1]
        return np.stack(self._values[name])

    def abandon(self) -> None:
        for encoder in self.encoders.values():
            encoder.abandon()

    def remove_files(self) -> None:
        for encoder in self.encoders.values():
            encoder.path.unlink(missing_ok=True)
