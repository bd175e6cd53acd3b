"""The live table of a session in a terminal. Drawn in the session's thread from snapshots: the loop pays nothing."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from rl.control.session import Session, Sink
from rl.control.settings import STALE_S
from rl.control.sinks import LiveLine

DRAW_S = 0.1  # least time between two drawings
WINDOW_S = 2.0  # of the shown rate


@dataclass(frozen=True)
class Row:
    """One element of the action vector."""

    joint: str
    unit: str
    goal: float
    measured: float | None
    age_s: float | None
    load: float | None  # where the robot tells it
    temperature: float | None
    fault: str


def rows_of(look: Any, robot: Any) -> list[Row]:
    """A snapshot as rows. What the state does not hold under the joint's name is None."""
    places = {name: at for at, name in enumerate(robot.state.names)}
    found = []
    for at, (name, unit) in enumerate(zip(robot.action.names, robot.action.units, strict=True)):
        place = places.get(name)
        joint = name.rpartition(".")[0] or name

        def of(values: Any, place: int | None = place) -> float | None:
            return None if values is None or place is None else float(values[place])

        faults = [text.partition(": ")[2] or text for text in look.faults if _joint_of(text) == joint]
        measured, age = of(look.values), of(look.age)
        load, temperature = _told(look.load[at]), _told(look.temperature[at])
        found.append(Row(joint, unit, float(look.goal[at]), measured, age, load, temperature, ", ".join(faults)))
    return found


def _joint_of(text: str) -> str:
    """'elbow_flex' of 'elbow_flex (id 3): overload'."""
    return text.partition(":")[0].partition(" (id ")[0]


def _told(value: float) -> float | None:
    """None where the robot does not tell it."""
    return None if value != value else float(value)


class Rate:
    """Cycles a second over the last two seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, now: float, cycle: int) -> float | None:
        """None until there is something to divide."""
        self._seen.append((now, cycle))
        while now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        begin, first = self._seen[0]
        return (cycle - first) / (now - begin) if now - begin > WINDOW_S / 4 else None


class LiveTable:
    """joint, goal, measured, age, what the servos tell of load and temperature, faults; state, time and rate above."""

    def __init__(self, console: Any = None) -> None:
        self._console = console
        self._live: Any = None
        self._next = self._began = 0.0
        self._rate = Rate()

    def begin(self, session: Session) -> None:
        from rich.console import Console
        from rich.live import Live

        self._began = time.monotonic()
        console = self._console or Console(stderr=True, highlight=False)
        # What is printed meanwhile goes above the table, which leaves no trace at the end: the report comes there.
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def poll(self, session: Session) -> None:
        now = time.monotonic()
        if self._live is None or session.loop is None or now < self._next:
            return
        look = session.loop.snapshot()
        rate = self._rate.at(now, int(look.cycle))
        self._live.update(table(look, session.robot, now - self._began, rate, session.hint), refresh=True)
        self._next = time.monotonic() + DRAW_S

    def end(self, session: Session) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


COLOURS = {"ACTIVE": "green", "SOFT_START": "cyan", "REST": "cyan", "HOLD": "yellow", "FAULT": "red", "ESTOP": "red"}


def table(look: Any, robot: Any, seconds: float, rate: float | None, hint: str = "") -> Any:
    """The table of one snapshot, for rich. hint: what may be pressed."""
    from rich.table import Table
    from rich.text import Text

    rows = rows_of(look, robot)
    colour = COLOURS.get(look.state, "default")
    title = Text(f"{look.state:10}", style=f"bold {colour}")
    title.append(f" {seconds:7.1f} s" + ("" if rate is None else f"  {rate:6.1f} Hz"), style="default")
    if look.state in ("HOLD", "FAULT", "ESTOP"):
        title.append(f"  {look.reason}", style=colour)
    loads, warm = any(row.load is not None for row in rows), any(row.temperature is not None for row in rows)
    made = Table(title=title, title_justify="left", title_style="default", padding=(0, 1))
    made.add_column("joint", no_wrap=True)
    names = ["goal", "measured", "unit", "age ms", *["load"] * loads, *["temp."] * warm]
    for name in names:
        made.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    made.add_column("fault", style="red")
    for row in rows:
        old = row.age_s is not None and not row.age_s <= STALE_S
        age = Text("-" if row.age_s is None else f"{min(row.age_s, 99.0) * 1e3:.0f}", style="yellow" if old else "")
        cells: list[Any] = [_number(row.goal), _number(row.measured), row.unit, age]
        cells += [_number(row.load)] * loads + [_number(row.temperature)] * warm
        made.add_row(row.joint, *cells, row.fault)
    others = [text for text in look.faults if not any(_joint_of(text) == row.joint for row in rows)]
    made.caption = "\n".join(filter(None, [", ".join(others), hint])) or None
    return made


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def live_view() -> Sink:
    """The table where a person looks at a terminal that can draw one, else one line, else nothing."""
    able = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return LiveTable() if able else LiveLine()
