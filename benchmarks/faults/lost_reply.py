"""One reply lost, or damaged, in an otherwise sound teleoperation: what it costs the cycle, and whether a goal is
missed."""

from __future__ import annotations

import numpy as np

from benchmarks.faults.rig import Goals, Outcome, Rig


def run(kind: str, count: int, seed: int = 0, rate: float = 100.0) -> Outcome:
    """`kind` drop or corrupt: `count` replies of the arm, one at a time and 50 ms apart at least.

    Figures: extra_ms of the struck cycles over the median sound one (p50, p99), gaps (intervals between goals of more
    than 1.5 periods), ended (1: the loop ended), resumed (HOLD after the host stood still)."""
    random = np.random.default_rng(seed)
    with Rig(seed=seed, rate=rate, heartbeat_timeout_s=2.0) as rig:
        rig.activate()
        first = rig.loop.snapshot().cycle
        goals, struck, last = Goals(rig.arm), 0, -1.0
        counter = "dropped" if kind == "drop" else "corrupted"
        for gone in rig.pace(count * 0.05 * 4 + 30):
            done = rig.arm.statistics()[counter]
            if done >= count:
                break
            if done == struck and gone - last >= 0.05:  # the last one has struck
                rig.arm.fault(kind, rate=1.0, count=1, id=int(random.integers(1, 7)))
                struck, last = done + 1, gone
        records = rig.records(first)
        goals.collect()
        ended = rig.loop.wait(0.0)
        struck_total = rig.arm.statistics()[counter]
    reading = (records["read"] - records["wrote"]) / 1e6
    active = records["state"] == 2
    usual = float(np.median(reading[active]))
    # The bus asks the missing one again within the cycle, so a struck cycle is one that read clearly longer.
    slow = np.sort(reading[active])[::-1][:struck_total] - usual
    times = goals.times[goals.times > records["deadline"][0]]
    gaps = int((np.diff(times) > 1.5 * rig.period).sum())
    figures = {
        "extra_ms_p50": float(np.median(slow)), "extra_ms_p99": float(np.quantile(slow, 0.99)), "usual_ms": usual,
        "gaps": gaps, "goals": len(times), "ended": float(ended), "resumed": rig.resumed,
    }  # fmt: skip
    return Outcome(struck_total, count, figures)
