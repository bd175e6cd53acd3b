"""A bundle written by hand, and a runtime of three lines: no graph format is needed to test what surrounds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

UNIT = ["deg", "percent"]


class Doubling:
    """Gives a chunk (1, 4, 2): twice the newest state, plus the row's number, plus the noise."""

    def __init__(self, off_by: float = 0.0) -> None:
        self.off_by = off_by
        self.closed = False

    def run(self, graph: str, inputs: Any) -> dict[str, Any]:
        rows = np.arange(4, dtype=np.float32)[:, None]
        return {"action": (2 * inputs["observation.state"][:, -1:] + rows + inputs["noise"] + self.off_by)}

    def close(self) -> None:
        self.closed = True


def plain_manifest() -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "rl-bundle",
        "policy": "doubling",
        "inputs": [
            {"name": "observation.state", "kind": "state", "shape": [2], "dtype": "float32", "unit": UNIT},
            {"name": "observation.images.front", "kind": "image", "shape": [4, 6, 3], "dtype": "uint8"},
        ],
        "outputs": [{"name": "action", "kind": "action", "shape": [2], "dtype": "float32", "unit": UNIT}],
        "rate": {"fps": 10.0, "chunk": 4, "execute": 2},
        "windows": {"observation.state": [-1, 0]},
        "program": {
            "graphs": [
                {
                    "name": "chunk",
                    "kind": "doubling",
                    "path": "graphs/chunk.bin",
                    "precision": "float32",
                    "inputs": [
                        {"name": "observation.state", "dtype": "float32", "shape": [1, 2, 2]},
                        {"name": "noise", "dtype": "float32", "shape": [1, 4, 2]},
                    ],
                    "outputs": ["action"],
                }
            ],
            "calls": [{"graph": "chunk"}],
            "chunk": "action",
            "draws": [{"name": "noise", "shape": [1, 4, 2]}],
        },
        "parity": {
            "against": "eager", "tolerance": 1e-4, "inputs": 16, "real": 0,
            "outputs": {"action": {"max_abs": 0.0, "max_rel": 0.0}}, "scale": [10.0, 20.0],
        },
        "sample": "sample.safetensors",
    }  # fmt: skip


@pytest.fixture
def doubling() -> type[Doubling]:
    return Doubling


@pytest.fixture
def manifest() -> dict[str, Any]:
    return plain_manifest()


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Path]:
    """Writes the bundle; `change` may alter the manifest before it is written."""
    from rl.process.tensor_files import write_arrays

    def write(change: Callable[[dict[str, Any]], None] | None = None) -> Path:
        folder = tmp_path / "bundle"
        (folder / "graphs").mkdir(parents=True)
        (folder / "graphs" / "chunk.bin").write_bytes(b"graph" * 100)
        observation = {
            "observation.state": np.ones((1, 2, 2), np.float32),
            "observation.images.front": np.zeros((1, 1, 4, 6, 3), np.uint8),
        }
        noise = np.full((1, 4, 2), 0.5, np.float32)
        expected = Doubling().run("chunk", {**observation, "noise": noise})["action"][0]
        named = {f"observation/{k}": v for k, v in observation.items()}
        write_arrays(folder / "sample.safetensors", {**named, "draw/noise": noise, "expected": expected})
        plain = plain_manifest()
        plain["files"] = {
            path.relative_to(folder).as_posix(): {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size,
            }
            for path in sorted(folder.rglob("*")) if path.is_file()
        }  # fmt: skip
        if change is not None:
            change(plain)
        (folder / "manifest.json").write_text(json.dumps(plain))
        return folder

    return write
