"""Parquet files as numpy arrays, with every refusal naming file, column and row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rl.api import InputError
from rl.plugins.lerobot_format.paths import inside

_ROWS_PER_BYTE = 1000  # a footer that promises more is a lie: even run-length coded columns stay far below


def open_parquet(root: Path, relative: str) -> pq.ParquetFile:
    """The file with its footer read. InputError when it is absent, cut, or promises absurdly many rows."""
    path = inside(root, relative)
    if not path.is_file():
        raise InputError("is missing", where=relative)
    try:
        size = path.stat().st_size
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(relative, error) from None
    if file.metadata.num_rows > size * _ROWS_PER_BYTE:
        raise InputError(f"promises {file.metadata.num_rows} rows in {size} bytes", where=relative)
    return file


def read_columns(file: pq.ParquetFile, relative: str, columns: Sequence[str]) -> pa.Table:
    """Those columns whole. InputError when the file is damaged inside."""
    try:
        table = file.read(columns=list(columns), use_threads=False)
        table.validate()
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise _unreadable(relative, error) from None
    if table.num_rows != file.metadata.num_rows:
        raise InputError(f"holds {table.num_rows} rows, its footer says {file.metadata.num_rows}", where=relative)
    return table


def read_group(file: pq.ParquetFile, relative: str, group: int, column: str) -> pa.ChunkedArray:
    """One column of one row group."""
    try:
        return file.read_row_group(group, columns=[column], use_threads=False).column(0)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise _unreadable(relative, error) from None


def _unreadable(relative: str, error: BaseException) -> InputError:
    cause = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"cannot be read ({cause:.140})", where=relative, todo="copy the file again or leave it out")


def numbers(column: pa.ChunkedArray | pa.Array, size: int, where: str) -> NDArray[Any]:
    """(rows, size) of a numeric column that is stored as scalars, lists, fixed lists or nested lists.

    Errors: InputError naming the row of the first null, of the first row with another number of elements, or the type
    when it is no number.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # several chunks remain when there are none
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    rows, per_row = len(array), 1
    while True:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if array.null_count:
            row = int(pc.index(array.is_null(), True).as_py()) // per_row
            raise InputError("is null", where=f"{where}, row {row}")
        if pa.types.is_fixed_size_list(array.type):
            per_row *= array.type.list_size
            array = array.flatten()
        elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            inner = _uniform(array, per_row, size, where)
            per_row *= inner
            array = array.flatten()
        else:
            break
    if per_row != size:
        raise InputError(f"has {per_row} elements a row, info.json declares {size}", where=where)
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type)):
        raise InputError(f"holds {array.type}, not numbers", where=where)
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values.reshape(rows, size)


def _uniform(array: Any, per_row: int, size: int, where: str) -> int:
    """Elements in each list, when they all have as many."""
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    if not len(lengths):
        return max(1, size // per_row)
    first = int(lengths[0])
    other = np.flatnonzero(lengths != first)
    if len(other):
        counts = np.unique(lengths, return_counts=True)
        usual = int(counts[0][counts[1].argmax()])
        row = int(np.flatnonzero(lengths != usual)[0])
        raise InputError(
            f"has {int(lengths[row])} elements, other rows have {usual}", where=f"{where}, row {row // per_row}"
        )
    return first


def scalars(column: pa.ChunkedArray, where: str) -> NDArray[Any]:
    """(rows,) of a scalar numeric column, also when stored as lists of one."""
    return numbers(column, 1, where).reshape(-1)


def whole_numbers(column: pa.ChunkedArray, where: str) -> NDArray[np.int64]:
    """(rows,) int64, also when stored as other integers or as doubles that are whole."""
    values = scalars(column, where)
    if values.dtype.kind == "f":
        odd = ~np.isfinite(values) | (np.abs(values) > 2**53) | (values != np.rint(values))
        if odd.any():
            row = int(np.flatnonzero(odd)[0])
            raise InputError(f"holds {float(values[row])}, not a whole number", where=f"{where}, row {row}")
    return values.astype(np.int64)


def texts(column: pa.ChunkedArray, where: str) -> list[str]:
    """Texts of a string column; null is ""."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise InputError(f"holds {column.type}, not text", where=where)
    return [value or "" for value in column.to_pylist()]


def shaped(values: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[NDArray[Any], str]:
    """Rows (N, size) as (N, *shape) of the declared dtype, and a note when the cast changed values."""
    cast, note = values, ""
    if values.dtype != dtype:
        with np.errstate(all="ignore"):
            cast = values.astype(dtype)
        lossless = values.dtype.kind == "f" and dtype.kind == "f"  # float64 kept as float32 is what the field does
        if not lossless and not np.array_equal(cast.astype(np.float64), values.astype(np.float64), equal_nan=True):
            note = f"stored as {values.dtype}, declared {dtype}: some values change"
    return np.ascontiguousarray(cast).reshape(len(values), *shape), note


def elements(shape: tuple[int, ...]) -> int:
    """Elements of one row of that shape."""
    return math.prod(shape)
