"""What it costs to ask: help, a typo, the plugin list. CPU time of whole processes, interleaved, medians.

    python -m benchmarks.start [--runs 15]

LEROBOT_PYTHON: the interpreter of an environment with LeRobot; its own help is then measured beside.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

from benchmarks.process import run
from benchmarks.report import Figure, at_most, report
from rl.cli.commands import COMMANDS

FAST = {
    "rl --help": ["--help"],
    "rl train --policy act --help": ["train", "--policy", "act", "--help"],
    "a mistyped option": ["train", "--polcy", "act"],
}
HELPED = {f"rl {c.name} --help": [c.name, "--help"] for c in COMMANDS} | {"rl plugins": ["plugins"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    rl = str(Path(sys.executable).with_name("rl"))
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(runs):
        for name, words in (FAST | HELPED).items():
            used = run([rl, *words])
            found.setdefault(name, []).append((used.cpu_s, used.peak_mb))
    figures: list[Figure] = []
    for name, values in found.items():
        cpu, memory = statistics.median(v[0] for v in values), max(v[1] for v in values)
        limit = 0.15 if name in FAST else 0.25
        figures.append(at_most(f"{name}: CPU", cpu, limit, "s"))
        if name in FAST:
            figures.append(at_most(f"{name}: peak memory", memory, 50, "MB", 0))
    figures += rival()
    details = {name: [round(v[0], 4) for v in values] for name, values in found.items()}
    return report("start", figures, f"start-up, medians of {runs} interleaved runs", {"cpu_s": details})


def rival() -> list[Figure]:
    python = os.environ.get("LEROBOT_PYTHON")
    if not python:
        return []
    train = str(Path(python).with_name("lerobot-train"))
    figures = []
    for name, words in {"lerobot-train --help": ["--help"], "lerobot-train --polcy": ["--polcy=act"]}.items():
        used = [run([train, *words]) for _ in range(3)]
        cpu, memory = statistics.median(u.cpu_s for u in used), max(u.peak_mb for u in used)
        figures.append(Figure(f"{name}: CPU, peak memory", f"{cpu:.2f} s, {memory:.0f} MB"))
    return figures


if __name__ == "__main__":
    sys.exit(main())
