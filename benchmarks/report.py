"""One table for every benchmark: measure, wanted, measured, verdict; and the committed result file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One promised number. `wanted` is how a person would say it; None: reported, not promised."""

    measure: str
    measured: str
    wanted: str | None = None
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return {True: "ok", False: "MISSED", None: "-"}[self.met]


def at_most(measure: str, value: float, limit: float, unit: str, digits: int = 3) -> Figure:
    return Figure(measure, f"{value:.{digits}f} {unit}", f"<= {limit:g} {unit}", value <= limit)


def at_least(measure: str, value: float, limit: float, unit: str, digits: int = 3) -> Figure:
    return Figure(measure, f"{value:.{digits}f} {unit}", f">= {limit:g} {unit}", value >= limit)


def report(name: str, figures: Sequence[Figure], about: str, details: dict[str, Any] | None = None) -> int:
    """Print the table, write results/NAME.json; 1 when a promise was missed."""
    rows = [("measure", "wanted", "measured", "verdict")]
    rows += [(f.measure, f.wanted or "-", f.measured, f.verdict) for f in figures]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    print(about)
    for row in rows:
        print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    found = {
        "about": about,
        "machine": machine(),
        "figures": [asdict(f) | {"verdict": f.verdict} for f in figures],
        "details": details or {},
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1, default=lambda number: number.item())  # numpy's numbers
    (RESULTS / f"{name}.json").write_text(text + "\n")
    return 1 if any(f.met is False for f in figures) else 0


def earlier_details(name: str) -> dict[str, Any]:
    """The details in results/NAME.json, if they were taken on a machine like this one; else none."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return {}
    found, here = json.loads(path.read_text()), machine()
    alike = all(found["machine"][key] == here[key] for key in ("cpu", "cores", "kernel", "python", "versions"))
    return dict(found["details"]) if alike else {}


def machine() -> dict[str, Any]:
    """What the figures were taken on; no host name, no paths."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {d: _version(d) for d in ("rl-toolkit", "torch", "onnxruntime", "numpy", "typer")},
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
