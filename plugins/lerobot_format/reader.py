"""LeRobotDataset v3.0 as a DatasetReader: tolerant of what others wrote, precise about what it refuses."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rl.api import Feature, InputError
from rl.api.protocols import DatasetInfo, Episode
from rl.plugins.lerobot_format import clock, pairing, pictures, tables
from rl.plugins.lerobot_format.config import LeRobotConfig
from rl.plugins.lerobot_format.episodes import episode_statistics, read_episodes, read_tasks
from rl.plugins.lerobot_format.metadata import calibration_of, read_info, row_dtype
from rl.plugins.lerobot_format.rowtable import read_rows
from rl.plugins.lerobot_format.storedstats import read_statistics

Size = tuple[int, int]


class LeRobotReader:
    """One data set folder. `info.notes` says what is odd in it, `Episode.refused` which episodes cannot be trusted.

    Rows are numbered in order of (episode_index, frame_index). Opening reads metadata and the five key columns, no
    other values and no video; numeric columns are read whole when first asked for, pictures a file at a time. Pickles
    without what it has read; safe after fork. Errors: InputError naming file, column, row and rule.
    """

    def __init__(self, root: Path, config: LeRobotConfig | None = None) -> None:
        self.root, self.config = root, config or LeRobotConfig()
        declared = read_info(root, allow_newer=self.config.allow_newer)
        notes = list(declared.notes)
        self.declared = declared
        self.episode_rows, more = read_episodes(root, declared)
        notes += more
        tasks, more = read_tasks(root, self.episode_rows)
        notes += more
        self.table = read_rows(root, declared, self.episode_rows, tasks)
        notes += self.table.notes
        if not self.table.count:
            raise InputError("holds no rows of a listed episode", where=f"{root}/data")
        if declared.total_frames != self.table.count:
            notes.append(f"info.json: total_frames is {declared.total_frames}, the data has {self.table.count} rows")
        assert self.table.frame_index is not None
        self._verdicts = clock.judge_all(
            self.table.timestamps, self.table.frame_index, self.table.starts, self.table.lengths, declared.fps
        )
        self.table.timestamps = None  # judged; the column itself is read again when it is asked for
        rising = self._counting()
        self._pictures = pictures.Pictures(self)
        self._columns: dict[str, NDArray[Any]] = {}
        self._groups: OrderedDict[tuple[str, str, int], pa.ChunkedArray] = OrderedDict()
        self.info = self._describe(tasks, notes, rising)

    # --- opening

    def _counting(self) -> list[bool]:
        """Whether frame_index rises in each episode; when it merely counts everywhere it need not be kept."""
        table = self.table
        frame_index = table.frame_index
        assert frame_index is not None
        spans = zip(table.starts.tolist(), table.lengths.tolist(), strict=True)
        rising = [bool((np.diff(frame_index[start : start + length]) > 0).all()) for start, length in spans]
        within = np.arange(table.count, dtype=np.int64) - np.repeat(table.starts, table.lengths)
        if np.array_equal(frame_index, within):
            table.frame_index = None
        return rising

    def _describe(self, tasks: dict[int, str], notes: list[str], rising: Sequence[bool]) -> DatasetInfo:
        statistics = read_statistics(self.root, self.declared.columns, self.table.count, notes)
        features: dict[str, Feature] = {name: column.feature for name, column in self.declared.columns.items()}
        features |= self._pictures.measured(notes)
        episodes = self._episodes(notes, rising)
        self._complete_tasks(tasks, notes)
        return DatasetInfo(
            features=features,
            fps=self.declared.fps,
            episodes=episodes,
            tasks=tasks,
            statistics=statistics,
            robot=self.declared.robot,
            calibration=calibration_of(self.declared.raw),
            notes=tuple(notes),
        )

    def _episodes(self, notes: list[str], rising: Sequence[bool]) -> tuple[Episode, ...]:
        refused: dict[int, str] = {}
        for position, verdict in self._verdicts.items():
            number = self.episode_rows[position].index
            if verdict.refused:
                refused[number] = verdict.refused
            else:
                notes.append(f"episode {number}: {verdict.note}")
        refused |= {n: why for n, why in self._pictures.suspicions(notes).items() if n not in refused}
        listed = []
        for row, start, length, rises in zip(
            self.episode_rows, self.table.starts.tolist(), self.table.lengths.tolist(), rising, strict=True
        ):
            why = refused.get(row.index, "" if length else "it has no rows")
            if not rises:
                why = why or "frame_index does not rise"
            listed.append(Episode(row.index, start, length, row.tasks, why))
        notes += [f"episode {e.index} is refused: {e.refused}" for e in listed if e.refused]
        return tuple(listed)

    def _complete_tasks(self, tasks: dict[int, str], notes: list[str]) -> None:
        """Texts for numbers that the table lacks, where an episode has but one number and one text."""
        numbers = self.rows(np.arange(self.table.count), ["task_index"])["task_index"]
        unknown = set(np.unique(numbers).tolist()) - tasks.keys()
        if not unknown:
            return
        for row, start, length in zip(
            self.episode_rows, self.table.starts.tolist(), self.table.lengths.tolist(), strict=True
        ):
            here = np.unique(numbers[start : start + length]).tolist()
            if len(row.tasks) == 1 and len(here) == 1 and here[0] in unknown:
                tasks.setdefault(here[0], row.tasks[0])
        for number in sorted(unknown - tasks.keys()):
            notes.append(f"data: task_index {number} has no text")
            tasks[number] = ""

    # --- rows

    def rows(self, indices: NDArray[np.int64], columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Values of rows (n,): (n, *shape) each in the declared dtype; texts as objects."""
        indices = self.checked(indices)
        return {name: self._values(name)[indices] for name in columns}

    def checked(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """`indices` as (n,) int64 rows of this set; InputError when one is none."""
        indices = np.asarray(indices, np.int64).reshape(-1)
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.table.count:
            raise InputError(f"row {int(indices.max())} was asked for", where=f"{self.root}: {self.table.count} rows")
        return indices

    def _values(self, name: str) -> NDArray[Any]:
        """A whole column, all rows in order."""
        if name not in self._columns:
            column = self.declared.columns.get(name)
            if column is None or column.stored != "column":
                why = "is a camera; ask for its frames" if column is not None else "is not in the set"
                raise InputError(why, where=f"column {name}")
            if name in self.table.derived:
                self._columns[name] = self.table.derived[name]
            else:
                self._columns[name] = self._read(name)
        return self._columns[name]

    def _read(self, name: str) -> NDArray[Any]:
        column = self.declared.columns[name]
        parts = []
        for relative in self.table.files:
            file = tables.open_parquet(self.root, relative)
            stored = tables.read_columns(file, relative, [name]).column(0)
            where = f"{relative}, column {name}"
            if column.feature.dtype == "string":
                parts.append(np.array([*tables.texts(stored, where), None], object)[:-1])
                continue
            flat = tables.numbers(stored, column.size, where)
            values, note = tables.shaped(flat, column.feature.shape, row_dtype(column))
            if note:
                warnings.warn(f"{where}: {note}", stacklevel=4)
            parts.append(values)
        whole = np.concatenate(parts)
        return whole if self.table.take is None else whole[self.table.take]

    def group(self, relative: str, name: str, row: int) -> tuple[pa.ChunkedArray, int]:
        """The row group of a file that holds its row `row`, one column, and the first row of the group."""
        key = (relative, name)
        file = tables.open_parquet(self.root, relative)
        at = 0
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            if row < at + rows:
                break
            at += rows
        cached = self._groups.get((*key, number))
        if cached is None:
            while len(self._groups) >= 4:
                self._groups.popitem(last=False)
            cached = self._groups[(*key, number)] = tables.read_group(file, relative, number, name)
        return cached, at

    # --- pictures

    def frames(self, camera: str, indices: NDArray[np.int64], size: Size | None = None) -> NDArray[np.uint8]:
        """(n, H, W, 3) RGB of rows (n,) in the order asked, decoded straight to `size` (H, W) when given.

        Depth is (n, H, W, 1) uint16 mm. Errors: InputError naming the missing, cut or unpairable file.
        """
        return self._pictures.frames(camera, self.checked(indices), size)

    def check_frames(self, cameras: Sequence[str], episodes: Sequence[int]) -> Sequence[str]:
        """Notes on the videos of those episodes; InputError naming files that are missing, cut or do not fit."""
        return self._pictures.check(cameras, episodes)

    def verdict(self, position: int) -> clock.Verdict:
        """How the episode at that place in `episode_rows` pairs its rows with frames."""
        return self._verdicts.get(position, clock.Verdict())

    def part(self, position: int, camera: str) -> pairing.Part:
        """The share of an episode in its video file."""
        row = self.episode_rows[position]
        start, length = int(self.table.starts[position]), int(self.table.lengths[position])
        kept = self.table.frame_index
        frames = np.arange(length, dtype=np.int64) if kept is None else kept[start : start + length]
        return pairing.Part(row.index, row.videos[camera].begin, frames, self.verdict(position).pairing)

    # --- more than the contract

    def episode_statistics(self, episode: int) -> dict[str, dict[str, NDArray[Any]]]:
        """The statistics stored in that episode's row, by feature; {} when it holds none."""
        row = next((r for r in self.episode_rows if r.index == episode), None)
        if row is None:
            raise InputError(f"there is no episode {episode}", where=str(self.root))
        return episode_statistics(self.root, row)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_columns", "_groups", "_pictures")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._columns, self._groups = {}, OrderedDict()
        self._pictures = pictures.Pictures(self)
