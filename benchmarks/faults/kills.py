"""Processes that are killed, stopped or stuck while an arm moves: the source of set points, the guardian, its second
hand. Seen from the servo's side; all times are of one monotonic clock.

The source is a fork of this process that pushes set points at the loop's rate and notes the time of each in memory that
both share: the last sign of life is known exactly.
"""

from __future__ import annotations

import math
import mmap
import os
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.rig import ACCELERATION, JERK, SECOND, SPEED, STEP, Goals, Outcome, Rig
from rl import _core
from rl.control.guardians import PREFIX, send_estop

ACTIVE, HOLD = 2, 3  # of the records
BRAKING_NS = round((SPEED / ACCELERATION + 2 * ACCELERATION / JERK) * SECOND)  # t_stop without t_hold: v/A + 2 A/J
PATIENCE = 30 * SECOND


class Source:
    """A process that moves the first joint to and fro."""

    def __init__(self, rig: Rig, rest: Any) -> None:
        self._beat = mmap.mmap(-1, 8)
        self.process = os.fork()
        if self.process == 0:
            try:
                self._push(rig, rest)
            finally:
                os._exit(1)

    def _push(self, rig: Rig, rest: Any) -> None:
        stuck: list[bool] = []
        signal.signal(signal.SIGUSR1, lambda *_: stuck.append(True))
        while True:
            while stuck:  # alive, but nothing comes of it
                pass
            now = _core.monotonic_ns()
            wanted = rest + 20 * math.sin(4 * now / SECOND) * np.eye(6)[0]
            self._beat[:8] = struct.pack("q", now)  # before and after: it may be killed in between
            if rig.loop.push_setpoint(wanted, now) == "":
                self._beat[:8] = struct.pack("q", _core.monotonic_ns())
            time.sleep(rig.period / SECOND)

    @property
    def last_beat(self) -> int:
        return int(struct.unpack("q", self._beat[:8])[0])

    def signal(self, number: int) -> None:
        os.kill(self.process, number)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.signal(signal.SIGKILL)
        self.signal(signal.SIGCONT)
        os.waitpid(self.process, 0)
        self._beat.close()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    until = _core.monotonic_ns() + PATIENCE
    while not condition():
        assert _core.monotonic_ns() < until, what
        time.sleep(0.002)


def stood_still(process: int) -> int:
    """When a process that got its signal had died or stopped, ns: until then it may have written once more."""
    while True:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            state = "X"
        if state in "TtZX":
            return int(_core.monotonic_ns())


def guarded(seed: int, rate: float = 50.0, **changed: Any) -> Rig:
    return Rig(seed=seed, rate=rate, source="setpoints", house="guardian", **changed)


def activate(rig: Rig) -> None:
    if rig.loop.snapshot().state in ("DISARMED", "OFF"):
        rig.loop.arm()

    def active() -> bool:
        if rig.loop.snapshot().state == "HOLD":
            rig.loop.resume()
        return bool(rig.loop.snapshot().state == "ACTIVE")

    wait_for(active, "not ACTIVE")


def source(kind: str, times: int, seed: int = 0, rate: float = 50.0) -> Outcome:
    """`kind`: "killed", "stopped" (woken again later), "stuck". Figures, over all times: hold_ms (p50, max) from the
    last sign of life to the first tick in HOLD, changed_ms_max to the last goal that differed, late (HOLD after more
    than 120 ms), late_stalled (of these, those in which the host stood still over a deadline), unbraked (changes later
    than t_stop), moved_again (goals that changed after that), illegal_speed."""
    number = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "stuck": signal.SIGUSR1}[kind]
    random = np.random.default_rng(seed)
    holds, changes, left_out, moved, illegal = [], [], [], 0, 0
    with guarded(seed, rate) as rig:
        rest = rig.loop.snapshot().values
        for _ in range(times):
            with Source(rig, rest) as one:
                activate(rig)
                time.sleep(float(random.uniform(0.05, 0.05 + math.pi / 4)))  # of the motion's phase
                goals, begin = Goals(rig.arm), rig.loop.snapshot().cycle
                one.signal(number)
                wait_for(lambda: rig.loop.snapshot().state == "HOLD", "no HOLD")
                beat = one.last_beat
                time.sleep(0.3)
                goals.collect()
                held = len(goals.times)
                if kind == "stopped":
                    one.signal(signal.SIGCONT)
                    time.sleep(0.2)
                    assert rig.loop.snapshot().state == "HOLD"
                goals.collect()
            records = rig.records(begin)
            first = records["deadline"][records["state"] == HOLD][0]
            meanwhile = records["deadline"][(records["deadline"] >= beat) & (records["deadline"] <= first)]
            left_out.append(bool((np.diff(meanwhile) > 1.5 * rig.period).any()))
            kept = goals.times > beat - SECOND // 2
            moments, rows = goals.times[kept], goals.rows[kept]
            differs = moments[1:][(np.diff(rows, axis=0) != 0).any(axis=1)]
            holds.append((first - beat) / 1e6)
            changes.append((differs[-1] - beat) / 1e6 if len(differs) else 0.0)
            moved += int((goals.rows[held - 1 :] != goals.rows[held - 1]).any())
            most = SPEED / STEP * np.maximum(np.diff(moments), rig.period) / SECOND + 1.01
            illegal += int((np.abs(np.diff(rows[:, 0].astype(float))) > most).sum())
    allowed = 120 if rate >= 50 else 100 + 1000 / rate
    braked = allowed + (BRAKING_NS + rig.period) / 1e6
    figures = {
        "hold_ms_p50": float(np.median(holds)), "hold_ms_max": float(np.max(holds)),
        "changed_ms_max": float(np.max(changes)), "late": int(np.sum(np.array(holds) > allowed)),
        "late_stalled": int(np.sum((np.array(holds) > allowed) & np.array(left_out))),
        "unbraked": int(np.sum(np.array(changes) > braked)), "moved_again": moved, "illegal_speed": illegal,
    }  # fmt: skip
    return Outcome(len(holds), times, figures)


