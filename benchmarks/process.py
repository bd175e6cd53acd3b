"""A command as a whole process: CPU seconds, peak memory, wall time, output."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    code: int
    output: str
    cpu_s: float
    peak_mb: float
    wall_s: float


def run(command: Sequence[str], *, cwd: str | None = None, env: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end. CPU time is user plus system of it and of the children it waited for."""
    with tempfile.TemporaryFile("w+") as sink:
        begin = time.monotonic()
        child = subprocess.Popen(
            list(command), cwd=cwd, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1", **(env or {})},
        )  # fmt: skip
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        sink.seek(0)
        return Usage(child.returncode, sink.read(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, wall)
