"""Chunks of a policy that come late, unevenly, or not at all: does the loop keep its time, the arm its limits?"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from benchmarks.faults.rig import SECOND, SPEED, Goals, Outcome, Rig, period_errors, quantiles
from rl import _core

ROWS = 50  # of a chunk, one a period


def run(chunks: int, seed: int = 0, rate: float = 50.0, slowest: float = 2.0, fastest: float = 0.02) -> Outcome:
    """`chunks` inferences of `fastest` to `slowest` seconds one after another, a tenth of them lost; a slow one starves
    the queue. Figures: boundary_ms and other_ms of the period error on the servo's side in the 3 intervals after a
    chunk, and elsewhere (p50, p99, max), own_ms_p99 by the core's stamps, starved (ticks), illegal_speed, ended."""
    random = np.random.default_rng(seed)
    with Rig(seed=seed, rate=rate, source="chunks", heartbeat_timeout_s=1.0) as rig:
        rest = rig.loop.snapshot().values
        came: list[int] = []

        def push(observed: int) -> None:
            t = observed / SECOND + np.arange(ROWS) / rate
            chunk = rest + 8 * np.sin(2 * t)[:, None] * np.array([1, 1, 1, 1, 1, 0])
            if rig.loop.push_chunk(observed, rig.period, chunk.astype(np.float32)) == "":
                came.append(_core.monotonic_ns())

        def infer() -> None:
            for _ in range(chunks):
                observed = _core.monotonic_ns()
                if rig.loop.wait(float(np.exp(random.uniform(np.log(fastest), np.log(slowest))))):
                    return
                if random.random() > 0.1:
                    push(observed if _core.monotonic_ns() - observed < SECOND // 2 else _core.monotonic_ns())

        push(_core.monotonic_ns())
        rig.activate(lambda: push(_core.monotonic_ns()))
        goals, begin = Goals(rig.arm), _core.monotonic_ns()
        came.clear()
        thread = threading.Thread(target=infer)
        thread.start()
        for _ in rig.pace(chunks * slowest + 30):
            if not thread.is_alive():
                break
        goals.collect()
        thread.join()
        ended, report = rig.loop.wait(0.0), rig.loop.report()
    figures = judge(goals, begin, np.array(came), rig.period) | {
        "starved": float(report["starved"]), "ended": float(ended), "own_ms_p99": report["period_error_ms"]["p99"],
        "resumed": float(rig.resumed),
    }  # fmt: skip
    return Outcome(len(came), int(chunks * 0.7), figures)


def judge(goals: Goals, begin: int, came: Any, period: int) -> dict[str, float]:
    kept = goals.times > begin
    times, rows = goals.times[kept], goals.rows[kept].astype(np.float64)
    errors = period_errors(times, period)
    since = times[1:] - came[np.clip(np.searchsorted(came, times[1:]) - 1, 0, len(came) - 1)]
    boundary = (since >= 0) & (since < 3 * period)
    most = SPEED * np.maximum(np.diff(times), period)[:, None] / SECOND * 4095 / 360 + 1.01
    figures = {f"boundary_ms_{k}": v for k, v in quantiles(errors[boundary]).items()}
    figures |= {f"other_ms_{k}": v for k, v in quantiles(errors[~boundary]).items()}
    figures["illegal_speed"] = int((np.abs(np.diff(rows[:, :5], axis=0)) > most).sum())
    return figures | {"boundaries": int(boundary.sum())}
