"""What a writer finds when it opens a folder: the committed set, checked, with anything beyond it moved aside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from rl.api import Feature, InputError
from rl.data.statistics import merge
from rl.plugins.lerobot_format import durable, paths, schema, tables
from rl.plugins.lerobot_format.config import LeRobotConfig
from rl.plugins.lerobot_format.episodes import EpisodeRow, episode_statistics, read_episodes, read_tasks
from rl.plugins.lerobot_format.metadata import DEFAULT_COLUMNS, Info, read_info
from rl.plugins.lerobot_format.storedstats import Statistics, read_statistics

_FILE = re.compile(r"chunk-(\d+)/file-(\d+)\.parquet$")
_CHUNKS_SIZE = 1000
_MARK = ".rl/writer.json"


@dataclass
class Existing:
    """The committed set as the next episode needs it."""

    root: Path
    raw: dict[str, Any]  # info.json
    episodes: int
    frames: int
    tasks: dict[int, str]
    statistics: Statistics
    row_schema: pa.Schema
    episode_schema: pa.Schema | None
    last: dict[str, tuple[int, int]]  # "data", "episodes" and each camera -> highest chunk and file number in use
    dirty: bool = field(default=False)

    @property
    def chunks_size(self) -> int:
        return max(1, int(self.raw.get("chunks_size") or _CHUNKS_SIZE))

    def next_numbers(self, features: Mapping[str, Feature]) -> dict[str, tuple[int, int]]:
        """Chunk and file numbers of the next episode's files; each kind counts by itself."""
        kinds = ["data", "episodes", *(n for n, f in features.items() if f.kind == "image")]
        return {k: schema.next_number([self.last[k]] if k in self.last else [], self.chunks_size) for k in kinds}

    def data_file(self, number: tuple[int, int]) -> str:
        return _expand(self.raw.get("data_path") or paths.DATA_PATH, number)

    def episodes_file(self, number: tuple[int, int]) -> str:
        return _expand(paths.EPISODES_PATH, number)

    def video_file(self, camera: str, number: tuple[int, int]) -> str:
        return _expand(self.raw.get("video_path") or paths.VIDEO_PATH, number, camera)

    def data_table(self, columns: Mapping[str, NDArray[Any]]) -> pa.Table:
        """Rows in the column order and types of the set's files."""
        kinds = zip(self.row_schema.names, self.row_schema.types, strict=True)
        arrays = [schema.arrow_column(columns[name], kind) for name, kind in kinds]
        return pa.Table.from_arrays(arrays, schema=self.row_schema)

    def merged(self, statistics: Mapping[str, Any], join: Callable[[Sequence[Any]], dict[str, Any]]) -> Statistics:
        """Statistics of the set with one more episode; a feature that the set had none of stays without."""
        if not self.episodes:
            return {name: dict(entry) for name, entry in statistics.items()}
        return {name: join([have, statistics[name]]) for name, have in self.statistics.items() if name in statistics}

    def info_after(self, rows: int, tasks: Mapping[int, str]) -> dict[str, Any]:
        """info.json once an episode of `rows` rows is committed."""
        totals = {
            "total_episodes": self.episodes + 1,
            "total_frames": self.frames + rows,
            "total_tasks": len(tasks),
            "splits": {"train": f"0:{self.episodes + 1}"},
        }
        return self.raw | totals

    def after(
        self,
        rows: int,
        tasks: dict[int, str],
        numbers: dict[str, tuple[int, int]],
        statistics: Statistics,
        info: dict[str, Any],
    ) -> Existing:
        """The set with the committed episode."""
        return replace(
            self,
            raw=info,
            episodes=self.episodes + 1,
            frames=self.frames + rows,
            tasks=tasks,
            statistics=statistics,
            last=self.last | numbers,
            dirty=False,
        )


def _expand(template: str, number: tuple[int, int], camera: str = "") -> str:
    return paths.expand(template, {"chunk_index": number[0], "file_index": number[1], "video_key": camera})


def open_existing(root: Path, features: Mapping[str, Feature], fps: int, config: LeRobotConfig) -> Existing:
    """The committed set at `root`, or a new one. InputError when it has other features or another rate."""
    mine = (root / _MARK).is_file()
    if not (root / "meta" / "info.json").is_file():
        if mine:
            _move_aside(root, [p for p in ("data", "videos", "meta") if (root / p).exists()])
        found = _new(root, features, fps, config)
    else:
        found = _committed(root, features, fps, mine)
    if (root / ".rl" / "open").is_dir():
        _move_aside(root, [f".rl/open/{p.name}" for p in (root / ".rl" / "open").iterdir()])
    if not mine:
        durable.write_json(root / ".rl", root / _MARK, {"note": "what meta/info.json does not count was not committed"})
    return found


def _new(root: Path, features: Mapping[str, Feature], fps: int, config: LeRobotConfig) -> Existing:
    encoding = {"video.g": config.gop, "video.crf": config.crf, "video.preset": config.preset}
    cameras = any(f.kind == "image" for f in features.values())
    raw = {
        "codebase_version": "v3.0",
        "fps": fps,
        "features": schema.declared(features, fps, encoding, config.calibration),
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": _CHUNKS_SIZE,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": paths.DATA_PATH,
        "video_path": paths.VIDEO_PATH if cameras else None,
        "robot_type": config.robot_type or None,
        "splits": {},
    }
    return Existing(root, raw, 0, 0, {}, {}, schema.row_schema(features), None, {})


