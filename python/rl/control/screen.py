"""The live table of a session in a terminal. Drawn in the session's thread from snapshots: the loop pays nothing."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl.control.session import Session, Sink
from rl.control.settings import STALE_S
from rl.control.sinks import LiveLine, status_of

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

        faults = [text.partition(": ")[2] or text for text in look.faults if _named(text) == joint]
        measured, age = of(look.values), of(look.age)
        load, temperature = _told(look.load[at]), _told(look.temperature[at])
        found.append(Row(joint, unit, float(look.goal[at]), measured, age, load, temperature, ", ".join(faults)))
    return found


def _named(fault: str) -> str:
    """The joint of "elbow_flex: overload", "elbow_flex (id 3): no reply"."""
    return fault.partition(":")[0].partition(" (")[0]


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
    """joint, goal, measured, age, what the servos tell of load and temperature; state, time and rate above, faults
    below."""

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
        size = self._live.console.size
        hint = "\n".join(filter(None, [status_of(session), session.hint]))
        made = table(look, session.robot, now - self._began, rate, hint, (size.width, size.height))
        self._live.update(made, refresh=True)
        self._next = time.monotonic() + DRAW_S

    def end(self, session: Session) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


COLOURS = {"ACTIVE": "green", "SOFT_START": "cyan", "REST": "cyan", "HOLD": "yellow", "FAULT": "red", "ESTOP": "red"}
DROPPED = ("unit", "temp.", "load", "age ms")  # where it is narrow, the least important first; the rest always stays
NUMBER, GAP = 6, 2  # least width of a number's column, so that none comes and goes; blanks between two columns


def table(
    look: Any, robot: Any, seconds: float, rate: float | None, hint: str = "", size: tuple[int, int] = (100, 40)
) -> Any:
    """One snapshot for rich, no larger than `size` (columns, lines): what does not fit is left out whole, and said.
    hint: for whoever leads."""
    from rich.console import Group
    from rich.text import Text

    width, height = size
    colour = COLOURS.get(look.state, "default")
    first = f"{look.state:10} {seconds:7.1f} s" + ("" if rate is None else f"  {rate:6.1f} Hz")
    why = f"  {look.reason}" if look.state in ("HOLD", "FAULT", "ESTOP") else ""
    head = [Text(line, style=colour) for line in textwrap.wrap(first + why, width)]
    head[0].stylize("bold", 0, len(look.state))
    head += [Text(line) for part in hint.splitlines() for line in textwrap.wrap(part, width)]
    rows = rows_of(look, robot)
    columns = _fitting(_columns(rows), width)
    room = height - len(head) - 1  # without the names of the columns
    faults = _told_faults(look.faults, width, max(room // 2, room - len(rows)))
    room = room - len(faults) if columns else 0
    kept = _kept(rows, room)
    body = _drawn(columns, rows, kept) if kept else []
    if len(kept) < len(rows):
        body.append(Text(f"+{len(rows) - len(kept)} more", style="yellow"))
    return Group(*head, *body, *(Text(line, style="red") for line in faults))


def _told_faults(faults: Sequence[str], width: int, most: int) -> list[str]:
    """All of them in as few lines as they need; of too many, how many more there are."""
    for shown in range(len(faults), 0, -1):
        rest = [f"+{len(faults) - shown} more faults"] if shown < len(faults) else []
        lines = textwrap.wrap(", ".join([*faults[:shown], *rest]), width)
        if len(lines) <= max(most, 1):
            return lines
    return textwrap.wrap(f"{len(faults)} faults", width) if faults else []


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Name -> cells; what no row knows is no column."""
    found = {
        "joint": [row.joint for row in rows],
        "goal": [_number(row.goal) for row in rows],
        "measured": [_number(row.measured) for row in rows],
        "unit": [row.unit for row in rows],
        "age ms": ["-" if row.age_s is None else f"{min(row.age_s, 99.0) * 1e3:.0f}" for row in rows],
    }
    for name, values in (("load", [row.load for row in rows]), ("temp.", [row.temperature for row in rows])):
        if any(value is not None for value in values):
            found[name] = [_number(value) for value in values]
    return found


def _fitting(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """Those that fit side by side, each whole; none where not even joint, goal and measured do."""
    left = dict(columns)
    for name in (*DROPPED, "joint"):
        if sum(_width(*column) + GAP for column in left.items()) - GAP <= width:
            return left
        left.pop(name, None)
    return {}


def _width(name: str, cells: Sequence[str]) -> int:
    return max(NUMBER, len(name), *map(len, cells))


def _kept(rows: Sequence[Row], room: int) -> list[int]:
    """Which rows are drawn in so many lines: all, or those with a fault first and a line for the number of others."""
    if len(rows) <= room:
        return list(range(len(rows)))
    first = sorted(range(len(rows)), key=lambda at: not (rows[at].fault or _stale(rows[at])))
    return sorted(first[: max(room - 1, 0)])


def _stale(row: Row) -> bool:
    return row.age_s is not None and not row.age_s <= STALE_S


def _drawn(columns: Mapping[str, list[str]], rows: Sequence[Row], kept: Sequence[int]) -> list[Any]:
    from rich.text import Text

    def line(cells: Mapping[str, str], style: str) -> Text:
        words = []
        for name, cell in cells.items():
            wide = _width(name, columns[name])
            words.append(cell.ljust(wide) if name in ("joint", "unit") else cell.rjust(wide))
        return Text((" " * GAP).join(words), style=style, no_wrap=True)

    lines = [line({name: name for name in columns}, "bold")]
    for at in kept:
        style = "red" if rows[at].fault else "yellow" if _stale(rows[at]) else ""
        lines.append(line({name: cells[at] for name, cells in columns.items()}, style))
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def live_view() -> Sink:
    """The table where a person looks at a terminal that can draw one, else one line, else nothing."""
    able = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return LiveTable() if able else LiveLine()
