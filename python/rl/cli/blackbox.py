"""`rl blackbox FILE`: what an arm did before a fault, as a table and a page of curves."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rl.api.errors import InputError
from rl.cli.output import plain
from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved
from rl.config.outputs import new_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rl.control.black_box import BlackBox


@dataclass(frozen=True, kw_only=True)
class BlackBoxConfig:
    """What `rl blackbox` shows."""

    file: Annotated[str | None, doc("the file; null: the newest one")] = None
    rows: Annotated[
        int | None, doc("cycles shown, the last ones; null: those around each change, and the last", ge=1, le=1000)
    ] = None
    plot: Annotated[str | None, doc("write curves of goal and measured position to this .html file")] = None
    json: Annotated[bool, doc("print JSON: events and every cycle")] = False


SPEC = CommandSpec(
    name="blackbox",
    tree=BlackBoxConfig,
    summary="Show the last cycles before a fault: rl blackbox [FILE] [--plot curves.html]",
    positionals=("file",),
)


def run(resolved: Resolved) -> int:
    """Print it. InputError when there is none, or the file is damaged."""
    from rl.control import black_box

    config: BlackBoxConfig = resolved.config
    drawing = None if config.plot is None else new_file(config.plot, "--plot")
    path = Path(config.file).expanduser() if config.file else newest()
    box = black_box.read(path)
    if config.json:
        print(json.dumps(plain(_plain(box)), allow_nan=False))
    else:
        show(path, box, config.rows)
    if drawing is not None:
        plot(box, drawing)
        print(f"curves: {drawing}", file=sys.stderr if config.json else sys.stdout)
    return 0


def newest() -> Path:
    """The newest black box of this user. InputError when there is none."""
    from rl.control.settings import black_box_folder

    folder = black_box_folder()
    found = sorted(folder.glob("*.blackbox"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise InputError("there is none", where=str(folder), todo="one is written when a session ends in a fault")
    return found[-1]


def show(path: Path, box: BlackBox, rows: int | None) -> None:
    """Events, who was silent, then cycles. In a terminal the joints are split into tables as wide as it is; into a pipe
    they go side by side."""
    print(f"{path}: {len(box.measured)} cycles at {box.rate:g} Hz")
    for event in box.events:
        joint = f" ({box.axes[event.joint]})" if 0 <= event.joint < len(box.axes) else ""
        print(f"{(event.at - box.events[-1].at) / 1e9:9.3f} s  {event.state:<10} {event.reason}{joint}")
    lost = zip(box.axes, box.missing.sum(axis=0).tolist(), strict=True)
    silent = [f"{name} in {count}" for name, count in lost if count]
    print(f"no reply: {', '.join(silent)} of {len(box.measured)} cycles" if silent else "no reply was missing")
    count = len(box.measured)
    chosen = box.changes() if rows is None else list(range(max(0, count - rows), count))
    if box.skipped.any():
        times = box.skipped.sum(axis=0)
        print(f'not asked ("-"), a cycle had no room for all motors: in {times.min()} to {times.max()} cycles a motor')
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    which = "around each change, --rows N shows the last N" if rows is None else "the last"
    print(f"goal / measured of each joint, s before the end, {len(chosen)} cycles ({which}):")
    for lines in tables(box, chosen, width):
        print("\n" + "\n".join(lines))


def tables(box: BlackBox, chosen: Sequence[int], width: int | None) -> list[list[str]]:
    """Lines of these cycles: when, state, lateness, then "goal / measured" of each joint, "missing" in place of what
    did not come and "-" of what was not asked for; dots where cycles are left out. Several tables when they do not fit
    into `width`; None: one."""
    head, states, missing, skipped = box.head, box.states, box.missing, box.skipped
    end = head["deadline"][-1] if len(box.measured) else 0
    left = [
        _column("s", chosen, lambda i: f"{(head['deadline'][i] - end) / 1e9:.3f}", "..."),
        _column("state", chosen, lambda i: states[i]),
        _column("late us", chosen, lambda i: f"{(head['woke'][i] - head['deadline'][i]) / 1e3:.0f}"),
    ]

    def pair(k: int, i: int) -> str:
        seen = "missing" if missing[i, k] else "-" if skipped[i, k] else f"{box.measured[i, k]:.1f}"
        return f"{box.goal[i, k]:.1f} / {seen:>7}"

    found, block = [], left
    for k, name in enumerate(box.axes):
        joint = _column(name, chosen, partial(pair, k))
        if width is not None and len(block) > len(left) and _wide([*block, joint]) > width:
            found.append(block)
            block = left
        block = [*block, joint]
    return [_lines(block) for block in [*found, block]]


def _column(name: str, chosen: Sequence[int], cell: Callable[[int], str], gap: str = "") -> list[str]:
    """Its heading, then a cell of each cycle; `gap` where some are left out."""
    found = [name]
    for before, i in zip([None, *chosen], chosen, strict=False):
        if before is not None and i != before + 1:
            found.append(gap)
        found.append(cell(i))
    return found


def _wide(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in columns) - 2


def _lines(columns: Sequence[Sequence[str]]) -> list[str]:
    wide = [max(map(len, column)) for column in columns]
    return ["  ".join(cell.rjust(n) for cell, n in zip(row, wide, strict=True)) for row in zip(*columns, strict=True)]


def plot(box: BlackBox, path: Path) -> None:
    """One chart an axis, time in s before the end."""
    from rl.control.page import Curve, Page

    if not len(box.measured):
        raise InputError("holds no cycle to draw", where="black box")
    page = Page("black box")
    time = (box.head["deadline"] - box.head["deadline"][-1]) / 1e9
    for k, name in enumerate(box.axes):
        curves = [Curve("goal", time, box.goal[:, k]), Curve("measured", time, box.measured[:, k])]
        page.chart(name, curves, "s before the end")
    page.write(path)


def _names(box: BlackBox, which: NDArray[np.bool_]) -> list[list[str]]:
    return [[name for name, it in zip(box.axes, row, strict=True) if it] for row in which]


def _plain(box: BlackBox) -> dict[str, object]:
    return {
        "rate": box.rate,
        "axes": list(box.axes),
        "events": [vars(event) for event in box.events],
        "states": box.states,
        "silent": _names(box, box.missing),
        "not_asked": _names(box, box.skipped),
        **{name: column.tolist() for name, column in box.head.items() if name != "state"},
        "measured": box.measured.tolist(),
        "goal": box.goal.tolist(),
        "requested": box.requested.tolist(),
    }
