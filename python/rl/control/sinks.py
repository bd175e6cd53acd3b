"""What watches a session: a line in the terminal, a file of every cycle. The recorder is in `recorder`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.config.outputs import new_file
from rl.control.session import Session
from rl.control.settings import STATES

LINE_S = 0.25  # between two refreshes of the line
COLUMNS = ("cycle", "deadline", "wrote", "captured", "state", "values", "goal", "requested")


def status_of(session: Session) -> str:
    """What a keyboard or a gamepad says of itself now; '' beside any other source."""
    return str(getattr(getattr(session.source, "teleoperator", None), "status", ""))


class LiveLine:
    """One line, refreshed in place, while stderr is a terminal."""

    def __init__(self, stream: Any = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self._next = self._began = 0.0
        self._shown = False

    def begin(self, session: Session) -> None:
        self._began = time.monotonic()

    def poll(self, session: Session) -> None:
        now = time.monotonic()
        if not self.stream.isatty() or now < self._next or session.loop is None:
            return
        self._next = now + LINE_S
        look = session.loop.snapshot()
        text = f"{look.state:10} {now - self._began:6.1f} s  cycle {look.cycle}"
        told = [*look.faults, *filter(None, [status_of(session), session.hint])]
        self.stream.write(f"\r\x1b[K{text}" + (f"  {', '.join(told)}" if told else ""))
        self.stream.flush()
        self._shown = True

    def end(self, session: Session) -> None:
        if self._shown:
            self.stream.write("\r\x1b[K")
            self.stream.flush()


class Trace:
    """Every cycle of every loop as arrays in one .npz.

    cycle, deadline, wrote, captured (ns), state, values, goal, requested; with names and units of the values and
    `states`, the names of the numbers in `state`. Several loops: arrays are prefixed with the loop's name. Written
    aside, synced, renamed. Errors: InputError when its folder is not there.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = new_file(path, "--trace")
        self._pieces: dict[str, list[dict[str, NDArray[Any]]]] = {}
        self._since: dict[str, int] = {}

    def begin(self, session: Session) -> None:
        """Nothing is kept before the first cycle."""

    def poll(self, session: Session) -> None:
        if session.loop is None:
            return
        for member in session.loop.members:
            found = member.loop.records(self._since.get(member.name, -1))
            if len(found["cycle"]):
                self._since[member.name] = int(found["cycle"][-1])
                self._pieces.setdefault(member.name, []).append({name: found[name] for name in COLUMNS})

    def end(self, session: Session) -> None:
        self.poll(session)
        single = len(self._pieces) == 1
        arrays: dict[str, Any] = {
            (name if single else f"{member}.{name}"): np.concatenate([piece[name] for piece in pieces])
            for member, pieces in self._pieces.items()
            for name in COLUMNS
        }
        arrays["names"], arrays["units"] = np.array(session.robot.state.names), np.array(session.robot.state.units)
        arrays["states"] = np.array(STATES)
        aside = self.path.with_name(self.path.name + ".partial")
        with aside.open("wb") as file:
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self.path)
