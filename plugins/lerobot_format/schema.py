"""What is written: features as info.json has them, arrow tables of rows, episodes and tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rl.api import Feature, Features, InputError
from rl.plugins.lerobot_format.durable import sync_file
from rl.plugins.lerobot_format.metadata import DEFAULT_COLUMNS, NUMBERS

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}")


def recordable(features: Features) -> dict[str, Feature]:
    """The features that a writer stores, the default columns left out. InputError naming what cannot be stored."""
    kept = {}
    for name, feature in features.items():
        if name in DEFAULT_COLUMNS:
            continue
        where = f"feature '{name}'"
        if not _NAME.fullmatch(name):
            raise InputError("has a name that cannot be stored", where=where, todo="letters, digits, dots, dashes")
        if feature.kind == "image":
            _check_camera(feature, where)
        elif feature.dtype not in (NUMBERS - {"float16"}) | {"string"} or any(s < 1 for s in feature.shape):
            raise InputError(f"has dtype {feature.dtype} and shape {feature.shape}, not stored", where=where)
        kept[name] = feature
    if not kept:
        raise InputError("there is nothing to record", where="features")
    return kept


def _check_camera(feature: Feature, where: str) -> None:
    if feature.dtype != "uint8" or len(feature.shape) != 3 or feature.shape[2] != 3:
        raise InputError(f"is {feature.dtype} {feature.shape}; cameras are uint8 (H, W, 3)", where=where)
    height, width, _ = feature.shape
    if height % 2 or width % 2 or not (2 <= height <= 8192 and 2 <= width <= 8192):
        raise InputError(f"is {height}x{width} pixels; H.264 needs even sizes of 2 to 8192", where=where)


def declared(
    features: Mapping[str, Feature], fps: int, encoding: Mapping[str, Any], calibration: str = ""
) -> dict[str, Any]:
    """`features` of info.json, the five default columns last. calibration: kept with the actions."""
    out: dict[str, Any] = {}
    for name, feature in features.items():
        if feature.kind == "image":
            height, width, _ = feature.shape
            info = {"video.height": height, "video.width": width, "video.codec": "h264", "video.pix_fmt": "yuv420p"}
            info |= {"is_depth_map": False, "video.fps": fps, "video.channels": 3, "has_audio": False, **encoding}
            names = ["height", "width", "channels"]
            out[name] = {"dtype": "video", "shape": [height, width, 3], "names": names, "info": info}
            continue
        out[name] = {
            "dtype": feature.dtype,
            "shape": list(feature.shape) or [1],
            "names": list(feature.names) or None,
        }
        if feature.unit not in ("none", "unstated"):
            out[name]["info"] = {"rl.unit": list(feature.unit) if isinstance(feature.unit, tuple) else feature.unit}
        if feature.kind == "action" and calibration:
            out[name].setdefault("info", {})["rl.calibration"] = calibration
    for name, dtype in DEFAULT_COLUMNS.items():
        out[name] = {"dtype": dtype, "shape": [1], "names": None}
    return out


def row_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Arrow schema of a data file as the format's own recorder writes it."""
    fields = [
        pa.field(name, _arrow_type(feature.dtype, feature.shape))
        for name, feature in features.items()
        if feature.kind != "image"
    ]
    return pa.schema(fields + [pa.field(name, _arrow_type(dtype, ())) for name, dtype in DEFAULT_COLUMNS.items()])


def _arrow_type(dtype: str, shape: tuple[int, ...]) -> pa.DataType:
    kind = pa.string() if dtype == "string" else pa.from_numpy_dtype(np.dtype(dtype))
    if shape in ((), (1,)):
        return kind
    if len(shape) == 1:
        return pa.list_(kind, shape[0])
    for _ in shape:
        kind = pa.list_(kind)
    return kind


def arrow_column(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Rows (N, *shape) as an array of that type: scalars, lists, fixed lists or nested lists."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.array([str(v) for v in values.reshape(-1)], kind)
    sizes = values.shape[1:]
    types = [kind]
    while pa.types.is_list(types[-1]) or pa.types.is_fixed_size_list(types[-1]) or pa.types.is_large_list(types[-1]):
        types.append(types[-1].value_type)
    array = pa.array(np.ascontiguousarray(values).reshape(-1)).cast(types[-1])
    levels = types[:-1]
    sizes = sizes if len(sizes) == len(levels) else (1,) * len(levels)
    for size, level in zip(reversed(sizes), reversed(levels), strict=True):
        if pa.types.is_fixed_size_list(level):
            array = pa.FixedSizeListArray.from_arrays(array, size)
        else:
            maker = pa.LargeListArray if pa.types.is_large_list(level) else pa.ListArray
            array = maker.from_arrays(np.arange(0, len(array) + 1, size), array)
        array = array.cast(level)
    return array


def write_table(path: Path, table: pa.Table) -> None:
    """One parquet file with one row group, synced."""
    pq.write_table(table, path, compression="snappy", use_dictionary=True, row_group_size=max(1, table.num_rows))
    sync_file(path)


def tasks_table(tasks: Mapping[int, str]) -> pa.Table:
    """meta/tasks.parquet: the text is the index of the data frame that readers of the format load."""
    numbers = sorted(tasks)
    table = pa.table({"task_index": pa.array(numbers, pa.int64()), "task": pa.array([tasks[n] for n in numbers])})
    text = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    unnamed = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [{**unnamed, "metadata": {"encoding": "UTF-8"}}],
        "columns": [{**number, "metadata": None}, text],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.3",
    }
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def episode_table(row: Mapping[str, Any], schema: pa.Schema | None) -> pa.Table:
    """One row of meta/episodes; with `schema` in its columns and types, null where the row has nothing."""
    if schema is None:
        columns = {name: pa.array([value], _episode_type(name, value)) for name, value in row.items()}
        return pa.table(columns)
    arrays = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        arrays.append(pa.array([row.get(name)], kind))
    return pa.Table.from_arrays(arrays, schema=schema)


def _episode_type(name: str, value: Any) -> pa.DataType:
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, int):
        return pa.int64()
    if isinstance(value, float):
        return pa.float64()
    if name == "tasks":
        return pa.list_(pa.string())
    depth, inner = 0, value
    while isinstance(inner, list):
        depth, inner = depth + 1, inner[0]
    kind = pa.int64() if name.endswith("/count") else pa.float64()
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


def statistics_columns(statistics: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, Any]:
    """The stats columns of an episode's row."""
    return {
        f"stats/{name}/{kind}": np.asarray(value).tolist()
        for name, entry in statistics.items()
        for kind, value in entry.items()
    }


def statistics_json(statistics: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, Any]:
    """The content of meta/stats.json."""
    return {
        name: {kind: np.asarray(value).tolist() for kind, value in entry.items()} for name, entry in statistics.items()
    }


def next_number(numbers: Sequence[tuple[int, int]], chunks_size: int) -> tuple[int, int]:
    """Chunk and file number after the highest in use."""
    if not numbers:
        return 0, 0
    chunk, file = max(numbers)
    return (chunk, file + 1) if file + 1 < chunks_size else (chunk + 1, 0)
