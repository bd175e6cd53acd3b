"""The reading cycle in virtual time (`rl_line_soak`): volumes for which a wire needs hours, and no host in the way.

Needs the program: cmake --preset release && cmake --build --preset release
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from benchmarks.faults.rig import Outcome

PROGRAM = Path(__file__).parents[2] / "build" / "release" / "rl_line_soak"


@cache
def soak(struck: int, hours: float, seed: int) -> dict[str, float]:
    """What the program says: name -> number."""
    if not PROGRAM.is_file():
        raise SystemExit(f"{PROGRAM} is not there; cmake --preset release && cmake --build --preset release")
    done = subprocess.run([PROGRAM, str(struck), str(hours), str(seed)], capture_output=True, text=True, check=True)
    return {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}


def late(struck: int, seed: int = 0) -> Outcome:
    """Late, damaged, doubled and noisy replies, one in ten each. Figures: wrong (values that were not of this cycle),
    fresh (values taken), telling (of them: an old one would have been found)."""
    found = soak(struck, 1.0, seed)
    figures = {name: found[f"late_{name}"] for name in ("wrong", "fresh", "telling", "replies")}
    return Outcome(int(found["late_struck"]), struck, figures)


def loss(seed: int = 0) -> Outcome:
    """An hour at 50 Hz with one reply in a hundred lost. Figures: age_ms (p99.9, max) of the oldest joint at the end of
    a cycle, wrong, stale (1 when any was older than the 100 ms that put an arm into HOLD)."""
    found = soak(1000, 1.0, seed)
    figures = {
        "age_ms_p99.9": found["loss_age_p99.9"], "age_ms_max": found["loss_age_max"], "wrong": found["loss_wrong"],
        "stale": float(found["loss_age_max"] > 100), "lost": found["loss_struck"],
    }  # fmt: skip
    return Outcome(int(found["loss_cycles"]), 180_000, figures)
