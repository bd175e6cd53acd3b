"""Trains a toy for two steps on made-up rows, the way the training loop does, and gives what an export needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rl.api import Feature
from rl.nn.checkpoint import About
from rl.nn.draws import GeneratorDraws
from rl.process.pipeline import Processing, build_processing
from rl.registry import registry
from rl.train.config import OptimizerOptions
from rl.train.devices import Device
from rl.train.learner import Learner
from rl.train.optimizers import OptimizerFactory

STATE = Feature("observation.state", "state", (3,), unit=("deg", "deg", "percent"), names=("pan.pos", "lift.pos", "grip.pos"))
ACTION = Feature("action", "action", (3,), unit=("deg", "deg", "percent"), names=("pan.pos", "lift.pos", "grip.pos"))
FPS = 20.0
ROWS = 5
TASK = "pick it"
HOST_STEPS = {"toy-tokens": ("toy-tokenise", {"length": 8}), "toy-embodiment": ("toy-constant", {"value": 2})}


@dataclass(frozen=True)
class Rehearsed:
    name: str
    policy: Any
    processing: Processing
    about: About
    before: dict[str, torch.Tensor]  # weights and buffers before the first step
    parts: list[dict[str, float]]  # of the loss, step by step


def statistics() -> dict[str, dict[str, np.ndarray]]:
    one = {"mean": [10, -5, 50], "std": [20, 8, 30], "min": [-40, -30, 0], "max": [60, 20, 100]}
    return {name: {k: np.array(v, np.float32) for k, v in one.items()} for name in ("observation.state", "action")}


def rehearse(name: str, steps: int = 2) -> Rehearsed:
    """`name` with two optimiser steps behind it."""
    known = registry()
    host = [_step(*HOST_STEPS[name])] if name in HOST_STEPS else []
    inputs: dict[str, Feature] = {STATE.name: STATE}
    for step in host:
        inputs = dict(step.features(inputs))
    torch.manual_seed(0)
    config = known.config_class("policy", name)()
    policy = known.implementation("policy", name)(config, inputs, {ACTION.name: ACTION})
    processing = build_processing(policy.recipe().normalise, inputs, policy.outputs, statistics(), imagenet=False)
    processing = Processing((processing.pre[0], *host, *processing.pre[1:]), processing.post)
    before = {key: value.clone() for key, value in policy.state_dict().items()}
    parts = _train(policy, processing, steps)
    about = About(fps=FPS, tasks=(TASK,), robot="toy-arm")
    return Rehearsed(name, policy, processing, about, before, parts)


def _step(name: str, options: dict[str, Any]) -> Any:
    known = registry()
    return known.implementation("step", name)(known.config_class("step", name)(**options))


def _train(policy: Any, processing: Processing, steps: int) -> list[dict[str, float]]:
    recipe = OptimizerFactory(policy.recipe(), OptimizerOptions())
    learner = Learner(policy, Device("cpu", "fp32"), recipe)
    draws = GeneratorDraws(torch.Generator().manual_seed(0))
    parts = []
    for step in range(steps):
        batch = processing.host.apply(_batch(policy, step))
        tensors = {k: torch.from_numpy(v) for k, v in batch.items() if isinstance(v, np.ndarray)}
        found = learner.step(step, processing.graph.apply(tensors), draws, 1.0)
        parts.append({key: float(value) for key, value in found.items()})
    return parts


def _batch(policy: Any, step: int) -> dict[str, Any]:
    """Rows (B, T, ...) in robot units, and the tasks."""
    noise = np.random.default_rng(step)
    offsets = {STATE.name: (0,), **policy.windows().train}
    batch: dict[str, Any] = {"task": [TASK] * ROWS}
    for name, window in offsets.items():
        shape = (ROWS, len(window), *([] if name == "next.reward" else [3]))
        batch[name] = (20 * noise.standard_normal(shape)).astype(np.float32)
        batch[f"{name}_is_pad"] = np.zeros((ROWS, len(window)), bool)
    return batch
