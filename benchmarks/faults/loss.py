"""Teleoperation over a line that loses replies: does the session end, does it keep its rate?"""

from __future__ import annotations

from benchmarks.faults.rig import SECOND, Goals, Outcome, Rig, period_errors, quantiles


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
