"""One side of `benchmarks.act_speed`: rl's ACT, its ONNX export, or LeRobot's ACT, driven by lines on stdin."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
CAMERAS = ("observation.images.top", "observation.images.wrist")


def prepare(folder: Path, height: int, width: int) -> None:
    """A default-size ACT checkpoint with fresh weights, its ONNX bundle, and one raw input."""
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    from rl.api import Feature
    from rl.export import export
    from rl.nn import checkpoint
    from rl.nn.about import About
    from rl.process.pipeline import build_processing
    from rl.registry import registry

    torch.manual_seed(0)
    names = tuple(f"{joint}.pos" for joint in JOINTS)
    units = ("degrees",) * 5 + ("percent",)
    inputs = {"observation.state": Feature("observation.state", "state", (6,), unit=units, names=names)}
    inputs |= {name: Feature(name, "image", (height, width, 3), "uint8") for name in CAMERAS}
    outputs = {"action": Feature("action", "action", (6,), unit=units, names=names)}
    config = registry().config_class("policy", "act")(pretrained_backbone_weights=None)
    policy = registry().implementation("policy", "act")(config, inputs, outputs)
    ones = {"mean": np.zeros(6, np.float32), "std": np.ones(6, np.float32)}
    statistics: dict[str, Any] = {"observation.state": ones, "action": ones} | {name: {} for name in CAMERAS}
    processing = build_processing(policy.recipe().normalise, inputs, outputs, statistics, imagenet=True)
    sizes = dict.fromkeys(CAMERAS, (height, width))
    about = About(fps=50.0, units=units, state_names=names, action_names=names, camera_sizes=sizes)
    checkpoint.save(folder / "model", policy, "act", processing, about)
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8) for name in CAMERAS}
    arrays["observation.state"] = rng.standard_normal((1, 6)).astype(np.float32)
    arrays["action"] = rng.standard_normal((1, config.chunk_size, 6)).astype(np.float32)
    save_file(arrays, folder / "input.safetensors")
    export(folder / "model", "onnx", folder / "bundle")


def ours(folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    import torch
    from safetensors.torch import load_file

    from rl.nn import checkpoint
    from rl.nn.draws import GeneratorDraws

    torch.set_num_threads(1)
    found = checkpoint.describe(folder / "model")
    policy, processing = checkpoint.load_policy(found), checkpoint.load_processing(found)
    raw = {
        name: value.unsqueeze(1) if name != "action" else value
        for name, value in load_file(folder / "input.safetensors").items()
    }
    raw["action_is_pad"] = torch.zeros(raw["action"].shape[:2], dtype=torch.bool)
    batch = processing.apply(raw)
    draws = GeneratorDraws(torch.Generator().manual_seed(0), torch.device("cpu"))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-5)

    def chunk() -> Any:
        policy.eval()
        with torch.no_grad():
            return policy.predict(batch, draws, {})[0]

    def step() -> None:
        policy.train()
        optimizer.zero_grad(set_to_none=True)
        policy.loss(batch, draws).total.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimizer.step()

    def values() -> dict[str, Any]:
        policy.eval()
        with torch.no_grad():
            loss = float(policy.loss(batch, draws).total)
        return {"chunk": chunk().flatten().tolist(), "loss": loss}

    return {"chunk": timed(chunk), "step": timed(step), "values": values}


def exported(folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    from safetensors.numpy import load_file

    from rl.runtime.actor import open_actor

    actor = open_actor(folder / "bundle")
    observation = {
        name: value[0] for name, value in load_file(folder / "input.safetensors").items() if name != "action"
    }

    def chunk() -> Any:
        return actor.infer(observation)

    return {"chunk": timed(chunk), "values": lambda: {"chunk": chunk().flatten().tolist()}}


def lerobot(folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    import torch
    from lerobot.policies.act.modeling_act import ACTPolicy
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    policy = ACTPolicy.from_pretrained(folder / "model", strict=True)
    raw = load_file(folder / "input.safetensors")
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    batch = {name: (raw[name].permute(0, 3, 1, 2).float() / 255 - mean) / (std + 1e-8) for name in CAMERAS}
    batch |= {name: raw[name] / (1 + 1e-8) for name in ("observation.state", "action")}
    batch["action_is_pad"] = torch.zeros(raw["action"].shape[:2], dtype=torch.bool)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-5)

    def chunk() -> Any:
        policy.eval()
        with torch.no_grad():
            return policy.predict_action_chunk(batch)

    def step() -> None:
        policy.train()
        optimizer.zero_grad(set_to_none=True)
        policy.forward(batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimizer.step()

    def values() -> dict[str, Any]:
        policy.eval()
        with torch.no_grad():
            loss = float(policy.forward(batch)[0])
        return {"chunk": chunk().flatten().tolist(), "loss": loss}

    return {"chunk": timed(chunk), "step": timed(step), "values": values}


def timed(work: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    def measure() -> dict[str, Any]:
        begin = time.process_time()
        work()
        return {"cpu_s": time.process_time() - begin}

    return measure


def serve(answers: dict[str, Callable[[], dict[str, Any]]], about: dict[str, Any]) -> None:
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        print(json.dumps(answers[line.strip()]()), flush=True)


def about(*distributions: str) -> dict[str, Any]:
    from importlib import metadata

    return {name: metadata.version(name) for name in distributions}


if __name__ == "__main__":
    kind, place = sys.argv[1], Path(sys.argv[2])
    if kind == "prepare":
        prepare(place, int(sys.argv[3]), int(sys.argv[4]))
    elif kind == "rl":
        serve(ours(place), about("torch"))
    elif kind == "onnx":
        serve(exported(place), about("onnxruntime"))
    else:
        serve(lerobot(place), about("lerobot", "torch"))
