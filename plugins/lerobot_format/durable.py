"""Files that are whole or absent: written aside, synced, renamed; and the lock that keeps a second writer out."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.api import InputError


def sync_file(path: Path) -> None:
    """Wait until the file's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the folder's entries are on the disk: a rename is durable only after this."""
    sync_file(path)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def place(temporary: Path, final: Path) -> None:
    """Rename a synced file to its place, durably."""
    make_folder(final.parent)
    temporary.replace(final)
    sync_folder(final.parent)


def write_json(scratch: Path, final: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file by way of the folder `scratch`."""
    temporary = scratch / f"{final.name}.new"
    temporary.write_text(json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False), "utf-8")
    sync_file(temporary)
    place(temporary, final)


class Lock:
    """The right to write into a set, held until `release` or the end of the process."""

    def __init__(self, path: Path, where: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise InputError("is being written by another process", where=where, todo="wait for it or end it") from None

    @property
    def released(self) -> bool:
        """Whether others may write."""
        return self._descriptor < 0

    def release(self) -> None:
        """Let others write. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
