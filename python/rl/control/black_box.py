"""The file that a guardian leaves after a fault: its last cycles, as text and 64-bit words.

Written by cpp/src/black_box.cpp, which documents the layout. A file from elsewhere is hostile until it is read.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl.api.errors import InputError
from rl.control.settings import STATES

FIRST = "rl black box 3"
HEAD = ("cycle", "deadline", "woke", "wrote", "read", "done", "captured", "missing", "skipped", "state")
LARGEST_HEADER = 64 << 10  # bytes
MOST_AXES, MOST_RECORDS = 64, 1 << 20


@dataclass(frozen=True)
class Event:
    """A change of state."""

    at: int  # monotonic ns
    state: str
    joint: int  # -1: none
    reason: str


@dataclass(frozen=True)
class BlackBox:
    """N cycles of A axes, oldest first. Times are monotonic ns."""

    rate: float  # Hz
    axes: tuple[str, ...]
    events: tuple[Event, ...]
    head: dict[str, NDArray[np.int64]]  # each (N,), names as in `HEAD`
    measured: NDArray[np.float64]  # (N, A), robot units
    goal: NDArray[np.float64]  # (N, A)
    requested: NDArray[np.float64]  # (N, A), before the limits

    @property
    def states(self) -> list[str]:
        """The state of each cycle."""
        return [STATES[i] if 0 <= i < len(STATES) else "?" for i in self.head["state"].tolist()]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(N, A) which motors did not answer in a cycle."""
        return self._motors("missing")

    @property
    def skipped(self) -> NDArray[np.bool_]:
        """(N, A) which motors were not asked in a cycle: it had no room for all, or for another question only."""
        return self._motors("skipped")

    def changes(self, around: int = 2, most: int = 40) -> list[int]:
        """The cycles in which the state, or who did not answer, was another one than before; those `around` each, and
        the last ones. `most` of them, rather the later."""
        count = len(self.measured)
        told = np.column_stack([self.head["state"], self.missing])
        turns = np.flatnonzero((told[1:] != told[:-1]).any(axis=1)) + 1
        near = (turns[:, None] + np.arange(-around, around + 1)).ravel()
        found = np.unique([*near, *range(count - 2 * around, count)]).astype(int)
        return found[(found >= 0) & (found < count)][-most:].tolist()

    def _motors(self, name: str) -> NDArray[np.bool_]:
        bits = self.head[name].astype(np.uint64)[:, None] >> np.arange(len(self.axes), dtype=np.uint64)
        return (bits & np.uint64(1)).astype(np.bool_)


def read(path: Path) -> BlackBox:
    """Errors: InputError naming the file when it is missing, no black box, cut short, or contradicts itself."""
    try:
        with path.open("rb") as file:
            start = file.read(LARGEST_HEADER)
            end = start.find(b"\n\n")
            if end < 0 or not start.startswith(FIRST.encode() + b"\n"):
                raise InputError("is no black box", where=str(path))
            header = _header(start[:end].decode("utf-8", "replace"), path)
            width = len(HEAD) + 3 * len(header["axis"])
            size = header["records"] * width * 8
            if path.stat().st_size != end + 2 + size + 8:
                raise InputError(f"is cut short, or longer than its {header['records']} records", where=str(path))
            file.seek(end + 2)
            body, crc = file.read(size), int.from_bytes(file.read(8), "little")
            if zlib.crc32(body, zlib.crc32(start[: end + 2])) != crc:
                raise InputError("is damaged: its checksum does not fit", where=str(path))
            words = np.frombuffer(body, "<i8").reshape(header["records"], width)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    n = len(header["axis"])
    values = words[:, len(HEAD) :].view("<f8")
    parts = (values[:, i * n : (i + 1) * n] for i in range(3))
    head = {name: words[:, i] for i, name in enumerate(HEAD)}
    return BlackBox(header["rate"], tuple(header["axis"]), tuple(header["event"]), head, *parts)


def _header(text: str, path: Path) -> dict:
    found: dict = {"axis": [], "event": []}
    try:
        for line in text.splitlines()[1:]:
            name, _, value = line.partition(" ")
            if name == "axis":
                found["axis"].append(value)
            elif name == "event":
                at, state, joint, reason = (value + " ").split(" ", 3)
                found["event"].append(Event(int(at), state, int(joint), reason.strip()))
            elif name == "rate":
                found["rate"] = float(value)
            else:
                found[name] = int(value)
        axes, records, words = found["axes"], found["records"], found["words"]
        rate = found["rate"]
    except (KeyError, ValueError):
        raise InputError("its header is damaged", where=str(path)) from None
    fits = axes == len(found["axis"]) and 0 < axes <= MOST_AXES and words == len(HEAD) + 3 * axes
    if not (fits and 0 <= records <= MOST_RECORDS and 0 < rate < 1e5):
        raise InputError("its header contradicts itself", where=str(path))
    return found
