"""The adapter stands still for 75 ms, and gives everything at once: is what is read afterwards of now?"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.faults.late_replies import CLEARLY
from benchmarks.faults.rig import SECOND, Outcome, Records, bus_of, distance_from_wave, limits, unheard
from rl import _core


def run(count: int, seed: int = 0, rate: float = 50.0, ms: float = 75.0) -> Outcome:
    """`count` stalls, half a second apart. Figures: old (fresh values after a stall, from its second cycle on, that the
    servo did not have since the request), fresh (values looked at), recovered_cycles p50 and max (cycles from the
    end of a stall to the first in which every joint answered)."""
    arm = _core.Emulator("so101-leader", wave=True, seed=seed)
    config = _core.LoopConfig()
    config.rate_hz, config.source = rate, "setpoints"
    loop = _core.ControlLoop([(slice(0, 6), bus_of(arm, energise=False))], limits(), config)
    loop.start()
    ends = []
    try:
        loop.wait(0.3)
        records = Records(loop)
        for _ in range(count):
            ends.append(_core.monotonic_ns() + int(ms * 1e6))
            arm.fault("stall", ms=ms)
            loop.wait(0.5)
            records.collect()
        figures = judge(arm, records.since(-1), np.array(ends), round(SECOND / rate))
    finally:
        loop.close()
        arm.close()
    return Outcome(int(figures["stalls"]), count, figures)


def judge(arm: Any, records: dict[str, Any], ends: Any, period: int) -> dict[str, float]:
    whole = ~unheard(records).any(axis=1)
    far = distance_from_wave(arm, records["values"], records["woke"], records["read"]).max(axis=1) > CLEARLY
    recovered, old, fresh = [], 0, 0
    for end in ends:
        after = (records["woke"] > end) & (records["woke"] < end + 20 * period)
        answered = np.flatnonzero(whole[after])
        recovered.append(int(answered[0]) + 1 if len(answered) else 20)
        later = after & (records["woke"] > end + period) & whole
        old += int(far[later].sum())
        fresh += int(later.sum())
    middle, most = float(np.median(recovered)), float(np.max(recovered))
    hit = sum(bool((~whole[(records["woke"] > e - 75_000_000) & (records["woke"] < e)]).any()) for e in ends)
    return {"old": old, "fresh": fresh, "recovered_p50": middle, "recovered_max": most, "stalls": hit}
