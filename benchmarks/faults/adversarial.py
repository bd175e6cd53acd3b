"""Actions that no policy should give: what reaches the servos?"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.faults.rig import ACCELERATION, HIGH, LOW, SECOND, SPEED, Goals, Outcome, Rig
from rl import _core

ROUNDING = 1.01  # steps: a goal is rounded to a step, so a difference of two goals is off by one at most
WILD_S, FLOOD_S = 2.5, 0.5  # in turn: legal extremes with an illegal action now and then; illegal ones alone
FLOOD = 400  # illegal actions at once: more than 50 a second hold the arm
RARE = 0.03  # part of the wild ones that is illegal


def wild(random: np.random.Generator, rest: Any, number: int) -> Any:
    """(6,) that a loop should take and tame: steps to both ends, random walks, 25 Hz square waves, huge and tiny."""
    kind = number // 60 % 4
    if kind == 0:
        return random.choice([-400.0, 400.0], 6)
    if kind == 1:
        return np.clip(rest + np.cumsum(random.normal(0, 20, (8, 6)), axis=0)[-1], LOW - 5, HIGH + 5)
    if kind == 2:
        return rest + 60 * (1 if number // 2 % 2 else -1)
    return random.choice([1e30, -1e30, 5e-324, -1e-310, 1.7e308, 12.0], 6)


def illegal(random: np.random.Generator) -> Any:
    """Not finite somewhere, or of another length."""
    if random.random() < 0.4:
        return np.zeros(int(random.choice([0, 1, 5, 7, 64])))
    values = random.uniform(-30, 30, 6)
    values[random.integers(6)] = random.choice([np.nan, np.inf, -np.inf])
    return values


def run(count: int, seed: int = 0, rate: float = 100.0) -> Outcome:
    """Push `count` actions while the loop runs. Figures: illegal_position, illegal_speed, illegal_acceleration (goals
    on the servo's side beyond the limits, rounding allowed for), goals, moved_steps_max (the fastest one), refused,
    accepted, unfit (accepted though non-finite or of wrong length), not_finite (goals of the core's own record)."""
    random = np.random.default_rng(seed)
    pushed = refused = accepted = unfit = 0
    with Rig(seed=seed, rate=rate, source="setpoints", heartbeat_timeout_s=2.0) as rig:
        rest = np.asarray(rig.loop.snapshot().values, np.float64)

        def push(values: Any) -> None:
            nonlocal pushed, refused, accepted, unfit
            answer = rig.loop.push_setpoint(np.asarray(values, np.float64), _core.monotonic_ns())
            pushed += 1
            refused += answer != ""
            accepted += answer == ""
            unfit += answer == "" and (len(values) != 6 or not np.isfinite(values).all())

        rig.activate(lambda: push(rest))
        goals, pool = Goals(rig.arm), [illegal(random) for _ in range(FLOOD)]
        for looks, gone in enumerate(rig.pace(60 + 20 * count / FLOOD * 0.01)):
            if gone % (WILD_S + FLOOD_S) < WILD_S:
                push(illegal(random) if random.random() < RARE else wild(random, rest, looks))
            else:
                for values in pool:
                    push(values)
            if looks % 20_000 == 19_999:
                goals.collect()
            if pushed >= count:
                break
        goals.collect()
        figures = judge(goals, rig.arm.calibration(), rig.period)
        records = rig.records()
    written = records["goal"][records["wrote"] > 0]
    figures |= {"refused": refused, "accepted": accepted, "unfit": unfit}
    figures["not_finite"] = int((~np.isfinite(written)).sum())
    return Outcome(pushed, count, figures)


def judge(goals: Goals, joints: Any, period: int) -> dict[str, float]:
    """What of the goals breaks a limit, in steps of the servo; an interval that the host stretched allows more."""
    rows = goals.rows.astype(np.float64)
    step = np.array([abs(j.to_unit(j.range_min + 1000) - j.to_unit(j.range_min + 1001)) for j in joints])
    seconds = np.maximum(np.diff(goals.times), period)[:, None] / SECOND
    low = np.array([j.to_raw(v) for j, v in zip(joints, LOW, strict=True)], np.float64)
    high = np.array([j.to_raw(v) for j, v in zip(joints, HIGH, strict=True)], np.float64)
    moved = np.abs(np.diff(rows, axis=0))
    bent = np.abs(np.diff(rows, n=2, axis=0))
    # Two goals that the host brought together or pulled apart look bent: only whole periods are judged.
    even = (np.abs(np.diff(goals.times) - period) < 0.2 * period)[:, None]
    judged = even[1:] & even[:-1]
    bend = ACCELERATION * (period / SECOND) ** 2 / step
    return {
        "goals": len(rows),
        "moved_steps_max": float(moved.max()),
        "judged_bends": int(judged.sum()),
        "illegal_position": int(((rows < low - ROUNDING) | (rows > high + ROUNDING)).sum()),
        "illegal_speed": int((moved > SPEED * seconds / step + ROUNDING).sum()),
        "illegal_acceleration": int(((bent > bend + 2 * ROUNDING) & judged).sum()),
    }
