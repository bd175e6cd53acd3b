"""Pieces alone against golden folders: the normaliser, the temporal ensembler, the aggregation of chunks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl.process.features import read_features
from rl.process.modes import KINDS
from rl.process.normalise import Normalise

compare = sys.modules["rl_golden_compare"]
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
    """The core's ensembler, one for each row of the batch."""
    make = compare.core().TemporalEnsembler
    for case in golden["cases"]:
        name, length, coefficient = case["case"], case["chunk_size"], case["coeff"]
        chunks, resets = inputs[f"{name}/chunks"], inputs[f"{name}/reset_before"]
        rows = [[np.ascontiguousarray(chunk[b]) for chunk in chunks] for b in range(case["batch"])]
        actions = [_play(make(length, coefficient), row, resets)[1] for row in rows]
        comparison.tensor(f"{name}/actions", np.stack(actions, 1))
        held = [_pending(make, length, coefficient, row, resets) for row in rows]
        comparison.tensor(f"{name}/pending", np.stack([means for means, _ in held]))
        comparison.tensor(f"{name}/pending_count", held[0][1])


def _play(one: Any, chunks: list[np.ndarray], resets: np.ndarray) -> tuple[Any, np.ndarray]:
    """The ensembler after the chunks, and its actions (N, A)."""
    actions = []
    for chunk, reset in zip(chunks, resets, strict=True):
        if reset:
            one.reset()
        actions.append(np.asarray(one.update(chunk)))
    return one, np.stack(actions)


def _pending(
    make: Any, length: int, coefficient: float, chunks: list[np.ndarray], resets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the ensembler still holds, (T - 1, A) means and (T - 1,) counts, from what it answers.

    Two replays go on with chunks of zeros and of ones. Entry k then has n + k + 1 predictions, n of them real; the
    share of the real ones is 1 - (answer to ones - answer to zeros), which tells n, and then the mean.
    """
    sums = np.cumsum(np.exp(-coefficient * np.arange(length), dtype=np.float64))
    answers = []
    for value in (0.0, 1.0):
        one, _ = _play(make(length, coefficient), chunks, resets)
        probe = np.full_like(chunks[0], value)
        told = np.array([one.update(probe) for _ in range(length - 1)], np.float64)
        answers.append(told.reshape(length - 1, chunks[0].shape[-1]))
    zeros, ones = answers
    means, counts = np.zeros((length - 1, chunks[0].shape[-1])), np.zeros(length - 1, np.int64)
    for k in range(length - 1):
        shares = sums[: length - k - 1] / sums[k + 1 :]  # for n = 1, 2, ...: c[n - 1] / c[n + k]
        found = int(np.abs(shares - (1 - (ones[k] - zeros[k]).mean())).argmin())
        counts[k], means[k] = found + 1, zeros[k] / shares[found]
    return means, counts


def aggregation(folder: Path, golden: Mapping[str, Any], inputs: Arrays, comparison: Any) -> None:
    core = compare.core()
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
