"""safetensors files from strangers: the header is checked before anything is allocated. Errors name the file."""

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rl.api import InputError

HEADER_LIMIT = 100 << 20  # bytes; the format's own limit
WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One tensor of a file."""

    dtype: str  # "F32"
    shape: tuple[int, ...]


def header(path: Path) -> dict[str, Entry]:
    """Names, types and shapes of a file's tensors, after the checks: header at most 100 MB and inside the file, known
    types, shapes that fit their bytes, bytes inside the file and not shared.

    Errors: InputError `FILE: what`.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
            if length < 0 or length > size - 8:
                raise InputError(f"is cut short or not a safetensors file ({size} bytes)", where=str(path))
            if length > HEADER_LIMIT:
                raise InputError(f"its header claims {length} bytes, at most {HEADER_LIMIT} are read", where=str(path))
            text = file.read(length)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return _entries(path, text, size - 8 - length)


def read_arrays(path: Path) -> dict[str, Any]:
    """A file's tensors as float or integer NumPy arrays, after the header's checks. bfloat16 is refused."""
    from safetensors.numpy import load_file

    odd = [name for name, entry in header(path).items() if entry.dtype in ("BF16", "F8_E4M3", "F8_E5M2")]
    if odd:
        raise InputError(f"'{odd[0]}' has a type that NumPy does not have", where=str(path))
    return load_file(path)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Arrays to a new file, synced. The caller renames the folder around it."""
    import numpy as np
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    sync(path)


def sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entries(path: Path, text: bytes, room: int) -> dict[str, Entry]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError("its header is not JSON", where=str(path))
    found.pop("__metadata__", None)
    entries, spans = {}, []
    for name, entry in found.items():
        entries[name], span = _entry(path, name, entry, room)
        spans.append(span)
    spans.sort()
    if any(end > begin for (_, end), (begin, _) in pairwise(spans)):
        raise InputError("two of its tensors share bytes", where=str(path))
    return entries


def _entry(path: Path, name: str, entry: Any, room: int) -> tuple[Entry, tuple[int, int]]:
    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    dtype, shape, offsets = (
        entry.get(k) if isinstance(entry, dict) else None for k in ("dtype", "shape", "data_offsets")
    )
    if dtype not in WIDTHS or not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise InputError(f"tensor '{name}' is not described as the format wants", where=str(path))
    if not all(map(whole, shape)) or not all(map(whole, offsets)):
        raise InputError(f"tensor '{name}' has an impossible shape or place", where=str(path))
    begin, end = offsets
    if not begin <= end <= room or end - begin != math.prod(shape) * WIDTHS[dtype]:
        raise InputError(f"tensor '{name}' does not lie inside the file as its shape {shape} wants", where=str(path))
    return Entry(dtype, tuple(shape)), (begin, end)
