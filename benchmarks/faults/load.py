"""The host is busy: does the loop keep its rate and its period? Each kind beside the same loop without it, in turn."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from benchmarks.faults.rig import SECOND, Outcome, Rig, medians, quantiles

ACTIVE = 2  # of the records
HOG = "while True: pass"
MEMORY = "import numpy as np\nwhile True: np.ones(1 << 28)"  # 2 GiB taken, touched and given back, again and again
MOST = 200  # short processes a second


@contextmanager
def hogs(program: str, count: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


@contextmanager
def processes() -> Iterator[None]:
    """As many short processes as 200 a second, one after another."""
    over = threading.Event()

    def breed() -> None:
        while not over.wait(1 / MOST):
            subprocess.run(["/bin/true"], check=False)

    thread = threading.Thread(target=breed)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


LOADS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "hogs": lambda: hogs(HOG, 2),
    "processes": processes,
    "memory": lambda: hogs(MEMORY, 1),
}


def spans(rig: Rig, seconds: float) -> dict[str, float]:
    """Rate and period error (ms) of the cycles in ACTIVE, while the caller does what it does."""
    begin = rig.loop.snapshot().cycle
    for _ in rig.pace(seconds):
        continue
    records = rig.records(begin)
    active = records["state"] == ACTIVE
    together = active[1:] & active[:-1]
    periods = np.diff(records["wrote"])[together]
    rate = len(periods) * SECOND / float(periods.sum())
    return {"rate_hz": rate, "cycles": len(periods), **quantiles(np.abs(periods - rig.period) / 1e6)}


def run(kind: str, seconds: float, seed: int = 0, rate: float = 50.0) -> Outcome:
    """Some 5 s of load and as many without, in turn, for `seconds` of each. Medians over the turns (busy_, quiet_):
    rate_hz, ms of period error (p50, p99, p99.9, max); resumed: how often the loop was held."""
    found: dict[str, list[dict[str, float]]] = {"busy": [], "quiet": []}
    with Rig(seed=seed, rate=rate, house="guardian") as rig:
        rig.activate()
        turns = max(1, round(seconds / 5))
        for _ in range(turns):
            found["quiet"].append(spans(rig, seconds / turns))
            with LOADS[kind]():
                found["busy"].append(spans(rig, seconds / turns))
        resumed, told = rig.resumed, rig.loop.report()["realtime"]
    figures: dict[str, float] = {"resumed": resumed, "realtime": float(any("SCHED_FIFO" in note for note in told))}
    for name, parts in found.items():
        figures |= {f"{name}_{key}": value for key, value in medians(parts).items()}
    cycles = int(sum(part["cycles"] for part in found["busy"]))
    return Outcome(cycles, int(0.8 * seconds * rate), figures)
