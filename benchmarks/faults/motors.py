"""Motors that start anew or are overloaded, and a cable that is pulled, while the arm follows a waving leader."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.faults.kills import BRAKING_NS, wait_for
from benchmarks.faults.rig import SECOND, Goals, Outcome, Rig, unheard
from rl import _core

HOLD, FAULT = 3, 6  # of the records
IDS = (1, 2, 3, 4, 5, 6)
TORQUE, LIMIT = 40, 48  # registers


def state_of(rig: Rig) -> str:
    return str(rig.loop.snapshot().state)


def torques(rig: Rig) -> list[int]:
    return [rig.arm.registers(motor)[TORQUE] for motor in IDS]


def moved_after(goals: Goals, instant: int) -> bool:
    """Whether a goal that was written later than that differs from the one before it."""
    goals.collect()
    rows = goals.rows[goals.times > instant]
    return bool((np.diff(rows, axis=0) != 0).any())


def first(records: dict[str, Any], rows: Any) -> int:
    """The first of these rows; a campaign in which there is none has to say so."""
    found = np.flatnonzero(rows)
    assert len(found), "what was to be seen is not in the records"
    return int(found[0])


def reboot(ids: tuple[int, ...] = IDS, seed: int = 0, rate: float = 50.0) -> Outcome:
    """Each of `ids` starts anew once. Figures: ticks (p50, max) from the first cycle in which it answered again to the
    first one in FAULT, moved_on (arms whose goals changed after the deceleration), limp (others without torque)."""
    random = np.random.default_rng(seed)
    ticks, moved_on, limp = [], 0, 0
    for motor in ids:
        with Rig(seed=seed, rate=rate) as rig:
            rig.activate()
            time.sleep(float(random.uniform(0.2, 0.6)))
            goals, begin = Goals(rig.arm), rig.loop.snapshot().cycle
            at = _core.monotonic_ns()
            rig.arm.fault("reboot", id=motor)
            wait_for(lambda rig=rig: state_of(rig) == "FAULT", f"no FAULT after motor {motor} started anew")
            time.sleep(0.5)
            records = rig.records(begin)
            missed = unheard(records)[:, motor - 1]
            later = records["woke"] > at
            silent = np.flatnonzero(later & missed)
            answered = later & ~missed
            if len(silent):  # it was asked while it was away
                answered &= np.arange(len(missed)) > silent[0]
            fault = first(records, records["state"] == FAULT)
            ticks.append(fault - first(records, answered))
            moved_on += moved_after(goals, int(records["deadline"][fault]) + BRAKING_NS + 2 * rig.period)
            limp += sum(torque == 0 for i, torque in zip(IDS, torques(rig), strict=True) if i != motor)
    figures = {"ticks_p50": float(np.median(ticks)), "ticks_max": float(np.max(ticks))}
    return Outcome(len(ticks), len(ids), figures | {"moved_on": moved_on, "limp": limp})


def heard(rig: Rig, motor: int, begin: int, at: int) -> Any:
    """Of each record since cycle `begin`: whether the motor answered a request that was sent after `at`."""
    records = rig.records(begin)
    return (records["wrote"] > at) & ~unheard(records)[:, motor - 1]


def overload(seconds: float, ids: tuple[int, ...] = IDS, seed: int = 0, rate: float = 50.0) -> Outcome:
    """The overload bit of each motor for so long, and until a cycle has read it. Figures: ticks_max from the bit to
    the first cycle in HOLD, halved (joints whose torque limit was), faulted, fault_ms (min, max) after the bit,
    restored (limits after the way on)."""
    random = np.random.default_rng(seed)
    ticks, halved, faults, restored = [], 0, [], 0
    for motor in ids:
        with Rig(seed=seed, rate=rate) as rig:
            rig.activate()
            time.sleep(float(random.uniform(0.2, 0.6)))
            most, begin = limit(rig, motor), rig.loop.snapshot().cycle
            at = _core.monotonic_ns()
            rig.arm.fault("overload", id=motor, on=1)
            until = at + round(seconds * SECOND)
            while state_of(rig) != "FAULT" and (_core.monotonic_ns() < until or not heard(rig, motor, begin, at).any()):
                time.sleep(0.001)
            rig.arm.fault("overload", id=motor, on=0)
            wait_for(lambda rig=rig: state_of(rig) in ("HOLD", "FAULT"), "the overload was not seen")
            time.sleep(0.2)
            halved += int(limit(rig, motor) == most // 2)
            records = rig.records(begin)
            seen = first(records, (records["woke"] > at) & (records["state"] == HOLD))
            ticks.append(seen - first(records, records["woke"] > at))
            if state_of(rig) == "FAULT":
                faults.append((int(records["deadline"][first(records, records["state"] == FAULT)]) - at) / 1e6)
                continue
            for _ in rig.pace(20.0):  # resumes it
                if state_of(rig) == "ACTIVE":
                    break
            time.sleep(0.2)
            restored += int(limit(rig, motor) == most)
    figures = {
        "ticks_p50": float(np.median(ticks)), "ticks_max": float(np.max(ticks)), "halved": halved,
        "faulted": len(faults), "fault_ms_min": min(faults, default=0.0), "fault_ms_max": max(faults, default=0.0),
        "restored": restored,
    }  # fmt: skip
    return Outcome(len(ticks), len(ids), figures)


def limit(rig: Rig, motor: int) -> int:
    low, high = rig.arm.registers(motor)[LIMIT : LIMIT + 2]
    return low + 256 * high


def hang_up(seconds: float, times: int, seed: int = 0, rate: float = 50.0) -> Outcome:
    """The cable of the arm is away for so long; the adapter comes back under another number. Figures: fault_ms_max,
    moved_by_itself (arms whose goal changed between the return and the next arming), back_s_max (from the return to a
    reset that is accepted), armed_again."""
    random = np.random.default_rng(seed)
    fault_ms, back_s, moved, again = [], [], 0, 0
    for turn in range(times):
        with TemporaryDirectory() as folder, Rig(seed=seed + turn, rate=rate, link=Path(folder) / "arm") as rig:
            rig.activate()
            time.sleep(float(random.uniform(0.1, 0.4)))
            at = _core.monotonic_ns()
            rig.arm.fault("hangup")
            rig.unpoint()
            wait_for(lambda rig=rig: state_of(rig) == "FAULT", "no FAULT after the hang-up")
            fault_ms.append((_core.monotonic_ns() - at) / 1e6)
            time.sleep(max(0.0, seconds - fault_ms[-1] / 1e3))
            goals = Goals(rig.arm)
            rig.arm.fault("replug")
            rig.point()
            returned = _core.monotonic_ns()

            def reset(rig: Rig = rig) -> bool:
                rig.loop.reset()
                time.sleep(0.05)
                return state_of(rig) == "DISARMED"

            wait_for(reset, "no reset was accepted after the return")
            back_s.append((_core.monotonic_ns() - returned) / SECOND)
            time.sleep(0.3)
            goals.collect()
            held = goals.rows[goals.times < returned][-1]
            moved += int((goals.rows[goals.times > returned] != held).any())
            rig.activate()
            again += 1
    figures = {"fault_ms_max": max(fault_ms), "back_s_max": max(back_s), "moved_by_itself": moved}
    return Outcome(len(back_s), times, figures | {"armed_again": again})
