"""A reader without files: three episodes of counted rows, pictures that tell their row."""

from __future__ import annotations

import os
import time

import numpy as np

from rl.api import Feature, InputError
from rl.api.protocols import DatasetInfo, Episode

LENGTHS = (5, 8, 3)


class ToyReader:
    """Row i: state (i, 2i), picture of level i. bad: a row whose picture raises; slow: s that a picture takes."""

    def __init__(self, *, bad: int = -1, kill: int = -1, slow: float = 0.0, refused: tuple[int, ...] = ()) -> None:
        self.bad, self.kill, self.slow = bad, kill, slow
        self.checked: list[tuple[tuple[str, ...], tuple[int, ...]]] = []
        listed = (
            Feature("observation.state", "state", (2,)),
            Feature("action", "action", (2,), unit="unstated", names=("shoulder_pan.pos", "gripper.pos")),
            Feature("next.reward", "reward", ()),
            Feature("task_index", "index", (), "int64"),
            Feature("camera", "image", (4, 6, 3), "uint8"),
        )
        starts = np.cumsum([0, *LENGTHS])
        self.info = DatasetInfo(
            features={f.name: f for f in listed},
            fps=10.0,
            episodes=tuple(
                Episode(10 + i, int(starts[i]), n, ("push",), "its clock stands" if 10 + i in refused else "")
                for i, n in enumerate(LENGTHS)
            ),
            tasks={0: "push", 1: "pull"},
            statistics=None,
            robot="so101_follower",
        )

    def rows(self, indices, columns):
        i = np.asarray(indices, np.float32)
        values = {
            "observation.state": np.stack([i, 2 * i], 1),
            "action": np.stack([i + 0.5, -i], 1),
            "next.reward": i,
            "task_index": (np.asarray(indices) % 2).astype(np.int64),
        }
        return {c: values[c] for c in columns}

    def frames(self, camera, indices, size=None):
        if self.bad in indices:
            raise InputError("is damaged", where=f"row {self.bad}", todo="leave it out")
        if self.kill in indices:
            os._exit(7)
        time.sleep(self.slow)
        levels = np.asarray(indices, np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(levels), *(size or (4, 6)), 3)).copy()

    def check_frames(self, cameras, episodes):
        self.checked.append((tuple(cameras), tuple(episodes)))
        return ("checked",)
