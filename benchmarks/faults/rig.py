"""An emulated arm under the core's loop, and what its records say. Everything here runs in one process: the loop, the
emulator and the caller are threads; the first two never take the interpreter's lock.

A host that stands still for 100 ms puts a loop into HOLD, as it must; `Rig.pace` resumes it like an operator would and
counts that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rl import _core

SECOND = 1_000_000_000
BODY = slice(0, 5)
SPEED, ACCELERATION, JERK = 240.0, 4_000.0, 100_000.0  # deg/s ...; also of the gripper, in percent
LOW = np.array([-110.0] * 5 + [0.0])
HIGH = np.array([110.0] * 5 + [100.0])
STEP = 360 / 4095  # degrees of a step of the servo


@dataclass(frozen=True)
class Outcome:
    """What a campaign did and saw. `figures`: name -> number; `work` is compared with the least that was asked."""

    work: int
    least: int
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.work < self.least:
            raise AssertionError(f"only {self.work} of at least {self.least} were done: the campaign says nothing")


def limits() -> Any:
    one = np.ones(6)
    return _core.Limits(
        low=LOW, high=HIGH, speed=SPEED * one, acceleration=ACCELERATION * one, jerk=JERK * one,
        soft_speed=30 * one, jump=5 * one, zero_on_starve=[False] * 6,
    )  # fmt: skip


def bus_of(emulator: Any, energise: bool = True, port: str = "") -> Any:
    bus = _core.ServoBus(port or emulator.port, "sts3215", emulator.calibration(), energise=energise)
    bus.open()
    bus.configure()
    return bus


class Rig:
    """A loop on `arm`, driven by a waving leader (`source` "leader") or by what the caller pushes."""

    def __init__(
        self, *, seed: int = 0, rate: float = 50.0, source: str = "leader", link: Path | None = None, **changed: Any
    ) -> None:
        """`link`: the arm is known by this path, as by a name of udev's; `changed`: of the loop's configuration."""
        # No USB grid: it would round the times of the goals that are measured here.
        self.arm = _core.Emulator(seed=seed, profile="wire")
        self.leader = (
            _core.Emulator("so101-leader", wave=True, seed=seed, profile="wire") if source == "leader" else None
        )
        self.period = round(SECOND / rate)
        self.resumed = 0
        self._held = False
        config = _core.LoopConfig()
        config.rate_hz, config.source = rate, source
        config.soft_start_s, config.rest_pose = 0.3, self.arm.rest_pose()
        for name, value in changed.items():
            setattr(config, name, value)
        leaders = [] if self.leader is None else [(slice(0, 6), bus_of(self.leader, energise=False))]
        self.link = link
        self.point()
        bus = bus_of(self.arm, port="" if link is None else str(link))
        self.loop = _core.ControlLoop([(slice(0, 6), bus)], limits(), config, leaders)
        self._records = Records(self.loop)
        begin = _core.monotonic_ns()
        self.loop.start()
        self.started_ms = (_core.monotonic_ns() - begin) / 1e6  # until the first cycle

    def point(self) -> None:
        """The link leads to the arm, wherever it is now."""
        if self.link is not None:
            self.unpoint()
            self.link.symlink_to(self.arm.port)

    def unpoint(self) -> None:
        """The arm is gone and its link with it, as udev does it: its old number may soon be another arm's."""
        if self.link is not None:
            self.link.unlink(missing_ok=True)

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.close()
        self.arm.close()
        if self.leader is not None:
            self.leader.close()

    def activate(self, feed: Callable[[], object] = lambda: None) -> None:
        """Arm, and be ACTIVE. Errors: AssertionError when it is not within 30 s."""
        self.loop.arm()
        until = _core.monotonic_ns() + 30 * SECOND
        while self.loop.snapshot().state != "ACTIVE":
            feed()
            self._resume()
            assert not self.loop.wait(0.02), self.loop.snapshot().reason
            assert _core.monotonic_ns() < until, self.loop.snapshot().reason

    def pace(self, seconds: float) -> Iterator[float]:
        """The time since the start, every 10 ms, while the loop runs and is kept ACTIVE. Ends early when it ended."""
        began, collected = _core.monotonic_ns(), 0.0
        while (gone := (_core.monotonic_ns() - began) / SECOND) < seconds:
            if self.loop.wait(0.01):
                return
            self._resume()
            if gone - collected >= 10:
                self._records.collect()
                collected = gone
            yield gone

    def _resume(self) -> None:
        held = self.loop.snapshot().state == "HOLD"
        self.resumed += held and not self._held
        self._held = held
        if held:
            self.loop.resume()

    def records(self, since: int = -1) -> dict[str, Any]:
        """Of the cycles after `since`: all while `pace` ran, else those that the loop still keeps."""
        return self._records.collect().since(since)


class Records:
    """The cycles of a loop, collected before it forgets them."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._parts: list[dict[str, Any]] = []
        self._last = -1

    def collect(self) -> Records:
        """To be called at least once a minute."""
        self._parts.append(self._loop.records(self._last, 1_000_000))
        self._last = max([self._last, *self._parts[-1]["cycle"][-1:].tolist()])
        return self

    def since(self, cycle: int) -> dict[str, Any]:
        """What was collected of the cycles after this one."""
        whole = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        return {name: column[whole["cycle"] > cycle] for name, column in whole.items()}


class Goals:
    """The goals that reached the servos, collected before the emulator's log forgets them."""

    def __init__(self, emulator: Any) -> None:
        self._emulator = emulator
        self._times: list[Any] = []
        self._rows: list[Any] = []
        self._last = -1

    def collect(self) -> None:
        """To be called at least every 100,000 goals."""
        times, rows = self._emulator.goal_times(), self._emulator.goals()
        count = min(len(times), len(rows))  # one may have come between the two calls
        fresh = times[:count] > self._last
        self._times.append(times[:count][fresh])
        self._rows.append(rows[:count][fresh])
        if fresh.any():
            self._last = int(times[:count][fresh][-1])

    @property
    def times(self) -> Any:
        return np.concatenate(self._times)

    @property
    def rows(self) -> Any:
        return np.concatenate(self._rows)


def unheard(records: dict[str, Any]) -> Any:
    """(n, 6): whether a motor was not heard in a cycle, asked or not."""
    bits = (records["missing"] | records["skipped"]).astype(np.int64)
    return (bits[:, None] >> np.arange(6)) & 1 == 1


def period_errors(times: Any, period: int) -> Any:
    """ms by which each interval between goals differs from the period."""
    return np.abs(np.diff(times) - period) / 1e6


def quantiles(values: Any) -> dict[str, float]:
    found = np.quantile(np.asarray(values, float), (0.5, 0.99, 0.999, 1.0)) if len(values) else np.full(4, np.nan)
    return dict(zip(("p50", "p99", "p99.9", "max"), (float(v) for v in found), strict=True))


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each entry over the runs."""
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}


def distance_from_wave(leader: Any, values: Any, begin: Any, end: Any) -> Any:
    """(n, 6): how far each value (n, 6) is from every pose that the waving emulator had between `begin` and `end` (n,)
    ns, beyond a step of the servo: 0 when the value is explained."""
    began = leader.started
    poses = [leader.wave_at((begin + (end - begin) * part - began) / SECOND) for part in np.linspace(0.0, 1.0, 9)]
    low, high = np.min(poses, axis=0), np.max(poses, axis=0)
    step = np.array([STEP] * 5 + [100 / 1369])  # of the gripper: percent of its range
    return np.maximum(0.0, np.maximum(low - values, values - high) - 0.75 * step)
