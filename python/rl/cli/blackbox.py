"""`rl blackbox FILE`: what an arm did before a fault, as a table and a page of curves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rl.api.errors import InputError
from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved

if TYPE_CHECKING:
    from rl.control.black_box import BlackBox


@dataclass(frozen=True, kw_only=True)
class BlackBoxConfig:
    """What `rl blackbox` shows."""

    file: Annotated[str | None, doc("the file; null: the newest one")] = None
    rows: Annotated[int, doc("cycles shown, the last ones", ge=1, le=1000)] = 20
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
    path = Path(config.file).expanduser() if config.file else newest()
    box = black_box.read(path)
    if config.json:
        print(json.dumps(_plain(box)))
    else:
        show(path, box, config.rows)
    if config.plot:
        plot(box, Path(config.plot).expanduser())
        print(f"curves: {config.plot}")
    return 0


def newest() -> Path:
    """The newest black box of this user. InputError when there is none."""
    from rl.control.settings import black_box_folder

    folder = black_box_folder()
    found = sorted(folder.glob("*.blackbox"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise InputError("there is none", where=str(folder), todo="one is written when a session ends in a fault")
    return found[-1]


def show(path: Path, box: BlackBox, rows: int) -> None:
    """Events, then the last cycles: goal and measured position of each axis."""
    from rich.console import Console
    from rich.table import Table

    print(f"{path}: {len(box.measured)} cycles at {box.rate:g} Hz")
    for event in box.events:
        joint = f" ({box.axes[event.joint]})" if 0 <= event.joint < len(box.axes) else ""
        print(f"{(event.at - box.events[-1].at) / 1e9:9.3f} s  {event.state:<10} {event.reason}{joint}")
    table = Table(title="goal / measured", title_justify="left")
    for column in ("s", "state", "late us", *box.axes):
        table.add_column(column, justify="left" if column == "state" else "right")
    end = box.head["deadline"][-1] if len(box.measured) else 0
    states = box.states
    for i in range(max(0, len(box.measured) - rows), len(box.measured)):
        late = (box.head["woke"][i] - box.head["deadline"][i]) / 1e3
        pairs = (f"{goal:.1f} / {seen:.1f}" for goal, seen in zip(box.goal[i], box.measured[i], strict=True))
        table.add_row(f"{(box.head['deadline'][i] - end) / 1e9:.3f}", states[i], f"{late:.0f}", *pairs)
    Console(highlight=False).print(table)


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


def _plain(box: BlackBox) -> dict[str, object]:
    return {
        "rate": box.rate,
        "axes": list(box.axes),
        "events": [vars(event) for event in box.events],
        "states": box.states,
        **{name: column.tolist() for name, column in box.head.items() if name != "state"},
        "measured": box.measured.tolist(),
        "goal": box.goal.tolist(),
        "requested": box.requested.tolist(),
    }
