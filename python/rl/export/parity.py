"""How far written graphs are from eager PyTorch, on the same inputs, draws and states."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api import InputError
from rl.export.report import Error
from rl.export.trials import Trial
from rl.runtime.actor import Actor

TURNS = 2  # inferences of a policy with a state: the second begins where the first ended


@dataclass(frozen=True)
class Expected:
    """One trial with what eager PyTorch makes of it: a chunk (1, Ta, A) for each turn."""

    trial: Trial
    draws: tuple[dict[str, NDArray[Any]], ...]
    chunks: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Expectation:
    """Every trial's results, and the shortest time that one took, in ms."""

    cases: tuple[Expected, ...]
    eager_ms: float


def expect(eager: Any, trials: Iterable[Trial], make_draws: Any, stateful: bool) -> Expectation:
    """Runs eager PyTorch. eager: a `rl.nn.program.EagerChunk`; make_draws(generator) gives one inference's numbers."""
    import torch

    from rl.nn.draws import RecordedDraws

    cases, times = [], []
    for number, trial in enumerate(trials):
        eager.reset()
        random = np.random.default_rng(number)
        draws, chunks = [], []
        for _ in range(TURNS if stateful else 1):
            drawn = make_draws(random)
            begin = time.perf_counter()
            chunk = eager(trial.window, RecordedDraws({k: torch.from_numpy(v) for k, v in drawn.items()}), trial.task)
            times.append(time.perf_counter() - begin)
            if not np.isfinite(chunk).all():
                what = f"eager PyTorch gives numbers that are not finite for the input '{trial.name}'"
                raise InputError(what, where="export")
            draws.append(drawn)
            chunks.append(chunk)
        cases.append(Expected(trial, tuple(draws), tuple(chunks)))
    return Expectation(tuple(cases), 1e3 * min(times))


def compare(actor: Actor, expectation: Expectation, scale: tuple[float, ...]) -> tuple[dict[str, Error], float]:
    """Largest errors by output, and the shortest time of one inference in ms."""
    worst_abs, worst_rel, worst_name, times = 0.0, 0.0, "", []
    for case in expectation.cases:
        actor.reset()
        actor.task = case.trial.task
        for drawn, want in zip(case.draws, case.chunks, strict=True):
            begin = time.perf_counter()
            got = actor.predict(case.trial.window, drawn)
            times.append(time.perf_counter() - begin)
            largest, relative = errors(got, want[0], scale)
            worst_abs = max(worst_abs, largest)
            if relative >= worst_rel:
                worst_rel, worst_name = relative, case.trial.name
    actor.reset()
    return {actor.action.name: Error(worst_abs, worst_rel, worst_name)}, 1e3 * min(times)


def errors(got: NDArray[Any], want: NDArray[Any], scale: tuple[float, ...]) -> tuple[float, float]:
    """Largest absolute error, and largest error relative to max(scale, |want|); infinite when `got` is not finite."""
    if got.shape != want.shape or not np.isfinite(got).all():
        return float("inf"), float("inf")
    apart = np.abs(got.astype(np.float64) - want)
    floor = np.asarray(scale, np.float64).reshape(want.shape[-1:]) if len(scale) > 1 else np.asarray(scale)
    return float(apart.max(initial=0.0)), float((apart / np.maximum(floor, np.abs(want))).max(initial=0.0))


def manifest_entry(
    outputs: Mapping[str, Error], expectation: Expectation, tolerance: float, scale: tuple[float, ...], against: str
) -> dict[str, Any]:
    """What the manifest says of it."""
    return {
        "against": against,
        "tolerance": tolerance,
        "inputs": len(expectation.cases),
        "real": sum(case.trial.real for case in expectation.cases),
        "outputs": {name: {"max_abs": e.max_abs, "max_rel": e.max_rel} for name, e in outputs.items()},
        "scale": list(scale),
    }
