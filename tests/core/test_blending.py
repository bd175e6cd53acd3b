"""Ensembling, aggregation and the live queue against the goldens and against each other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rl import _core

PERIOD = 20_000_000
START = 1_000_000_000
FUNCTIONS = ("weighted_average", "latest_only", "average", "conservative")


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    described = json.loads((folder / "golden.json").read_text())
    return described, load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")


@pytest.mark.shared
def test_the_ensembler_meets_every_case_of_the_golden(shared: Path) -> None:
    golden, given, want = load(shared / "golden/act_temporal_ensembler")
    tolerance = golden["tolerance"]
    for case in golden["cases"]:
        name = case["case"]
        chunks, reset = given[f"{name}/chunks"], given[f"{name}/reset_before"]
        for row in range(case["batch"]):
            ensembler = _core.TemporalEnsembler(case["chunk_size"], case["coeff"])
            for step in range(case["steps"]):
                if reset[step]:
                    ensembler.reset()
                action = ensembler.update(chunks[step, row])
                np.testing.assert_allclose(action, want[f"{name}/actions"][step, row], **tolerance)


def queue_of(tensors: dict[str, Any], prefix: str) -> tuple[Any, Any, Any]:
    return tensors[f"{prefix}/timestep"], tensors[f"{prefix}/timestamp"], tensors[f"{prefix}/action"]


@pytest.mark.shared
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_rivals_merge_meets_every_case_of_the_golden(shared: Path, function: str) -> None:
    golden, given, want = load(shared / "golden/async_aggregation")
    cases = [c["case"] for c in golden["cases"] if c["case"].startswith("case")]
    assert len(cases) == 9
    for case in cases:
        before, incoming = queue_of(given, f"{case}/before"), queue_of(given, f"{case}/incoming")
        latest = int(np.ravel(given[f"{case}/latest_action"])[0])
        got = _core.merge_aggregate(*before, *incoming, latest, function)
        after = queue_of(want, f"{case}/after/{function}")
        np.testing.assert_array_equal(got[0], after[0])
        np.testing.assert_array_equal(got[1], after[1])
        np.testing.assert_allclose(got[2], after[2], **golden["tolerance"])


@pytest.mark.shared
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_rivals_episodes_are_met_tick_by_tick(shared: Path, function: str) -> None:
    golden, given, want = load(shared / "golden/async_aggregation")
    episodes = [c["case"] for c in golden["cases"] if c["case"].startswith("episode")]
    assert len(episodes) == 3
    for name in episodes:
        chunks, first = given[f"{name}/chunks"], given[f"{name}/first_timestep"]
        arrival = given[f"{name}/arrival_tick"]
        width = chunks.shape[2]
        queue = (np.zeros(0, np.int64), np.zeros(0), np.zeros((0, width), np.float32))
        latest = -1
        for tick, step in enumerate(want[f"{name}/timestep/{function}"]):
            for k in np.flatnonzero(arrival == tick):
                steps = first[k] + np.arange(chunks.shape[1])
                queue = _core.merge_aggregate(*queue, steps, np.zeros(len(steps)), chunks[k], latest, function)
            assert len(queue[0]) == want[f"{name}/queue_size/{function}"][tick]
            if len(queue[0]) == 0:
                assert step == -1
                continue
            latest = int(queue[0][0])
            assert latest == step
            action = want[f"{name}/action/{function}"][tick]
            np.testing.assert_allclose(queue[2][0], action, **golden["tolerance"])
            queue = tuple(part[1:] for part in queue)


@pytest.mark.shared
def test_the_live_queue_ensembles_as_the_golden_does(shared: Path) -> None:
    golden, given, want = load(shared / "golden/act_temporal_ensembler")
    tried = 0
    for case in golden["cases"]:
        name = case["case"]
        chunks, reset = given[f"{name}/chunks"], given[f"{name}/reset_before"]
        queue = None
        for step in range(case["steps"]):
            if queue is None or reset[step]:
                queue = _core.ActionQueue(case["dim"], "ensemble", coefficient=case["coeff"])
            now = START + step * PERIOD
            assert queue.push(now, PERIOD, chunks[step, 0], now) == ""
            action = queue.at(now)
            assert action is not None
            np.testing.assert_allclose(action, want[f"{name}/actions"][step, 0], **golden["tolerance"])
            tried += 1
    assert tried > 80


def test_refusals_are_told_and_change_nothing() -> None:
    queue = _core.ActionQueue(2)
    chunk = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert queue.push(START, PERIOD, chunk, START) == ""
    assert queue.push(START, PERIOD, chunk, START) == "duplicate"
    assert queue.push(START - PERIOD, PERIOD, chunk, START) == "stale"
    assert queue.push(START + 1, PERIOD, chunk[:0], START) == "empty"
    assert queue.push(START + 1, PERIOD, chunk[:, :1], START) == "width"
    assert queue.push(START + 1, PERIOD, np.full((4, 2), np.nan, np.float32), START) == "not-finite"
    assert queue.push(START + 1, PERIOD, chunk, START + 500_000_002) == "stale"
    np.testing.assert_array_equal(queue.at(START + PERIOD), [2, 3])
    assert queue.remaining(START + PERIOD) == 2


@pytest.mark.parametrize(("function", "new_part"), [("weighted_average", 0.7), ("average", 0.5), ("conservative", 0.3)])
def test_the_live_weightings_mix_the_overlap_and_keep_the_uncovered_future(function: str, new_part: float) -> None:
    queue = _core.ActionQueue(1, function)
    assert queue.push(START, PERIOD, np.zeros((6, 1), np.float32), START) == ""
    now = START + PERIOD
    assert queue.push(now, PERIOD, np.ones((3, 1), np.float32), now) == ""
    assert queue.at(now)[0] == pytest.approx(new_part)
    assert queue.at(START + 3 * PERIOD)[0] == pytest.approx(new_part)
    assert queue.at(START + 5 * PERIOD)[0] == 0
    assert queue.at(START + 7 * PERIOD) is None


def test_a_slow_policy_is_interpolated_for_a_fast_loop() -> None:
    for interpolation in ("linear", "cubic"):
        queue = _core.ActionQueue(1, interpolation=interpolation)
        rows = np.linspace(0, 10, 11, dtype=np.float32)[:, None]
        assert queue.push(START, 40_000_000, rows, START) == ""
        times = START + np.arange(0, 400_000_000, 5_000_000)
        got = [queue.at(int(t))[0] for t in times]
        np.testing.assert_allclose(got, (times - START) / 40e6, atol=1e-6)
