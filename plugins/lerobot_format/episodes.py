"""meta/episodes and meta/tasks: who begins where, in which files, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rl.api import InputError
from rl.plugins.lerobot_format import paths, tables
from rl.plugins.lerobot_format.metadata import Info

_JSON_LINES_LIMIT = 1 << 26


@dataclass(frozen=True)
class VideoPlace:
    """Where one camera's pictures of an episode are."""

    file: str  # relative path
    number: tuple[int, int]  # chunk_index, file_index
    begin: float  # s in that file of the episode's first frame


@dataclass(frozen=True)
class EpisodeRow:
    """One row of the episodes table, as found."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data_file: str | None  # relative path, when the row names one
    begin: int | None  # dataset_from_index
    end: int | None
    videos: Mapping[str, VideoPlace] = field(default_factory=dict)
    meta_file: str = ""
    meta_row: int = 0  # row within meta_file
    data_number: tuple[int, int] | None = None  # chunk_index, file_index


def read_episodes(root: Path, info: Info) -> tuple[list[EpisodeRow], list[str]]:
    """All episode rows by ascending episode_index, and notes. InputError naming what is missing or damaged."""
    files = paths.files_below(root, "meta/episodes")
    if not files:
        raise InputError("holds no parquet file", where=f"{root}/meta/episodes", todo="the episode rows are needed")
    notes: list[str] = []
    rows: list[EpisodeRow] = []
    for relative in files:
        rows += _read_file(root, relative, info)
    order = sorted(range(len(rows)), key=lambda i: rows[i].index)
    if order != list(range(len(rows))):
        notes.append("meta/episodes: rows are not in order of episode_index; read by its value")
    rows = [rows[i] for i in order]
    unique: dict[int, EpisodeRow] = {}
    for row in rows:
        if row.index in unique:
            notes.append(f"meta/episodes: episode {row.index} is listed twice; the first is used")
        unique.setdefault(row.index, row)
    rows = list(unique.values())
    if rows and rows[-1].index - rows[0].index + 1 != len(rows):
        notes.append(f"meta/episodes: {rows[-1].index + 1 - len(rows)} episode numbers are missing; numbers are kept")
    if len(rows) != info.total_episodes:
        notes.append(f"info.json: total_episodes is {info.total_episodes}, meta/episodes has {len(rows)}")
    return rows, notes


def _read_file(root: Path, relative: str, info: Info) -> list[EpisodeRow]:
    file = tables.open_parquet(root, relative)
    have = set(file.schema_arrow.names)
    needed = ["episode_index", "length"]
    for camera in info.videos:
        needed += [f"videos/{camera}/{part}" for part in ("chunk_index", "file_index", "from_timestamp")]
    missing = [name for name in needed if name not in have]
    if missing:
        raise InputError(f"lacks the columns {', '.join(missing)}", where=relative)
    optional = ["tasks", "data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index"]
    wanted = needed + [name for name in optional if name in have]
    table = tables.read_columns(file, relative, wanted)

    def whole(name: str) -> NDArray[np.int64] | None:
        return tables.whole_numbers(table.column(name), f"{relative}, column {name}") if name in wanted else None

    index, length = whole("episode_index"), whole("length")
    assert index is not None
    assert length is not None
    if len(index) and (index.min() < 0 or index.max() > 2**40):
        raise InputError(f"holds the episode_index {index.min()} or {index.max()}", where=relative)
    if len(length) and length.min() < 0:
        raise InputError(f"holds the length {length.min()}", where=relative)
    begin, end = whole("dataset_from_index"), whole("dataset_to_index")
    chunk, number = whole("data/chunk_index"), whole("data/file_index")
    tasks = _task_lists(table, relative)
    cameras = {
        camera: (
            whole(f"videos/{camera}/chunk_index"),
            whole(f"videos/{camera}/file_index"),
            _seconds(table, relative, f"videos/{camera}/from_timestamp"),
        )
        for camera in info.videos
    }

    def place(camera: str, row: int) -> VideoPlace:
        chunks, numbers, begins = cameras[camera]
        assert chunks is not None
        assert numbers is not None
        values: dict[str, int | str] = {
            "video_key": camera,
            "chunk_index": int(chunks[row]),
            "file_index": int(numbers[row]),
        }
        number = (int(chunks[row]), int(numbers[row]))
        return VideoPlace(paths.expand(info.video_path or "", values), number, float(begins[row]))

    def data_file(row: int) -> str | None:
        if chunk is None or number is None:
            return None
        return paths.expand(info.data_path, {"chunk_index": int(chunk[row]), "file_index": int(number[row])})

    return [
        EpisodeRow(
            index=int(index[row]),
            length=int(length[row]),
            tasks=tasks[row],
            data_file=data_file(row),
            begin=None if begin is None else int(begin[row]),
            end=None if end is None else int(end[row]),
            videos={camera: place(camera, row) for camera in cameras},
            meta_file=relative,
            meta_row=row,
            data_number=None if chunk is None or number is None else (int(chunk[row]), int(number[row])),
        )
        for row in range(len(index))
    ]


def _seconds(table: pa.Table, relative: str, name: str) -> NDArray[np.float64]:
    where = f"{relative}, column {name}"
    values = tables.scalars(table.column(name), where).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values) | (values < 0) | (values > 1e8))
    if len(bad):
        raise InputError(f"holds {float(values[bad[0]])} s", where=f"{where}, row {int(bad[0])}")
    return values


def _task_lists(table: pa.Table, relative: str) -> list[tuple[str, ...]]:
    if "tasks" not in table.column_names:
        return [()] * table.num_rows
    column = table.column("tasks")
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        if not pa.types.is_string(column.type.value_type) and not pa.types.is_null(column.type.value_type):
            raise InputError(f"holds {column.type}, not lists of texts", where=f"{relative}, column tasks")
        return [tuple(t or "" for t in (row or ())) for row in column.to_pylist()]
    return [(text,) for text in tables.texts(column, f"{relative}, column tasks")]


def read_tasks(root: Path, rows: Sequence[EpisodeRow]) -> tuple[dict[int, str], list[str]]:
    """task_index -> text by the value of the column, and notes. Without a table: {} and a note."""
    relative = "meta/tasks.parquet"
    if not (root / relative).is_file():
        if (root / "meta" / "tasks.jsonl").is_file():
            return _tasks_json_lines(root)
        return {}, ["meta/tasks.parquet is missing; texts are taken from the episodes"]
    file = tables.open_parquet(root, relative)
    have = file.schema_arrow.names
    if "task_index" not in have:
        raise InputError("lacks the column task_index", where=relative)
    others = [name for name in have if name != "task_index"]
    name = next((n for n in ("task", "__index_level_0__") if n in others), None)
    if name is None:
        stringy = [n for n in others if pa.types.is_string(file.schema_arrow.field(n).type)]
        if len(stringy) != 1:
            raise InputError(f"has no column 'task' (found: {', '.join(have)})", where=relative)
        name = stringy[0]
    table = tables.read_columns(file, relative, ["task_index", name])
    numbers = tables.whole_numbers(table.column("task_index"), f"{relative}, column task_index")
    texts = tables.texts(table.column(name), f"{relative}, column {name}")
    notes = []
    if len(set(texts)) != len(texts):
        notes.append(f"{relative}: the same text stands under several numbers")
    if len(set(numbers.tolist())) != len(numbers):
        notes.append(f"{relative}: a task_index stands twice; the first text is used")
    tasks: dict[int, str] = {}
    for number, text in zip(numbers.tolist(), texts, strict=True):
        tasks.setdefault(number, text)
    return tasks, notes


def _tasks_json_lines(root: Path) -> tuple[dict[int, str], list[str]]:
    import json

    relative = "meta/tasks.jsonl"
    path = paths.inside(root, relative)
    if path.stat().st_size > _JSON_LINES_LIMIT:
        raise InputError(f"has more than {_JSON_LINES_LIMIT} bytes", where=relative)
    tasks: dict[int, str] = {}
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            tasks.setdefault(int(entry["task_index"]), str(entry["task"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError("is no task entry", where=f"{relative}, line {number}") from None
    return tasks, [f"tasks are read from {relative} (v3.0 has meta/tasks.parquet)"]


def episode_statistics(root: Path, row: EpisodeRow) -> dict[str, dict[str, NDArray[Any]]]:
    """Statistics stored in an episode's row: feature -> name -> array; {} when it holds none."""
    file = tables.open_parquet(root, row.meta_file)
    names = [n for n in file.schema_arrow.names if n.startswith("stats/") and n.count("/") >= 2]
    if not names:
        return {}
    table = tables.read_columns(file, row.meta_file, names).slice(row.meta_row, 1)
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for name in names:
        value = table.column(name).to_pylist()[0]
        if value is None:
            continue
        feature, _, kind = name.removeprefix("stats/").rpartition("/")
        try:
            found.setdefault(feature, {})[kind] = np.asarray(value, np.float64)
        except (ValueError, TypeError):
            raise InputError("holds no numbers", where=f"{row.meta_file}, column {name}") from None
    return found
