"""A motor that says nothing any more: do the others keep their rate, how soon is it named, does the arm fault?"""

from __future__ import annotations

import numpy as np

from benchmarks.faults.rig import SECOND, Goals, Outcome, Rig
from rl import _core


def run(ids: tuple[int, ...] = (1, 2, 3, 4, 5, 6), seed: int = 0, rate: float = 50.0) -> Outcome:
    """Each id once. Figures: named_ms (p50, max; from the mute to its name among the faults or the reason), faulted
    (arms that went to FAULT), rate_hz of the goals until then, others_missing: cycles where others miss."""
    named, rates, faulted, others = [], [], 0, 0
    for servo in ids:
        with Rig(seed=seed, rate=rate, heartbeat_timeout_s=2.0) as rig:
            rig.activate()
            first = rig.loop.snapshot().cycle
            goals = Goals(rig.arm)
            rig.arm.fault("mute", id=servo)
            muted, said = _core.monotonic_ns(), 0
            until = muted + 20 * SECOND
            while _core.monotonic_ns() < until and not rig.loop.wait(0.001):
                seen = rig.loop.snapshot()
                told = " ".join([*seen.faults, seen.reason])
                said = said or (_core.monotonic_ns() if f"(id {servo})" in told else 0)
                if seen.state == "FAULT" and said:
                    break
            goals.collect()
            records = rig.records(first)
            faulted += int(rig.loop.snapshot().state == "FAULT")
            others += int(((records["missing"].astype(np.int64) & ~(1 << (servo - 1))) != 0).sum())
            times = goals.times[goals.times > muted]
            rates.append((len(times) - 1) * SECOND / (times[-1] - times[0]) if len(times) > 1 else 0.0)
            named.append((said - muted) / 1e6 if said else float("inf"))
    figures = {
        "named_ms_p50": float(np.median(named)), "named_ms_max": float(np.max(named)), "faulted": faulted,
        "rate_hz_p50": float(np.median(rates)), "others_missing": others,
    }  # fmt: skip
    return Outcome(int(np.isfinite(named).sum()), len(ids), figures)
