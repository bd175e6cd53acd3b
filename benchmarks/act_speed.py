"""ACT beside LeRobot's, on the same weights and the same input: chunk, training step; and the exported ONNX chunk.

    LEROBOT_PYTHON=... python -m benchmarks.act_speed [--pairs 30] [--height 480 --width 640]

Two worker processes, one thread each, float32. Outputs are compared first; then timed calls alternate between the two,
CPU time of the worker, and the ratio is taken pair by pair. Without LEROBOT_PYTHON only our own figures are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, report

WORKER = Path(__file__).with_name("act_worker.py")


class Worker:
    """One implementation in its own interpreter; answers one JSON line for each request."""

    def __init__(self, python: str, kind: str, folder: Path) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        env["HF_HUB_OFFLINE"] = "1"
        self.child = subprocess.Popen(
            [python, str(WORKER), kind, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        self.about = self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        assert self.child.stdin is not None
        self.child.stdin.write(what + "\n")
        self.child.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"a worker ended with {self.child.wait()}")

    def close(self) -> None:
        self.child.communicate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    args = parser.parse_args()
    rival = os.environ.get("LEROBOT_PYTHON")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        subprocess.run([sys.executable, str(WORKER), "prepare", place, str(args.height), str(args.width)], check=True)
        workers = {"rl": Worker(sys.executable, "rl", folder), "onnx": Worker(sys.executable, "onnx", folder)}
        if rival:
            workers["lerobot"] = Worker(rival, "lerobot", folder)
        figures = compare(workers)
        details: dict[str, Any] = {"versions": {name: w.about for name, w in workers.items()}, "pairs": args.pairs}
        for what, names in {"chunk": ("rl", "onnx", "lerobot"), "step": ("rl", "lerobot")}.items():
            times = interleaved(workers, what, [n for n in names if n in workers], args.pairs)
            details[what] = times
            figures += judged(what, times)
        for worker in workers.values():
            worker.close()
    about = f"ACT, default size, 2 cameras {args.width}x{args.height}, batch 1, float32, one thread, CPU time"
    return report("act_speed", figures, about, details)


def compare(workers: dict[str, Worker]) -> list[Figure]:
    """Same numbers before same speed: largest difference of the normalised chunk and of the evaluation loss."""
    values = {name: worker.ask("values") for name, worker in workers.items()}
    figures = []
    for name in set(values) - {"rl"}:
        error = max(abs(a - b) for a, b in zip(values["rl"]["chunk"], values[name]["chunk"], strict=True))
        figures.append(
            Figure(f"largest difference of a chunk, rl and {name}", f"{error:.1e}", "<= 1e-4", error <= 1e-4)
        )
    if "lerobot" in values:
        error = abs(values["rl"]["loss"] - values["lerobot"]["loss"])
        figures.append(Figure("difference of the evaluation loss", f"{error:.1e}", "<= 1e-4", error <= 1e-4))
    return figures


def interleaved(workers: dict[str, Worker], what: str, names: list[str], pairs: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        workers[name].ask(what)  # warm
    for turn in range(pairs):
        for name in names if turn % 2 == 0 else reversed(names):
            times[name].append(workers[name].ask(what)["cpu_s"])
    return times


def judged(what: str, times: dict[str, list[float]]) -> list[Figure]:
    word = {"chunk": "ACT chunk", "step": "ACT training step"}[what]
    figures = [Figure(f"{word}: {name}", f"{statistics.median(values):.3f} s") for name, values in times.items()]
    if "lerobot" in times:
        figures.append(faster(f"{word}: rl faster than LeRobot's", times["lerobot"], times["rl"], 1.0))
        if "onnx" in times:
            figures.append(faster("ONNX chunk faster than LeRobot's eager", times["lerobot"], times["onnx"], 1.25))
    if "onnx" in times:
        figures.append(faster("ONNX chunk faster than our own eager", times["rl"], times["onnx"], None))
    return figures


def faster(measure: str, slow: list[float], fast: list[float], wanted: float | None) -> Figure:
    """Median of the ratios of pairs with the interval that holds the median in 95 % of samples (order statistics)."""
    ratios = sorted(a / b for a, b in zip(slow, fast, strict=True))
    count = len(ratios)
    half = round(0.98 * count**0.5)
    low, high = ratios[max(0, count // 2 - half)], ratios[min(count - 1, count // 2 + half)]
    middle = statistics.median(ratios)
    told = f"{middle:.3f}x [{low:.3f}, {high:.3f}]"
    if wanted is None:
        return Figure(measure, told)
    return Figure(measure, told, f">= {wanted:g}x", middle >= wanted)


if __name__ == "__main__":
    sys.exit(main())