def guardian(kind: str, times: int, seed: int = 0) -> Outcome:
    """`kind`: "killed", "stopped", "crashed". Figures: safe_ms (p50, max) from the signal to the first goal that the
    second hand wrote, late (more than 250 ms), back (that goal lay behind the last one), left_on (arms that did not end
    without torque), later (goals that the old guardian wrote afterwards)."""
    number = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "crashed": signal.SIGSEGV}[kind]
    random = np.random.default_rng(seed)
    safe, back, left_on, later = [], 0, 0, 0
    for turn in range(times):
        with guarded(seed + turn) as rig:
            with Source(rig, rig.loop.snapshot().values):
                activate(rig)
                time.sleep(float(random.uniform(0.05, 0.4)))
                goals = Goals(rig.arm)
                process = rig.loop.report()["guardian"]
                hurt = _core.monotonic_ns()
                os.kill(process, number)
                gone = stood_still(process)
                wait_for(lambda: rig.loop.wait(0.0), "the second hand did not end")
                goals.collect()
            first = int(np.flatnonzero(goals.times > gone + 1_000_000)[0])  # what it had sent is on the wire by then
            safe.append((int(goals.times[first]) - hurt) / 1e6)
            before, last, next_one = goals.rows[first - 2 : first + 1].astype(int)
            back += int(((next_one - last) * np.sign(last - before) < -1).any())
            left_on += int(any(rig.arm.registers(i)[40] for i in range(1, 7)))
            if kind == "stopped":
                with_it = len(rig.arm.goal_times())
                with suppress(ProcessLookupError):  # as it must be
                    os.kill(process, signal.SIGCONT)
                time.sleep(0.1)
                later += len(rig.arm.goal_times()) - with_it
    figures = {
        "safe_ms_p50": float(np.median(safe)), "safe_ms_max": float(np.max(safe)),
        "late": int(np.sum(np.array(safe) > 250)), "back": back, "left_on": left_on, "later": later,
    }  # fmt: skip
    return Outcome(len(safe), times, figures)


def second_hand(times: int, seed: int = 0) -> Outcome:
    """Figures: told (times that its death was among the faults), armed_again (must be none after a release)."""
    told, again = 0, 0
    for turn in range(times):
        with guarded(seed + turn) as rig, Source(rig, rig.loop.snapshot().values):
            activate(rig)
            os.kill(rig.loop.report()["second_hand"], signal.SIGKILL)
            wait_for(lambda: any("second hand" in f for f in rig.loop.snapshot().faults), "nobody said it")
            told += 1
            rig.loop.estop()
            wait_for(lambda: rig.loop.snapshot().state == "ESTOP", "no ESTOP")
            rig.loop.reset()
            wait_for(lambda: rig.loop.snapshot().state == "DISARMED", "no reset")
            again += armed(rig)
    return Outcome(told, times, {"told": told, "armed_again": again})


def armed(rig: Rig) -> bool:
    try:
        rig.loop.arm()
    except _core.CoreError as refused:
        if "second hand" not in str(refused):
            raise
        return False
    return True


def start(times: int, seed: int = 0) -> Outcome:
    """Figures: ready_ms (p50, p99, max) from the start of the guardian to its first cycle, late (100 ms and more)."""
    took = []
    for turn in range(times):
        rig = guarded(seed + turn)
        with rig:
            took.append(rig.started_ms)
    values = np.array(took)
    figures = {"ready_ms_p50": float(np.median(values)), "ready_ms_p99": float(np.quantile(values, 0.99))}
    return Outcome(
        len(took), times, figures | {"ready_ms_max": float(values.max()), "late": int((values >= 100).sum())}
    )


def estop(times: int, seed: int = 0, rate: float = 50.0) -> Outcome:
    """An emergency stop at a random phase, by the API and by the socket in turn. Figures: stop_ms (p50, max) from the
    call to the next goal on the wire, late (more than 40 ms), unlatched (set points that moved it afterwards)."""
    random = np.random.default_rng(seed)
    took, unlatched = [], 0
    with guarded(seed, rate) as rig:
        rest = rig.loop.snapshot().values
        for turn in range(times):
            with Source(rig, rest):
                activate(rig)
                time.sleep(float(random.uniform(0.02, 0.2)))
                goals = Goals(rig.arm)
                called = _core.monotonic_ns()
                if turn % 2:
                    send_estop(f"{PREFIX}{rig.loop.report()['second_hand']}")
                else:
                    rig.loop.estop()
                wait_for(lambda: rig.loop.snapshot().state == "ESTOP", "no ESTOP")
                time.sleep(0.3)
                goals.collect()
                fresh = np.flatnonzero(goals.times > called)
                took.append((int(goals.times[fresh[0]]) - called) / 1e6)
                unlatched += int((goals.rows[-1] != goals.rows[fresh[-1] - 1]).any())
                unlatched += int(rig.loop.snapshot().state != "ESTOP")
                rig.loop.reset()
                wait_for(lambda: rig.loop.snapshot().state == "DISARMED", "no reset")
    values = np.array(took)
    figures = {
        "stop_ms_p50": float(np.median(values)), "stop_ms_max": float(values.max()),
        "late": int((values > 40).sum()), "unlatched": unlatched,
    }  # fmt: skip
    return Outcome(len(took), times, figures)
