"""Teleoperation over a line that loses replies: does the session end, does it keep its rate?"""

from __future__ import annotations

from benchmarks.faults.rig import SECOND, Goals, Outcome, Rig, period_errors, quantiles
from rl import _core


def run(loss: float, seconds: float, seed: int = 0, rate: float = 50.0) -> Outcome:
    """Both arms lose `loss` of their replies. Figures: ended, rate_hz, period_ms of the servo's side (p50, p99, p99.9,
    max), lost."""
    with Rig(seed=seed, rate=rate) as rig:
        rig.activate()
        for emulator in (rig.arm, rig.leader):
            emulator.fault("drop", rate=loss)
        begin = int(rig.arm.goal_times()[-1])
        goals, collected = Goals(rig.arm), 0.0
        for gone in rig.pace(seconds):
            if gone - collected > 60:
                goals.collect()
                collected = gone
        goals.collect()
        ended = rig.loop.wait(0.0)
        lost = rig.arm.statistics()["dropped"] + rig.leader.statistics()["dropped"]
    times = goals.times[goals.times > begin]
    figures = {
        "ended": float(ended), "rate_hz": (len(times) - 1) * SECOND / float(times[-1] - times[0]), "lost": lost,
        "resumed": rig.resumed, **{f"period_ms_{k}": v for k, v in quantiles(period_errors(times, rig.period)).items()},
    }  # fmt: skip
    return Outcome(len(times), int(0.9 * seconds * rate), figures)


def beside(loss: float, turns: int, seed: int = 0, rate: float = 50.0) -> Outcome:
    """Quarters of a second with loss and without, in turn: what the host does to the time, it does to both. Figures:
    ended, lost, misses, lossy_ms_p50 and quiet_ms_p50 of the period error on the servo's side."""
    with Rig(seed=seed, rate=rate) as rig:
        rig.activate()
        goals, spans, lossy = Goals(rig.arm), [], False
        for _ in range(2 * turns):
            lossy = not lossy
            for emulator in (rig.arm, rig.leader):
                emulator.fault("drop", rate=loss if lossy else 0.0)
            begin = _core.monotonic_ns()
            for _ in rig.pace(0.25):
                continue
            spans.append((lossy, begin, _core.monotonic_ns()))
        goals.collect()
        ended, misses = rig.loop.wait(0.0), rig.loop.report()["misses"]
        lost = rig.arm.statistics()["dropped"] + rig.leader.statistics()["dropped"]
    errors: dict[bool, list[float]] = {True: [], False: []}
    for kind, begin, end in spans:
        inside = goals.times[(goals.times > begin) & (goals.times < end)]
        errors[kind] += period_errors(inside, rig.period).tolist()
    figures = {
        "ended": float(ended), "lost": lost, "misses": misses, "resumed": rig.resumed,
        "lossy_ms_p50": quantiles(errors[True])["p50"], "quiet_ms_p50": quantiles(errors[False])["p50"],
    }  # fmt: skip
    return Outcome(len(errors[True]), turns, figures)
