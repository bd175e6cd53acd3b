"""What `rl` writes, opened by LeRobot: a checkpoint (its policy and processors) and a recorded data set.

    LEROBOT_PYTHON=... python -m benchmarks.compatibility

The policy's chunk, in robot units, must be the same on both sides; so must every row and picture of the recording.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, report

WORKER = Path(__file__).with_name("compatibility_worker.py")
TINY = (
    "--policy act --policy.dim_model 32 --policy.n_heads 2 --policy.dim_feedforward 64 --policy.chunk_size 8 "
    "--policy.pretrained_backbone_weights null --dataset.image_size 64,96 --batch_size 2 --num_workers 0 --steps 2 "
    "--open_loop_samples 0 --device cpu"
)
ARM = "--robot so101 --robot.port sim --robot.cameras.front synthetic --teleop so101-leader --teleop.port sim"


def main() -> int:
    rival = os.environ.get("LEROBOT_PYTHON")
    if not rival:
        print("LEROBOT_PYTHON is not set: there is nothing to compare with")
        return 3
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rl = [sys.executable, "-m", "rl.cli.main"]
        record = (
            f"record {ARM} --dataset.root {folder / 'wave'} --task wave --episodes 2 --episode-time 2 --reset-time 0"
        )
        for words in (record, f"train {TINY} --dataset {folder / 'wave'} --output_dir {folder / 'run'}"):
            subprocess.run([*rl, *words.split()], check=True, stdout=subprocess.DEVNULL)
        ours = answer(sys.executable, "rl", folder)
        theirs = answer(rival, "lerobot", folder)
    figures = [
        same("rows of the recording", ours["rows"], theirs["rows"]),
        same("episodes", ours["episodes"], theirs["episodes"]),
        same("tasks", ours["tasks"], theirs["tasks"]),
        close("largest difference of a recorded value", ours["values"], theirs["values"], 1e-6),
        close("largest difference of a decoded pixel, 0..255", ours["pixels"], theirs["pixels"], 2),
        close("largest difference of a chunk, robot units", ours["chunk"], theirs["chunk"], 1e-3),
    ]
    return report(
        "compatibility", figures, f"LeRobot {theirs['version']} opens what rl writes", {"lerobot": theirs["version"]}
    )


def answer(python: str, kind: str, folder: Path) -> dict[str, Any]:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([python, str(WORKER), kind, str(folder)], capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{kind}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def same(measure: str, ours: Any, theirs: Any) -> Figure:
    return Figure(measure, f"{theirs}", f"{ours}", ours == theirs)


def close(measure: str, ours: list[float], theirs: list[float], limit: float) -> Figure:
    error = max((abs(a - b) for a, b in zip(ours, theirs, strict=True)), default=float("nan"))
    return Figure(measure, f"{error:.1e}", f"<= {limit:g}", error <= limit)


if __name__ == "__main__":
    sys.exit(main())
