"""What the format rules record, and a writer in a process of its own that is killed at one of its file operations."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from rl.api import Feature, Features
from rl.config import build
from rl.registry import registry, resolve

FPS = 10.0
TAKES = ((7, "pick up the cube"), (4, "put it down"), (6, "pick up the cube"))  # (length, task)
KILLED = 137
SIZE = (32, 48)
NAMES = ("shoulder.pos", "elbow.pos", "gripper.pos")
OPERATIONS = {"os.rename", "os.mkdir", "os.remove", "os.truncate", "shutil.move", "shutil.copyfile"}


def features() -> Features:
    """An arm of three joints and a small camera."""
    parts = (
        Feature("observation.state", "state", (3,), unit="deg", names=NAMES),
        Feature("observation.images.front", "image", (*SIZE, 3), "uint8"),
        Feature("action", "action", (3,), unit="deg", names=NAMES),
    )
    return {feature.name: feature for feature in parts}


def row(take: int, step: int) -> dict[str, Any]:
    """One frame: values that name their place, and a smooth picture whose colours do too."""
    import numpy as np

    place = np.array([take + 1, step + 1, 0.1], dtype=np.float32)
    height, width = SIZE
    across = np.linspace(0, 60, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    colour = np.array([20 + 25 * step, 120 - 30 * (take % 3), 40 + 40 * (take % 3)])
    picture = np.clip(across + colour, 0, 255).astype(np.uint8)
    return {
        "observation.state": place,
        "observation.images.front": picture,
        "action": (place / 3).astype(np.float32),
    }


def main(words: list[str]) -> int:
    """Records every take; prints `saved` as each is acknowledged, then the number of file operations."""
    job = json.loads(words[0])
    config = build(resolve(job["config"]), job["options"], "format", registry())
    plugin, root, at = resolve(job["target"])(config), Path(job["root"]), job["at"]
    done = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in OPERATIONS) or str(root) not in " ".join(map(str, arguments)):
            return
        done += 1
        if done == at:
            os._exit(KILLED)  # no flush, no handler: what a power cut leaves of this process

    writer = plugin.writer(root, features(), FPS)
    sys.addaudithook(count)
    for take, (length, task) in enumerate(TAKES):
        writer.begin(task)
        for step in range(length):
            writer.append(row(take, step))
        writer.save()
        sys.stdout.write("saved\n")
        sys.stdout.flush()
    sys.stdout.write(f"{done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
