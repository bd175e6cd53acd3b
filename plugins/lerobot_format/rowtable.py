"""The rows of all data files as one table: which files count, in which order, and what had to be derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api import InputError
from rl.plugins.lerobot_format import paths, tables
from rl.plugins.lerobot_format.episodes import EpisodeRow
from rl.plugins.lerobot_format.metadata import DEFAULT_COLUMNS, Info

_KEYS = ("episode_index", "frame_index", "timestamp", "index", "task_index")


@dataclass
class DataFile:
    """One parquet file: its footer's facts and the key columns that it has."""

    relative: str
    rows: int
    columns: frozenset[str]
    keys: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass
class RowTable:
    """Rows in order of (episode, frame): row i is row `take[i]` of the used files read one after another."""

    files: tuple[str, ...]
    ends: NDArray[np.int64]  # rows of the files, summed up
    take: NDArray[np.int64] | None  # None when it is the order of the files
    starts: NDArray[np.int64]  # first row of each listed episode
    lengths: NDArray[np.int64]
    frame_index: NDArray[np.int64] | None  # None, once checked, when it counts 0, 1, 2 ... in every episode
    timestamps: NDArray[np.float64] | None  # as stored
    derived: dict[str, NDArray[Any]]  # default columns that are absent or wrong in the files
    notes: list[str]

    @property
    def count(self) -> int:
        """Rows of all listed episodes."""
        return int(self.lengths.sum())

    def places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """File numbers and rows within those files."""
        at = rows if self.take is None else self.take[rows]
        which = np.searchsorted(self.ends, at, side="right")
        begins = np.concatenate([[0], self.ends[:-1]])
        return which, at - begins[which]


def read_rows(root: Path, info: Info, episodes: Sequence[EpisodeRow], tasks: dict[int, str]) -> RowTable:
    """Find, check and order the rows; `tasks` gains texts that had no number. InputError naming file, column or row."""
    notes: list[str] = []
    files = _files(root, info, episodes, notes)
    _check_columns(info, files, notes)
    ends = np.cumsum([f.rows for f in files]).astype(np.int64)
    keys = {name: _joined(name, files) for name in _KEYS}
    total = int(ends[-1]) if len(ends) else 0
    owner = keys["episode_index"]
    if owner is None:
        owner = _owners_from_ranges(total, episodes, notes)
    owner = owner.astype(np.int64)
    numbers = np.array([e.index for e in episodes], np.int64)
    take = _order(owner, keys["frame_index"], numbers, notes)
    if take is not None:
        owner = owner[take]
        keys = {name: None if values is None else values[take] for name, values in keys.items()}
    starts = np.searchsorted(owner, numbers, side="left").astype(np.int64)
    lengths = np.searchsorted(owner, numbers, side="right").astype(np.int64) - starts
    _compare(episodes, starts, lengths, notes)
    derived: dict[str, NDArray[Any]] = {}
    within = np.arange(len(owner), dtype=np.int64) - np.repeat(starts, lengths)
    frame_index = keys["frame_index"]
    if frame_index is None:
        notes.append("data: the column frame_index is absent; the row's number in its episode is used")
        frame_index = derived["frame_index"] = within
    elif not np.array_equal(frame_index, within):
        _note_gaps(frame_index, within, owner, notes)
    if keys["episode_index"] is None:
        derived["episode_index"] = owner
    if keys["timestamp"] is None:
        derived["timestamp"] = (frame_index / info.fps).astype(np.float32)
    _index_column(keys["index"], len(owner), derived, notes)
    if keys["task_index"] is None:
        derived["task_index"] = _only_tasks(episodes, lengths, tasks, notes)
    stamps = keys["timestamp"]
    return RowTable(
        files=tuple(f.relative for f in files),
        ends=ends,
        take=take,
        starts=starts,
        lengths=lengths,
        frame_index=frame_index.astype(np.int64),
        timestamps=None if stamps is None else stamps.astype(np.float64),
        derived=derived,
        notes=notes,
    )


def _files(root: Path, info: Info, episodes: Sequence[EpisodeRow], notes: list[str]) -> list[DataFile]:
    """The data files that count: those named by an episode, and others only where rows would be lacking."""
    found = paths.files_below(root, "data")
    named = {e.data_file for e in episodes if e.data_file} or set(found)
    missing = sorted(named - set(found))
    if not found:
        raise InputError("holds no parquet file", where=f"{root}/data")
    if missing and all((root / name).is_file() for name in missing):
        named, missing = set(found), []  # data_path points elsewhere than where readers of the format look
    if missing:
        raise InputError("is missing", where=missing[0], todo=f"{len(missing)} data files named by episodes are absent")
    used: list[DataFile] = []
    spare: list[DataFile] = []
    for relative in found:
        try:
            (used if relative in named else spare).append(_read_file(root, relative, info))
        except InputError as error:
            if relative in named:
                raise
            notes.append(f"{error}; ignored, as no episode names it")
    return sorted(used + _needed(spare, used, episodes, notes), key=lambda f: f.relative)


def _needed(
    spare: list[DataFile], used: list[DataFile], episodes: Sequence[EpisodeRow], notes: list[str]
) -> list[DataFile]:
    """Files that no episode names but that hold rows which listed episodes lack."""
    if not spare:
        return []
    have: dict[int, int] = {}
    for file in used:
        for number, count in zip(*np.unique(file.keys.get("episode_index", ()), return_counts=True), strict=True):
            have[int(number)] = have.get(int(number), 0) + int(count)
    lacking = {e.index for e in episodes if have.get(e.index, 0) < e.length}
    kept = []
    for file in spare:
        inside = set(np.unique(file.keys.get("episode_index", ())).tolist())
        if inside & lacking:
            notes.append(f"{file.relative}: no episode names it, but it holds rows of episode {min(inside & lacking)}")
            kept.append(file)
        else:
            notes.append(f"{file.relative}: ignored, as no episode names it")
    return kept


