"""Pieces alone against golden folders: the normaliser, the temporal ensembler, the aggregation of chunks."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl.process.features import read_features
from rl.process.modes import KINDS
from rl.process.normalise import Normalise

Arrays = Mapping[str, np.ndarray]


def normaliser(folder: Path, golden: Mapping[str, Any], inputs: Arrays, comparison: Any) -> None:
    """Every case with NumPy and with torch; what is farther off is what counts."""
    import torch

    features = read_features(golden["features"])
    statistics: dict[str, dict[str, np.ndarray]] = {}
    for name, values in inputs.items():
        group, _, rest = name.partition("/")
        if group == "stats":
            feature, _, statistic = rest.rpartition("/")
            statistics.setdefault(feature, {})[statistic] = values
    for case in golden["cases"]:
        step = Normalise(dict.fromkeys(KINDS, case["mode"]), features, statistics, case["eps"])
        for name, values in inputs.items():
            group, _, feature = name.partition("/")
            if group in ("raw", "normalized"):
                for convert in (np.asarray, torch.tensor):
                    _both_ways(step, case["case"], group, feature, convert(values), comparison)


def _both_ways(step: Normalise, case: str, group: str, feature: str, values: Any, comparison: Any) -> None:
    key = feature.removesuffix("_chunk")

    def through(way: str, given: Any) -> Any:
        sample = step.apply({key: given}) if way == "apply" else step.invert({key: given}, {})
        return sample[key]

    if group == "normalized":
        _worse(comparison, f"{case}/unnormalized/{feature}", through("invert", values))
        return
    scaled = through("apply", values)
    _worse(comparison, f"{case}/normalized/{feature}", scaled)
    _worse(comparison, f"{case}/round_trip/{feature}", through("invert", scaled))


def _worse(comparison: Any, name: str, got: Any) -> None:
    """Compare, and keep the row with the larger share of its tolerance."""
    earlier = comparison.rows.get(name)
    comparison.tensor(name, got)
    now = comparison.rows.get(name)
    if earlier and now and (not earlier.hit or (now.hit and earlier.share > now.share)):
        comparison.rows[name] = earlier


def ensembler(folder: Path, golden: Mapping[str, Any], inputs: Arrays, comparison: Any) -> None:
    """The core's ensembler, one for each row of the batch; what it still holds shows in the actions that follow."""
    core = _core()
    for case in golden["cases"]:
        name, length = case["case"], case["chunk_size"]
        chunks, resets = inputs[f"{name}/chunks"], inputs[f"{name}/reset_before"]
        actions, pending = [], []
        for row in range(case["batch"]):
            one = core.TemporalEnsembler(length, case["coeff"])
            taken = []
            for chunk, reset in zip(chunks[:, row], resets, strict=True):
                if reset:
                    one.reset()
                taken.append(one.update(np.ascontiguousarray(chunk)))
            actions.append(np.stack(taken))
            pending.append(one)
        comparison.tensor(f"{name}/actions", np.stack(actions, 1))
        means, counts = _pending(pending, chunks.shape[-1])
        comparison.tensors({f"{name}/pending": means, f"{name}/pending_count": counts})


def _pending(ensemblers: list[Any], width: int) -> tuple[np.ndarray, np.ndarray]:
    held = [one.pending() for one in ensemblers]  # [(means (T - 1, A), counts (T - 1,))]
    return np.stack([means.reshape(-1, width) for means, _ in held]), held[0][1]


def aggregation(folder: Path, golden: Mapping[str, Any], inputs: Arrays, comparison: Any) -> None:
    core = _core()
    names = {name.partition("/")[0] for name in inputs}
    for function in golden["functions"]:
        for name in sorted(n for n in names if n.startswith("case")):
            before, incoming = (_entries(inputs, f"{name}/{part}") for part in ("before", "incoming"))
            latest = int(inputs[f"{name}/latest_action"])
            after = core.merge_aggregate(*before, *incoming, latest, function)
            for part, got in zip(("timestep", "timestamp", "action"), after, strict=True):
                comparison.tensor(f"{name}/after/{function}/{part}", got)
        for name in sorted(n for n in names if n.startswith("episode")):
            ticks = len(comparison.wanted[f"{name}/timestep/{function}"])
            for part, got in _episode(core, inputs, name, function, ticks).items():
                comparison.tensor(f"{name}/{part}/{function}", got)


def _entries(inputs: Arrays, where: str) -> tuple[np.ndarray, ...]:
    return tuple(inputs[f"{where}/{part}"] for part in ("timestep", "timestamp", "action"))


def _episode(core: Any, inputs: Arrays, name: str, function: str, ticks: int) -> dict[str, np.ndarray]:
    """Merge the chunks of each tick, note the queue's length, take its front entry."""
    chunks, first, arrival = (inputs[f"{name}/{part}"] for part in ("chunks", "first_timestep", "arrival_tick"))
    width, latest = chunks.shape[-1], -1
    queue = (np.zeros(0, np.int64), np.zeros(0, np.float64), np.zeros((0, width), np.float32))
    steps, actions, sizes = [], [], []
    for tick in range(ticks):
        for k in np.flatnonzero(arrival == tick):
            times = first[k] + np.arange(chunks.shape[1], dtype=np.int64)
            queue = core.merge_aggregate(
                *queue, times, np.zeros(len(times)), np.ascontiguousarray(chunks[k]), latest, function
            )
        sizes.append(len(queue[0]))
        if len(queue[0]):
            latest = int(queue[0][0])
            steps.append(latest)
            actions.append(queue[2][0])
            queue = tuple(np.ascontiguousarray(part[1:]) for part in queue)
        else:
            steps.append(-1)
            actions.append(np.zeros(width, np.float32))
    return {"timestep": np.array(steps), "action": np.stack(actions), "queue_size": np.array(sizes)}


def _core() -> Any:
    if importlib.util.find_spec("rl._core") is None:
        raise sys.modules["rl_golden_compare"].NotKnown("rl._core is not built: `pip install -e .` builds it")
    from rl import _core

    return _core
