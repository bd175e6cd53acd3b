"""meta/info.json: rates, path templates and the features, as the toolkit's own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rl.api import Feature, InputError, Kind
from rl.plugins.lerobot_format import paths

DEFAULT_COLUMNS: dict[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
NUMBERS = {"bool", *(f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)), "float16", "float32", "float64"}
_EXACT: dict[str, Kind] = {
    "observation.state": "state",
    "state": "state",
    "action": "action",
    "actions": "action",
    "observation.environment_state": "environment_state",
    "next.reward": "reward",
    "next.done": "done",
    "next.success": "success",
}
_NAME = re.compile(r"[^/\x00-\x1f\x7f<>&\"'\\]{1,200}")
_JSON_LIMIT = 1 << 24
_MOST_FEATURES = 4096

Stored = Literal["column", "video", "image", "array"]  # array: a picture as numbers in the parquet


@dataclass(frozen=True)
class Column:
    """One declared feature and where its values are."""

    feature: Feature
    stored: Stored
    declared: tuple[int, ...]  # shape as info.json has it; () and (1,) both mean a scalar column
    depth: Mapping[str, Any] | None = None  # parameters of a depth map

    @property
    def size(self) -> int:
        """Elements of one row."""
        return math.prod(self.declared)


@dataclass(frozen=True)
class Info:
    """What info.json says, checked."""

    fps: float
    columns: Mapping[str, Column]
    data_path: str
    video_path: str | None
    chunks_size: int
    robot: str
    total_episodes: int
    total_frames: int
    raw: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def videos(self) -> tuple[str, ...]:
        """Cameras that are stored as video."""
        return tuple(name for name, column in self.columns.items() if column.stored == "video")


def read_info(root: Path, *, allow_newer: bool = False) -> Info:
    """meta/info.json of the set. InputError naming key and rule when it cannot be used."""
    where = "meta/info.json"
    raw = paths.read_json(root, where, largest=_JSON_LIMIT, strict=True)
    notes: list[str] = []
    _check_version(root, raw, allow_newer, notes)
    fps = _rate(raw.get("fps"), notes)
    columns = _columns(raw.get("features"), notes)
    video_path = raw.get("video_path", paths.VIDEO_PATH)
    cameras = [n for n, c in columns.items() if c.stored == "video"]
    if cameras and video_path is None:
        raise InputError(f"video_path is null, but {', '.join(cameras)} are videos", where=where)
    if video_path is not None:
        paths.check_template(video_path, ("video_key", "chunk_index", "file_index"), f"{where}: video_path")
    data_path = raw.get("data_path", paths.DATA_PATH)
    paths.check_template(data_path, ("chunk_index", "file_index"), f"{where}: data_path")
    return Info(
        fps=fps,
        columns=columns,
        data_path=data_path,
        video_path=video_path,
        chunks_size=_count(raw, "chunks_size", 1000, notes) or 1000,
        robot=printable(raw["robot_type"]) if isinstance(raw.get("robot_type"), str) else "",
        total_episodes=_count(raw, "total_episodes", 0, notes),
        total_frames=_count(raw, "total_frames", 0, notes),
        raw=raw,
        notes=tuple(notes),
    )


def _check_version(root: Path, raw: Mapping[str, Any], allow_newer: bool, notes: list[str]) -> None:
    label = raw.get("codebase_version")
    match = re.match(r"v?(\d{1,4})(?:\.(\d{1,4}))?", label) if isinstance(label, str) else None
    has_v3 = (root / "meta" / "episodes").is_dir()
    has_v2 = (root / "meta" / "episodes.jsonl").is_file()
    found = f"{root}: codebase_version"
    if match is None:
        if not has_v3:
            raise InputError(f"is {label!r:.40}, not a version", where=found)
        notes.append(f"info.json: codebase_version is {label!r:.40}; the layout is that of v3.0")
        return
    major = int(match[1])
    if major == 3 and has_v2 and not has_v3:
        raise InputError(f"says {label}, but the layout is that of v2.x (meta/episodes.jsonl)", where=found)
    if major < 3 and has_v3 and not has_v2:
        notes.append(f"info.json: codebase_version says {label}; the layout is that of v3.0")
    elif major < 3:
        raise InputError(
            f"is {label}; this reads LeRobotDataset v3.0",
            where=found,
            todo="convert it with LeRobot's convert_dataset_v21_to_v30",
        )
    elif major > 3 and not allow_newer:
        raise InputError(f"is {label}, newer than v3.0", where=found, todo="read it as v3.0 with --dataset.allow_newer")


def _rate(value: Any, notes: list[str]) -> float:
    where = "meta/info.json: fps"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 100_000:
        raise InputError(f"is {value!r:.40}, not a rate above 0", where=where)
    if float(value) != int(value):
        notes.append(f"info.json: fps {value} is not a whole number")
    return float(value)


def _count(raw: Mapping[str, Any], key: str, default: int, notes: list[str]) -> int:
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 2**62:
        notes.append(f"info.json: {key} is {value!r:.40}, not a count")
        return default
    return int(value)


def _columns(features: Any, notes: list[str]) -> dict[str, Column]:
    where = "meta/info.json: features"
    if not isinstance(features, dict) or not features:
        raise InputError("is missing or empty", where=where)
    if len(features) > _MOST_FEATURES:
        raise InputError(f"lists {len(features)} features, more than {_MOST_FEATURES}", where=where)
    columns = {}
    for name, given in features.items():
        column = _column(name, given, notes)
        if column is not None:
            columns[name] = column
    for name, dtype in DEFAULT_COLUMNS.items():
        if name not in columns:
            columns[name] = Column(Feature(name, "index", (), dtype), "column", (1,))
            notes.append(f"info.json: the default column '{name}' is not among the features; added")
    states = [n for n, c in columns.items() if c.feature.kind == "state"]
    if not states:
        return _with_state(columns)
    if "observation.state" in states:
        for other in set(states) - {"observation.state"}:
            columns[other] = _as_kind(columns[other], "free")
    return columns


def _with_state(columns: dict[str, Column]) -> dict[str, Column]:
    """Without `observation.state`: the set's only vector of float `observation.*` is the state."""
    vectors = [
        n
        for n, c in columns.items()
        if n.startswith("observation.")
        and c.feature.kind == "free"
        and len(c.declared) == 1
        and "float" in c.feature.dtype
    ]
    if len(vectors) == 1:
        columns[vectors[0]] = _as_kind(columns[vectors[0]], "state")
    return columns


