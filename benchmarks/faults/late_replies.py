"""Late, damaged, doubled and split replies: is any value taken that the servo did not have in that cycle?

The emulated arm waves by itself, so that the right value of every instant is known; a reply of an earlier request that
is taken for this one's shows an older pose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.faults.rig import SECOND, Outcome, Records, bus_of, distance_from_wave, limits, unheard
from rl import _core

FAULTS: dict[str, dict[str, float]] = {
    "late": {"rate": 0.02, "ms": 3.0, "most_ms": 100.0},
    "corrupt": {"rate": 0.02},
    "noise": {"rate": 0.02},
    "duplicate": {"rate": 0.02},
    "split": {"rate": 0.02, "ms": 0.2},
}
CLEARLY = 0.15  # degrees: what no rounding explains


def run(replies: int, seed: int = 0, rate: float = 200.0, least: int | None = None) -> Outcome:
    """Read until the servos have sent `replies`, half of the faults before the other half.

    Figures: wrong (fresh values that the servo did not have since the request), fresh (values taken), struck
    (replies that a fault struck), old_would_show (part of the values 20 ms old that this check finds: its power)."""
    arm = _core.Emulator("so101-leader", wave=True, seed=seed)
    config = _core.LoopConfig()
    config.rate_hz, config.source = rate, "setpoints"
    loop = _core.ControlLoop([(slice(0, 6), bus_of(arm, energise=False))], limits(), config)
    loop.start()
    try:
        for kind, fields in FAULTS.items():
            arm.fault(kind, **fields)
        kept, until = Records(loop), _core.monotonic_ns() + (30 + 4 * replies / rate / 6) * SECOND
        while arm.statistics()["replies"] < replies and _core.monotonic_ns() < until and not loop.wait(0.5):
            kept.collect()
        counted = arm.statistics()
        records = kept.since(-1)
        wrong, fresh, power = judge(arm, records)
    finally:
        loop.close()
        arm.close()
    struck = sum(counted[name] for name in ("late", "corrupted", "noisy", "duplicated", "split"))
    figures = {
        "wrong": wrong,
        "fresh": fresh,
        "struck": struck,
        "old_would_show": power,
        "cycles": len(records["cycle"]),
    }
    return Outcome(counted["replies"], replies if least is None else least, figures)


def judge(arm: Any, records: dict[str, Any], older_ns: int = 0) -> tuple[int, int, float]:
    """(wrong, fresh, power) of cycle records. `older_ns` shifts the truth: the check's own test."""
    fresh = ~unheard(records)
    begin, end = records["woke"], records["read"]

    def far(shift: int) -> Any:
        return distance_from_wave(arm, records["values"], begin + shift, end + shift) > CLEARLY

    power = float((far(20_000_000) & fresh).sum() / max(1, fresh.sum()))
    return int((far(older_ns) & fresh).sum()), int(fresh.sum()), power


def run_registers(reads: int, seed: int = 0) -> Outcome:
    """Single reads of voltage and temperature, one byte each, with replies that come after their time-out: how often
    is one taken for the other? (A late reply has nothing that tells it from the next one but its length.)"""
    arm = _core.Emulator(seed=seed)
    wrong = answered = silent = 0
    try:
        bus = bus_of(arm)
        for servo in range(1, 7):
            arm.set_register(servo, 62, bytes([100 + servo]))
            arm.set_register(servo, 63, bytes([30 + servo]))
        arm.fault("late", rate=0.2, ms=10.0, most_ms=100.0)
        random = np.random.default_rng(seed)
        for _ in range(reads):
            servo = int(random.integers(1, 7))
            name, truth = (("Present_Voltage", 100), ("Present_Temperature", 30))[int(random.integers(2))]
            try:
                wrong += bus.read_register(servo, name) != truth + servo
                answered += 1
            except _core.CoreError:
                silent += 1
        late = arm.statistics()["late"]
        bus.close()
    finally:
        arm.close()
    figures = {"wrong": wrong, "answered": answered, "silent": silent, "late": late}
    return Outcome(late, max(1, reads // 10), figures)
