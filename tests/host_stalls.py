"""Does this host stand still while a test measures time?

A shared machine gives its cores to others for tens of milliseconds. A test of tests/core or tests/control that fails in
such a moment says nothing of the product. So a process beside these tests wakes up every two milliseconds and notes how
late it was; a failed test in which the machine itself stood still is run again, twice at most, and the summary names it
with the stall. A test that fails without a stall, or three times, has failed.
"""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pytest
from _pytest.runner import runtestprotocol

STALL_MS = 5.0  # what tests allow a reply beyond the wire is 8 ms at the least
TRIES = 3
MOST = 12  # tests run again in one session: where more fail it is not the host
TIMED = {"core", "control"}

_WATCHER = f"""
import os, time
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(90))
except OSError:
    pass  # without permission it sees what the tests see
while os.getppid() == {os.getpid()}:
    start = time.monotonic()
    time.sleep(0.002)
    late = (time.monotonic() - start) * 1e3 - 2
    if late > {STALL_MS}:
        print(f"{{start}} {{late}}", flush=True)
"""


class HostWatch:
    """A timer in a process of its own; `worst` tells how late it was since an instant, ms."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _WATCHER], stdout=subprocess.PIPE)
        self._lines = cast("IO[bytes]", self.process.stdout)
        os.set_blocking(self._lines.fileno(), False)
        self._text = b""

    def worst(self, since: float) -> float:
        """The latest wake-up after `since` (time.monotonic), ms; 0 where none was later than STALL_MS."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._lines, selectors.EVENT_READ)
            while selector.select(0.01):
                part = self._lines.read()
                if not part:
                    break
                self._text += part
        *whole, self._text = self._text.split(b"\n")
        stalls = [tuple(map(float, line.split())) for line in whole]
        return max((late for start, late in stalls if start > since - late / 1e3), default=0.0)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._lines.close()


class RunAgain:
    """The plugin: runs a timed test again that failed while the host stood still."""

    def __init__(self) -> None:
        self.watch: HostWatch | None = None
        self.again: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a timed test, again where the host stood still in one that failed."""
        if not TIMED & set(Path(item.path).parts):
            return None
        self.watch = self.watch or HostWatch()
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for attempt in range(1, TRIES + 1):
            since = time.monotonic()
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            stall = self.watch.worst(since)
            failed = any(report.failed for report in reports)
            if not failed or not stall or attempt == TRIES or len(self.again) == MOST:
                break
            reason = next(report.longreprtext.splitlines()[-1] for report in reports if report.failed)
            self.again.append(f"{item.nodeid}: the host stood still for {stall:.0f} ms ({reason})")
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what was run again."""
        if self.again:
            terminalreporter.section("run again: this host stood still while they measured")
            for line in self.again:
                terminalreporter.line(line)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        """The watcher ends with the session."""
        if self.watch is not None:
            self.watch.close()
        return (yield)
