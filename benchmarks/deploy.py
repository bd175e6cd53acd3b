"""`rl deploy` of a default-size ACT bundle on the emulated arm: time to the first goal, memory, imports; 50 Hz with
inference beside it, and again with a pure-Python busy thread in the same process.

    python -m benchmarks.deploy [--runs 5] [--duration 20]

Wall times on a shared machine are upper bounds: the load average stands in the result. The file cache is warm. The
loop's figures are the core's own stamps, taken directly before each write.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.process import Usage, run
from benchmarks.report import Figure, at_most, report

WORKER = Path(__file__).with_name("act_worker.py")
ARM = ("--robot", "so101", "--robot.port", "sim")
BUSY = """
import sys, threading
def spin():
    while True:
        sum(range(1000))
if "busy" in sys.argv[1]:
    threading.Thread(target=spin, daemon=True).start()
from rl.cli.main import main
sys.exit(main(sys.argv[2:]))
"""

BARE = """
import sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.enable_cpu_mem_arena = False
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
kinds = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(bool)": bool}
session.run(None, {i.name: np.zeros(i.shape, kinds[i.type]) for i in session.get_inputs()})
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--duration", type=float, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, str(WORKER), "prepare", place, "480", "640"], check=True)
        bundle = str(Path(place) / "bundle")
        figures = starting(bundle, args.runs)
        figures += keeping_time("50 Hz with inference beside it", "alone", bundle, args.duration)
        figures += keeping_time("the same beside a pure-Python busy thread", "busy", bundle, args.duration)
        size = sum(p.stat().st_size for p in Path(bundle).rglob("*") if p.is_file()) / 1e6
    figures.append(Figure("size of the bundle", f"{size:.0f} MB"))
    return report("deploy", figures, "rl deploy, default-size ACT, 2 cameras 640x480, emulated arm")


def starting(bundle: str, runs: int) -> list[Figure]:
    """From exec to the first goal on the wire: the measured pose, after every check and the sample's run."""
    used, bare = [], []
    for _ in range(runs + 1):  # the first warms the file cache
        used.append(deploy("alone", bundle, 1.0))
        bare.append(run([sys.executable, "-c", BARE, f"{bundle}/graphs/chunk.onnx"]).wall_s)
    used, bare = used[1:], bare[1:]
    first = statistics.median(number(u, r"first goal after\D+([\d.]+)") for u in used)
    memory = max(u.peak_mb for u in used)
    trace = run([sys.executable, "-X", "importtime", "-c", BUSY, "alone", "deploy", bundle, *ARM, "--duration", "1"])
    heavy = [name for name in ("torch", "transformers") if re.search(rf"\|\s+{name}$", trace.output, re.M)]
    return [
        at_most("from exec to the first goal on the wire, wall", first, 1.3, "s", 2),
        Figure("beside it, bare ONNX Runtime + numpy to its first chunk", f"{statistics.median(bare):.2f} s"),
        at_most("peak memory", memory, 400, "MB", 0),
        Figure("torch or transformers imported", ", ".join(heavy) or "no", "no", not heavy),
    ]


def keeping_time(measure: str, kind: str, bundle: str, duration: float) -> list[Figure]:
    used = deploy(kind, bundle, duration)
    rate, cycles = number(used, r"reached rate\D+([\d.]+)"), number(used, r"cycles in motion\D+(\d+) in")
    middle, misses = number(used, r"period error p50\D+([\d.]+)"), number(used, r"misses\D+(\d+)")
    tail = number(used, r"period error p99 \D+([\d.]+)")
    wanted = round(duration * 50)
    return [
        Figure(f"{measure}: rate", f"{rate:.3f} Hz", "50.00 +- 0.05 Hz", abs(rate - 50) <= 0.05),
        Figure(f"{measure}: cycles", f"{cycles:.0f}", f"{wanted} +- 1", abs(cycles - wanted) <= 1),
        at_most(f"{measure}: period error p50", middle, 0.1, "ms"),
        Figure(f"{measure}: period error p99", f"{tail:.3f} ms"),
        Figure(f"{measure}: misses", f"{misses:.0f}"),
    ]


def deploy(kind: str, bundle: str, duration: float) -> Usage:
    used = run([sys.executable, "-c", BUSY, kind, "deploy", bundle, *ARM, "--duration", str(duration)])
    if used.code:
        raise SystemExit(used.output)
    return used


def number(used: Usage, pattern: str) -> float:
    found = re.search(pattern, used.output)
    if found is None:
        raise SystemExit(f"no {pattern} in\n{used.output}")
    return float(found.group(1))


if __name__ == "__main__":
    sys.exit(main())
