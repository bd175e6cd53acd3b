"""meta/stats.json: read where it can be used, noted and left out where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.data.statistics import QUANTILES, sane
from rl.plugins.lerobot_format import paths
from rl.plugins.lerobot_format.metadata import Column

_KINDS = ("min", "max", "mean", "std", "count", *QUANTILES)
_JSON_LIMIT = 1 << 27

Statistics = dict[str, dict[str, NDArray[Any]]]


def read_statistics(root: Path, columns: Mapping[str, Column], rows: int, notes: list[str]) -> Statistics | None:
    """Statistics by feature, cameras as (C, 1, 1); None when there is no file. Damaged entries become notes."""
    relative = "meta/stats.json"
    if not (root / relative).is_file():
        notes.append(f"{relative} is missing; statistics are computed when they are needed")
        return None
    raw = paths.read_json(root, relative, largest=_JSON_LIMIT, strict=False)
    found: Statistics = {}
    for name, given in raw.items():
        column = columns.get(name)
        if not isinstance(given, dict):
            continue
        entry = _entry(given, column)
        if entry is None or (column is not None and not sane(entry, _size(column))):
            if column is not None:
                notes.append(f"{relative}: the entry of '{name}' cannot be used; it is computed when needed")
            continue
        entry.setdefault("count", np.array([rows], np.int64))
        found[name] = entry
    return found


def _size(column: Column) -> int:
    if column.feature.kind == "image":
        return column.feature.shape[-1]
    return column.declared[-1] if column.declared else 1


def _entry(given: Mapping[str, Any], column: Column | None) -> dict[str, NDArray[Any]] | None:
    entry: dict[str, NDArray[Any]] = {}
    for kind in _KINDS:
        if kind not in given:
            continue
        try:
            value = np.asarray(given[kind], np.float64)
        except (ValueError, TypeError, OverflowError):
            return None
        if kind == "count":
            if value.size < 1 or not np.isfinite(value).all():
                return None
            entry[kind] = value.reshape(-1)[:1].astype(np.int64)
        elif column is not None and column.feature.kind == "image":
            if value.size != column.feature.shape[-1]:
                return None
            entry[kind] = value.reshape(-1, 1, 1)
        else:
            entry[kind] = np.atleast_1d(value)
    return entry if {"mean", "std", "min", "max"} <= entry.keys() else None