def _as_kind(column: Column, kind: Kind) -> Column:
    return replace(column, feature=replace(column.feature, kind=kind))


def _column(name: str, given: Any, notes: list[str]) -> Column | None:
    where = f"meta/info.json: feature {name!r:.60}"
    if not _NAME.fullmatch(name) or not name.isprintable() or name in (".", ".."):
        raise InputError("has a name that no path and no page can hold safely", where=where)
    if not isinstance(given, dict):
        raise InputError("is not an object", where=where)
    dtype = given.get("dtype")
    shape = _shape(given.get("shape"), where)
    if dtype == "language" or name in ("language_persistent", "language_events"):
        notes.append(f"feature '{name}' holds annotated language and is not offered")
        return None
    if dtype == "string":
        return Column(Feature(name, "free", (), "string"), "column", (1,))
    names = _flatten(given.get("names"))
    if dtype in ("video", "image"):
        return _camera(name, dtype, shape, names, given, where, notes)
    if not isinstance(dtype, str) or dtype not in NUMBERS:
        raise InputError(f"has dtype {dtype!r:.40}", where=where, todo="known: numbers, bool, string, image, video")
    if dtype == "uint8" and len(shape) == 3 and _channels_at(shape, names) is not None:
        notes.append(f"feature '{name}' is stored as numbers; read as pictures")
        return _camera(name, "array", shape, names, given, where, notes)
    kind = _kind(name)
    scalar = shape in ((), (1,)) and kind in ("index", "reward", "done", "success")
    own_shape = () if scalar else (shape or (1,))
    if names and (len(own_shape) != 1 or len(names) != own_shape[0]):
        if len(own_shape) == 1 and not scalar and len(names) > 0:
            notes.append(f"feature '{name}' has {len(names)} names for {own_shape[0]} elements; numbered instead")
            names = tuple(f"{name}_{i}" for i in range(own_shape[0])) if own_shape[0] <= _MOST_FEATURES else ()
        else:
            names = ()
    unit = _unit(given, own_shape, "unstated" if kind in ("state", "action") else "none")
    return Column(Feature(name, kind, own_shape, dtype, unit, names), "column", shape or (1,))