def _committed(root: Path, features: Mapping[str, Feature], fps: int, mine: bool) -> Existing:
    info = read_info(root)
    _check_same(root, info, features, fps)
    files = paths.files_below(root, "meta/episodes")
    rows = read_episodes(root, info)[0] if files else []
    kept = rows[: info.total_episodes] if mine else rows
    if len(kept) != info.total_episodes or sum(r.length for r in kept) != info.total_frames:
        raise InputError(
            f"info.json says {info.total_episodes} episodes with {info.total_frames} rows, meta/episodes lists "
            f"{len(kept)} with {sum(r.length for r in kept)}",
            where=str(root),
            todo="repair the set before recording into it",
        )
    if [r.index for r in kept] != list(range(len(kept))):
        raise InputError("episode numbers have gaps", where=str(root), todo="renumber before recording into it")
    moved = mine and _move_uncommitted(root, info, rows, kept)
    tasks, _ = read_tasks(root, kept)
    statistics = read_statistics(root, info.columns, info.total_frames, []) or {}
    if moved:
        statistics = _restored(root, kept) or statistics
        if kept:
            durable.write_json(root / ".rl", root / "meta" / "stats.json", schema.statistics_json(statistics))
    raw = dict(info.raw) | {"fps": fps}
    return Existing(
        root=root,
        raw=raw,
        episodes=len(kept),
        frames=info.total_frames,
        tasks=tasks,
        statistics=statistics,
        row_schema=_stored_rows(root, features, kept),
        episode_schema=tables.open_parquet(root, kept[-1].meta_file).schema_arrow if kept else None,
        last=_last(kept),
    )


def _check_same(root: Path, info: Info, features: Mapping[str, Feature], fps: int) -> None:
    where = f"{root}"
    if info.fps != fps:
        raise InputError(f"was recorded at {info.fps:g} Hz, not {fps}", where=where, todo="record into a new folder")
    have = {n: c for n, c in info.columns.items() if n not in DEFAULT_COLUMNS}
    if have.keys() != features.keys():
        lists = f"it has {', '.join(sorted(have))}; the recording {', '.join(sorted(features))}"
        raise InputError(f"holds other features: {lists}", where=where, todo="record into a new folder")
    for name, feature in features.items():
        column, old = have[name], have[name].feature
        same = (old.shape or (1,)) == (feature.shape or (1,)) and old.dtype == feature.dtype
        if not same or (column.stored == "video") != (feature.kind == "image"):
            raise InputError(
                f"holds '{name}' as {column.stored} {old.dtype} {old.shape}, the recording has "
                f"{feature.dtype} {feature.shape}",
                where=where,
                todo="record into a new folder",
            )
        if old.names and feature.names and old.names != feature.names:
            raise InputError(f"names the elements of '{name}' {old.names}, not {feature.names}", where=where)
        if old.kind in ("state", "action") and "unstated" not in old.units and old.units != feature.units:
            raise InputError(f"has '{name}' in {old.unit}, the recording in {feature.unit}", where=where)


def _stored_rows(root: Path, features: Mapping[str, Feature], kept: Sequence[EpisodeRow]) -> pa.Schema:
    own = schema.row_schema(features)
    newest = next((r.data_file for r in reversed(kept) if r.data_file), None)
    if newest is None:
        return own
    found = tables.open_parquet(root, newest).schema_arrow
    if set(found.names) != set(own.names):
        raise InputError(f"has the columns {', '.join(found.names)}", where=newest, todo="record into a new folder")
    return found


def _last(kept: Sequence[EpisodeRow]) -> dict[str, tuple[int, int]]:
    last: dict[str, tuple[int, int]] = {}

    def raise_to(kind: str, number: tuple[int, int] | None) -> None:
        if number is not None:
            last[kind] = max(last.get(kind, number), number)

    for row in kept:
        raise_to("data", row.data_number)
        match = _FILE.search(row.meta_file)
        raise_to("episodes", (int(match[1]), int(match[2])) if match else None)
        for camera, place in row.videos.items():
            raise_to(camera, place.number)
    return last


def _restored(root: Path, kept: Sequence[EpisodeRow]) -> Statistics:
    """Statistics of the committed episodes merged anew; {} when one has none stored."""
    each = [episode_statistics(root, row) for row in kept]
    if not each or not all(each):
        return {}
    names = [n for n in each[0] if all(n in e and "count" in e[n] for e in each)]
    return {name: merge([e[name] for e in each]) for name in names}


def _move_uncommitted(root: Path, info: Info, rows: Sequence[EpisodeRow], kept: Sequence[EpisodeRow]) -> bool:
    """Files that no committed episode names; whether there were any."""
    named = {r.data_file for r in kept} | {r.meta_file for r in kept}
    named |= {place.file for r in kept for place in r.videos.values()}
    found = [*paths.files_below(root, "data"), *paths.files_below(root, "meta/episodes")]
    for camera in info.videos:
        folder = root / "videos" / camera
        if folder.is_dir():
            found += [str(p.relative_to(root)) for p in sorted(folder.rglob("*")) if p.is_file()]
    beyond = [relative for relative in found if relative not in named]
    _move_aside(root, beyond)
    return bool(beyond)


def _move_aside(root: Path, relatives: Sequence[str]) -> None:
    """Into the next free folder below .rl/aside; nothing is deleted."""
    if not relatives:
        return
    aside = root / ".rl" / "aside"
    number = 0
    while (aside / str(number)).exists():
        number += 1
    for relative in relatives:
        durable.place(root / relative, aside / str(number) / relative.removeprefix(".rl/"))
