"""One reply lost, or damaged, in an otherwise sound teleoperation: what it costs the cycle, and whether a goal is
missed."""

from __future__ import annotations

import numpy as np

from benchmarks.faults.rig import Goals, Outcome, Rig
from rl import _core


def run(kind: str, count: int, seed: int = 0, rate: float = 100.0) -> Outcome:
    """`kind` drop or corrupt: `count` replies of the arm, one at a time and 50 ms apart at least.

    Figures: extra_ms of the struck cycles over the median sound one (p50, p99), incomplete (struck cycles at whose end
    a motor was still missing), gaps (intervals between goals of more than 1.5 periods), gaps_struck (of these, those
    that begin in a struck cycle), ended (1: the loop ended), resumed (HOLD after the host stood still)."""
    random = np.random.default_rng(seed)
    with Rig(seed=seed, rate=rate, heartbeat_timeout_s=2.0) as rig:
        rig.activate()
        first = rig.loop.snapshot().cycle
        goals, struck, last = Goals(rig.arm), 0, -1.0
        asked, strikes = 0, []  # ns between which each fault struck
        counter = "dropped" if kind == "drop" else "corrupted"
        for gone in rig.pace(count * 0.05 * 4 + 30):
            done = rig.arm.statistics()[counter]
            if done > len(strikes):
                strikes.append((asked, _core.monotonic_ns()))
            if done >= count:
                break
            if done == struck and gone - last >= 0.05:  # the last one has struck
                asked = _core.monotonic_ns()
                rig.arm.fault(kind, rate=1.0, count=1, id=int(random.integers(1, 7)))
                struck, last = done + 1, gone
        rig.loop.wait(0.1)  # the last struck cycle has to end
        records = rig.records(first)
        goals.collect()
        ended = rig.loop.wait(0.0)
    reading = (records["read"] - records["wrote"]) / 1e6
    usual = float(np.median(reading[records["state"] == 2]))
    # The bus asks again within the cycle: of the cycles that were under way then, the struck one read longest.
    extra, incomplete, struck_at = [], 0, []
    for begin, end in strikes:
        within = np.flatnonzero((records["read"] >= begin) & (records["wrote"] <= end))
        struck_one = within[np.argmax(reading[within])]
        extra.append(reading[struck_one] - usual)
        incomplete += int(records["missing"][struck_one] != 0)
        struck_at.append(records["wrote"][struck_one])
    times = goals.times[goals.times > records["deadline"][0]]
    long = np.diff(times) > 1.5 * rig.period
    after_struck = long[np.searchsorted(times, struck_at)]  # a goal is there a little after its write
    figures = {
        "extra_ms_p50": float(np.median(extra)), "extra_ms_p99": float(np.quantile(extra, 0.99)), "usual_ms": usual,
        "incomplete": incomplete, "gaps": int(long.sum()), "gaps_struck": int(after_struck.sum()),
        "goals": len(times), "ended": float(ended), "resumed": rig.resumed,
    }  # fmt: skip
    return Outcome(len(strikes), count, figures)