def calibration_of(raw: Mapping[str, Any]) -> str:
    """The fingerprint that a recorder of this toolkit noted with the actions, or ''."""
    features = raw.get("features")
    action = features.get("action") if isinstance(features, dict) else None
    info = action.get("info") if isinstance(action, dict) else None
    found = info.get("rl.calibration") if isinstance(info, dict) else None
    return found if isinstance(found, str) and len(found) <= 80 and found.isprintable() else ""


def _kind(name: str) -> Kind:
    if name in DEFAULT_COLUMNS:
        return "index"
    return _EXACT.get(name, "free")


def _unit(given: Mapping[str, Any], shape: tuple[int, ...], unknown: str) -> str | tuple[str, ...]:
    """What a recorder of this toolkit noted under `info`, else `unknown`: the format itself has no units."""
    info = given.get("info")
    unit = info.get("rl.unit") if isinstance(info, dict) else None
    if isinstance(unit, str) and 0 < len(unit) <= 40:
        return unit
    if isinstance(unit, list) and all(isinstance(u, str) and 0 < len(u) <= 40 for u in unit):
        return tuple(unit) if len(shape) == 1 and len(unit) == shape[0] else unknown
    return unknown


def _shape(given: Any, where: str) -> tuple[int, ...]:
    if not isinstance(given, (list, tuple)) or len(given) > 5:
        raise InputError(f"has shape {given!r:.60}, not a list of up to 5 sizes", where=where)
    if any(isinstance(s, bool) or not isinstance(s, int) or not 0 < s <= 2**31 for s in given):
        raise InputError(f"has shape {given!r:.60}: sizes are whole numbers above 0", where=where)
    return tuple(given)


def _flatten(names: Any) -> tuple[str, ...]:
    """Element names from a list, an object of lists, or nested lists; () when there are none."""
    if isinstance(names, dict):
        names = list(names.values())
        if names and all(isinstance(n, (int, float)) for n in names):
            return ()
    if not isinstance(names, list):
        return ()
    flat: list[str] = []
    for name in names:
        if isinstance(name, str):
            flat.append(printable(name))
        elif isinstance(name, (list, dict)):
            flat += _flatten(name)
    return tuple(flat)


def printable(text: str) -> str:
    """Text of others, fit for a terminal and a page: 200 characters at most, none that steers."""
    return "".join(c for c in text[:200] if c.isprintable())


def _channels_at(shape: tuple[int, ...], names: tuple[str, ...]) -> int | None:
    """Which axis of a picture's shape holds the channels: its name, else the end that is 1, 3 or 4."""
    for at, name in enumerate(names[:3]):
        if name.lower() in ("channel", "channels", "c") and len(names) == 3 and shape[at] in (1, 3, 4):
            return at
    for at in (2, 0):
        if shape[at] in (1, 3, 4):
            return at
    return None


def _camera(
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    given: Mapping[str, Any],
    where: str,
    notes: list[str],
) -> Column:
    at = _channels_at(shape, names) if len(shape) == 3 else None
    if at is None:
        raise InputError(f"has shape {list(shape)}, not that of a picture", where=where)
    height, width = (s for i, s in enumerate(shape) if i != at)
    if height > 16384 or width > 16384:
        raise InputError(f"has pictures of {height}x{width} pixels", where=where)
    own = given.get("info") if isinstance(given.get("info"), dict) else given.get("video_info")
    own = own if isinstance(own, dict) else {}
    is_depth = bool(own.get("is_depth_map") or own.get("video.is_depth_map"))
    stored: Stored = "video" if dtype == "video" else "image" if dtype == "image" else "array"
    if is_depth:
        feature = Feature(name, "image", (height, width, 1), "uint16", "mm")
    else:
        feature = Feature(name, "image", (height, width, 3), "uint8")
    if at == 0 and dtype != "array":
        notes.append(f"feature '{name}' is declared channels first; read as {height}x{width}")
    return Column(feature, stored, shape, dict(own) if is_depth else None)


def row_dtype(column: Column) -> np.dtype[Any]:
    """The dtype that rows of a numeric column are returned in."""
    return np.dtype(column.feature.dtype)
