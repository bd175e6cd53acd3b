"""A small ACT checkpoint with one camera, recorded larger than the network takes it, and its ONNX bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

RECORDED, NETWORK = (48, 64), (32, 40)
NAMES = ("pan.pos", "lift.pos", "grip.pos")
UNITS = ("deg", "deg", "percent")


def make_policy() -> tuple[Any, Any, Any]:
    """Policy, processing, about; the same weights at every call."""
    import torch

    from rl.api import Feature
    from rl.nn.checkpoint import About
    from rl.process.pipeline import build_processing
    from rl.registry import registry

    inputs = {
        "observation.state": Feature("observation.state", "state", (3,), unit=UNITS, names=NAMES),
        "observation.images.front": Feature("observation.images.front", "image", (*NETWORK, 3), "uint8"),
    }
    outputs = {"action": Feature("action", "action", (3,), unit=UNITS, names=NAMES)}
    config = registry().config_class("policy", "act")(
        chunk_size=6, n_action_steps=4, dim_model=16, n_heads=2, dim_feedforward=32, n_encoder_layers=1,
        n_vae_encoder_layers=1, latent_dim=4, pretrained_backbone_weights=None,
    )  # fmt: skip
    torch.manual_seed(0)
    policy = registry().implementation("policy", "act")(config, inputs, outputs)
    one = {"mean": [10, -5, 50], "std": [20, 8, 30], "min": [-40, -30, 0], "max": [60, 20, 100]}
    statistics = {n: {k: np.array(v, np.float32) for k, v in one.items()} for n in ("observation.state", "action")}
    processing = build_processing(policy.recipe().normalise, inputs, outputs, statistics, imagenet=True)
    about = About(
        fps=25.0, units=UNITS, state_names=NAMES, action_names=NAMES, robot="toy_arm",
        camera_sizes={"observation.images.front": RECORDED}, calibration="abc123", tasks=("wave",),
    )  # fmt: skip
    return policy, processing, about


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rl.nn.checkpoint import save

    policy, processing, about = make_policy()
    return save(tmp_path_factory.mktemp("run") / "pretrained_model", policy, "act", processing, about)


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The bundle's folder and the report of its export."""
    from rl.export import export

    out = tmp_path_factory.mktemp("bundle") / "bundle"
    return out, export(checkpoint, "onnx", out, samples=10)


@pytest.fixture
def copied(exported: tuple[Path, Any], tmp_path: Path) -> Path:
    """The bundle, to be damaged; moved away from where it was written."""
    import shutil

    return Path(shutil.copytree(exported[0], tmp_path / "moved"))
