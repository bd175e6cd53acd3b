"""What the tiny recorded set holds, and tools that damage copies of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rl.api import Feature
from rl.plugins.lerobot_format.reader import LeRobotReader
from rl.plugins.lerobot_format.writer import LeRobotWriter

JOINTS = ("shoulder_pan.pos", "shoulder_lift.pos", "gripper.pos")
FPS = 10
LENGTHS = (7, 9, 5)
TASKS = ("push", "pull", "push")


def features() -> dict[str, Feature]:
    units = ("degrees", "degrees", "percent")
    made = (
        Feature("observation.state", "state", (3,), unit=units, names=JOINTS),
        Feature("action", "action", (3,), unit=units, names=JOINTS),
        Feature("rl.capture_ns", "free", (1,), "int64"),
        Feature("observation.images.top", "image", (48, 64, 3), "uint8"),
    )
    return {f.name: f for f in made}


def picture(episode: int, frame: int, shape: tuple[int, ...] = (48, 64, 3)) -> np.ndarray:
    """Flat grey whose level tells the episode and the frame, even after encoding."""
    return np.full(shape, 20 + (60 * episode + 6 * frame) % 216, np.uint8)


def row(episode: int, frame: int) -> dict[str, Any]:
    state = np.array([episode, frame, 10 * episode + frame], np.float32)
    return {
        "observation.state": state,
        "action": state + 0.5,
        "rl.capture_ns": np.array([10**18 + frame]),
        "observation.images.top": picture(episode, frame),
    }


def record(writer: LeRobotWriter, episode: int, length: int, task: str) -> int:
    writer.begin(task)
    for frame in range(length):
        writer.append(row(episode, frame))
    return writer.save()


def read(root: Path) -> LeRobotReader:
    return LeRobotReader(root)


def edit_info(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    edit_json(root / "meta" / "info.json", change)


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def replaced(table: pa.Table, name: str, values: Any, kind: pa.DataType | None = None) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, pa.array(values, kind or table.schema.field(name).type))


def levels(reader: LeRobotReader, camera: str = "observation.images.top") -> np.ndarray:
    """Mean grey of every row's picture."""
    images = reader.frames(camera, np.arange(reader.table.count))
    return images.reshape(len(images), -1).mean(axis=1)


def expected_levels(lengths: tuple[int, ...] = LENGTHS) -> np.ndarray:
    return np.array([picture(e, f).mean() for e, n in enumerate(lengths) for f in range(n)])
