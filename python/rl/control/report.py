"""The timing table at the end of everything that moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl.control.session import Outcome

Rows = list[tuple[str, str]]


def rows(report: Mapping[str, Any]) -> Rows:
    """What one loop's report says, as (measure, value)."""
    error = report["period_error_ms"]
    found = [
        *ended(report),
        ("target rate", f"{report['target_hz']:.2f} Hz"),
        ("reached rate", f"{report['reached_hz']:.3f} Hz"),
        ("cycles in motion", f"{report['active_cycles']} in {report['active_s']:.2f} s"),
        ("period error p50", f"{error['p50']:.3f} ms"),
        ("period error p99", f"{error['p99']:.3f} ms"),
        ("period error p99.9", f"{error['p999']:.3f} ms"),
        ("period error max", f"{error['max']:.3f} ms"),
        ("misses", str(report["misses"])),
        ("late reads", str(report["late_reads"])),
    ]
    missing = {joint: count for joint, count in report["missing"].items() if count}
    if missing:
        found.append(("lost replies", ", ".join(f"{joint} {count}" for joint, count in missing.items())))
    for name, label in (("clamped", "set points limited"), ("starved", "ticks without an action")):
        if report[name]:
            found.append((label, str(report[name])))
    found += [("warning", text) for text in report["warnings"]]
    refused = {why: count for why, count in report["rejected"].items() if count}
    if refused:
        found.append(("refused set points", ", ".join(f"{why} {count}" for why, count in refused.items())))
    return found


def ended(report: Mapping[str, Any]) -> Rows:
    """How the loop ended, and what held it on the way."""
    states = report["states"]
    if not states:
        return []
    name, _, reason = states[-1]
    found = [("ended", f"{name}, {reason}" if reason else str(name))]
    held: dict[str, int] = {}
    for state, _, why in states[:-1]:
        if state in ("HOLD", "FAULT", "ESTOP"):
            held[f"{state}: {why}"] = held.get(f"{state}: {why}", 0) + 1
    found += [("on the way", what + (f" ({count} times)" if count > 1 else "")) for what, count in held.items()]
    if report["still_energised"]:
        found.append(("still energised", ", ".join(report["still_energised"])))
    return found


def print_outcome(outcome: Outcome, extra: Rows | None = None) -> None:
    """The table through rich; plain and without colour when piped."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for name, report in outcome.reports.items():
        title = "timing" if len(outcome.reports) == 1 else f"timing: {name}"
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column("measure")
        table.add_column("value", justify="right")
        for label, value in rows(report):
            table.add_row(label, value)
        if outcome.first_goal_s is not None:
            table.add_row("first goal after", f"{outcome.first_goal_s:.2f} s")
        for line in outcome.loosened:
            table.add_row("limits loosened", line)
        for label, value in extra or ():
            table.add_row(label, value)
        console.print(table)
        for note in report["realtime"]:
            if not note.startswith("black box"):  # the session tells of it when it closes
                console.print(f"real time: {note}", soft_wrap=True)


def to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain data, for files and machines."""
    loops = {
        name: {**report, "states": [list(state) for state in report["states"]]}
        for name, report in outcome.reports.items()
    }
    found = {"exit_code": outcome.exit_code, "interrupted": outcome.interrupted, "first_goal_s": outcome.first_goal_s}
    return found | {"limits_loosened": list(outcome.loosened), "loops": loops}