def _read_file(root: Path, relative: str, info: Info) -> DataFile:
    file = tables.open_parquet(root, relative)
    have = frozenset(file.schema_arrow.names)
    keys = [k for k in _KEYS if k in have]
    table = tables.read_columns(file, relative, keys)
    out = DataFile(relative, file.metadata.num_rows, have)
    for name in keys:
        where = f"{relative}, column {name}"
        if name == "timestamp":
            out.keys[name] = tables.scalars(table.column(name), where)
        else:
            out.keys[name] = tables.whole_numbers(table.column(name), where)
    return out


def _check_columns(info: Info, files: Sequence[DataFile], notes: list[str]) -> None:
    for file in files:
        for name, column in info.columns.items():
            if name in file.columns or column.stored == "video":
                continue
            everywhere = not any(name in f.columns for f in files)
            if name in DEFAULT_COLUMNS and everywhere:
                continue
            raise InputError(f"lacks the column '{name}', which info.json declares", where=file.relative)
    known = set(info.columns) | {"language_persistent", "language_events"}
    extra = sorted(set().union(*(f.columns for f in files)) - known)
    if extra:
        notes.append(f"data: columns not declared in info.json are left out: {', '.join(extra)}"[:300])


def _joined(name: str, files: Sequence[DataFile]) -> NDArray[Any] | None:
    parts = [f.keys[name] for f in files if name in f.keys]
    return np.concatenate(parts) if len(parts) == len(files) and parts else None


def _owners_from_ranges(total: int, episodes: Sequence[EpisodeRow], notes: list[str]) -> NDArray[np.int64]:
    notes.append("data: the column episode_index is absent; taken from the episodes' row ranges")
    owner = np.full(total, -1, np.int64)
    for episode in episodes:
        if episode.begin is None or episode.end is None:
            raise InputError("is absent, and the episodes have no row ranges", where="data, column episode_index")
        owner[max(0, min(total, episode.begin)) : max(0, min(total, episode.end))] = episode.index
    return owner


def _order(
    owner: NDArray[np.int64], frame_index: NDArray[Any] | None, numbers: NDArray[np.int64], notes: list[str]
) -> NDArray[np.int64] | None:
    """Rows to take, in order, when that is not simply all of them as they come."""
    listed = np.isin(owner, numbers)
    steps = np.diff(owner)
    rising = bool((steps >= 0).all())
    if rising and frame_index is not None:
        rising = not (np.diff(frame_index)[steps == 0] < 0).any()
    if listed.all() and rising:
        return None
    if not listed.all():
        lost = np.unique(owner[~listed])
        notes.append(f"data: {int((~listed).sum())} rows of unlisted episodes ({int(lost[0])}...) are left out")
    take = np.flatnonzero(listed).astype(np.int64)
    if not rising:
        notes.append("data: rows are not in order; sorted by episode_index and frame_index")
        inner = np.zeros(len(owner), np.int64) if frame_index is None else frame_index
        take = take[np.lexsort((inner[take], owner[take]))]
    return take


def _compare(
    episodes: Sequence[EpisodeRow], starts: NDArray[np.int64], lengths: NDArray[np.int64], notes: list[str]
) -> None:
    wrong = [(e.index, e.length, n) for e, n in zip(episodes, lengths.tolist(), strict=True) if e.length != n]
    if wrong:
        index, said, real = wrong[0]
        notes.append(
            f"meta/episodes: length of {len(wrong)} episodes differs from their rows (episode {index}: {said}, "
            f"{real} rows); the rows count"
        )
    moved = [
        e.index
        for e, start, n in zip(episodes, starts.tolist(), lengths.tolist(), strict=True)
        if e.begin is not None and e.end is not None and (e.begin, e.end) != (start, start + n)
    ]
    if moved:
        notes.append(f"meta/episodes: row ranges of {len(moved)} episodes (first: {moved[0]}) do not fit; recomputed")


def _note_gaps(
    frame_index: NDArray[Any], within: NDArray[np.int64], owner: NDArray[np.int64], notes: list[str]
) -> None:
    episodes = np.unique(owner[frame_index != within])
    notes.append(
        f"data: frame_index does not count 0, 1, 2 ... in {len(episodes)} episodes (first: {int(episodes[0])}); "
        "rows may be missing"
    )


def _index_column(index: NDArray[Any] | None, count: int, derived: dict[str, NDArray[Any]], notes: list[str]) -> None:
    if index is not None and np.array_equal(index, np.arange(count)):
        return
    why = "is absent" if index is None else "does not count the rows 0, 1, 2 ..."
    notes.append(f"data: the column index {why}; the row order is used")
    derived["index"] = np.arange(count, dtype=np.int64)


def _only_tasks(
    episodes: Sequence[EpisodeRow], lengths: NDArray[np.int64], tasks: dict[int, str], notes: list[str]
) -> NDArray[np.int64]:
    """task_index of each row when the column is absent: its episode's only task, new texts numbered as they appear."""
    notes.append("data: the column task_index is absent; each episode's only task is used")
    numbers = {text: number for number, text in reversed(tasks.items())}
    each = []
    for episode in episodes:
        if len(episode.tasks) > 1:
            raise InputError(
                f"is absent, and episode {episode.index} lists {len(episode.tasks)} tasks",
                where="data, column task_index",
            )
        text = episode.tasks[0] if episode.tasks else ""
        number = numbers.setdefault(text, max(tasks, default=-1) + 1)
        tasks.setdefault(number, text)
        each.append(number)
    return np.repeat(np.array(each, np.int64), lengths)
