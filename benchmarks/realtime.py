"""Rate and period error of teleoperation at 50 Hz as the servo sees them, ours and LeRobot's in turn on the same
emulated arms; and the core's bus beside a plain client's.

    LEROBOT_PYTHON=... python -m benchmarks.realtime [--seconds 60] [--rounds 3] [--client build/release/rl_bus_client]

Both are whole programs: `rl teleop` and lerobot-teleoperate's loop, each with the disturbance in its own process.
Between them runs a bare timer (sleep, then spin), which says what the host gives at that time, and writes 26 bytes into
an empty pseudo-terminal, whose far end says what the host gives on the servo's side. The servo's side is the
emulator's: its thread has real-time priority where that is allowed, and there is no USB grid. Bytes cross a
pseudo-terminal, whose kernel workers wait for a core like everybody: a servo's wire does not, so for the time of the
measurement they get real-time priority too, below the loop's, where that is allowed (the result says so). `own` is by
the core's stamps, directly before each write. Without LEROBOT_PYTHON the rival's column is empty; without the client
(cmake --preset release && cmake --build --preset release) so are the timer's and the plain client's.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.faults.rig import SECOND, Rig, medians, period_errors, quantiles
from benchmarks.report import Figure, at_least, at_most, report
from rl import _core
from rl.plugins.so101 import emulation

HERE = Path(__file__).parent
CLIENT = HERE.parent / "build" / "release" / "rl_bus_client"
HZ = 50
KINDS = {"alone": "nothing else", "numpy": "a numpy thread", "python": "a pure-Python thread", "hogs": "2 CPU hogs"}
SETTLE_S = 2.0  # after the first goal: soft start, first cycles
OURS = "import sys\nfrom benchmarks.disturbance import start\nstart(sys.argv[1])\nfrom rl.cli.main import main\n"
OURS += "sys.exit(main(sys.argv[2:]))"
REST = "0,-55,41,28,-7,15"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each loop in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client", type=Path, default=CLIENT)
    args = parser.parse_args()
    figures: list[Figure] = []
    details: dict[str, Any] = {"seconds": args.seconds, "rounds": args.rounds, "profile": "wire"}
    with Pair() as pair, workers_raised() as raised:
        details["pty_workers"] = raised
        for kind, what in KINDS.items():
            found = compare(pair, kind, args.seconds, args.rounds, args.client)
            print(kind, found, flush=True)
            figures += figures_of(what, found)
            details[kind] = found
    details["jitter"] = jitter(args.client)
    figures.append(lateness(details["jitter"]))
    if args.client.is_file():
        figures += clients(args.client, args.rounds, details)
    note = f"{args.rounds} x {args.seconds:g} s each, asked for are 600 s; the pty's workers {details['pty_workers']}"
    return report(
        "realtime", figures, f"50 Hz teleoperation, servo's side, and the bus beside a plain client ({note})", details
    )


class Ran(NamedTuple):
    """A program's output, and whether it ended with an error before its time."""

    output: str
    failed: bool


class Pair:
    """A follower and a waving leader for programs, with their calibration files."""

    def __init__(self) -> None:
        self.follower = emulation.follower(False, "wire", 0)
        self.leader = emulation.leader(True, "wire", 0)
        self.folder = tempfile.TemporaryDirectory()
        for name, arm in (("follower", self.follower), ("leader", self.leader)):
            place = Path(self.folder.name) / name
            place.mkdir()
            (place / "arm.json").write_text(arm.calibration())

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *error: object) -> None:
        self.follower.close()
        self.leader.close()
        self.folder.cleanup()

    def ours(self, kind: str, seconds: float) -> list[str]:
        words = []
        for option, name, arm in (("robot", "follower", self.follower), ("teleop", "leader", self.leader)):
            words += [f"--{option}.port", arm.port, f"--{option}.id", "arm"]
            words += [f"--{option}.calibration_dir", f"{self.folder.name}/{name}"]
        words = ["--robot", "so101", "--teleop", "so101-leader", *words, "--robot.rest_pose", REST]
        run = [sys.executable, "-c", OURS, kind, "teleop", *words]
        return [*run, "--rate", str(HZ), "--duration", str(seconds + SETTLE_S)]

    def rival(self, python: str, kind: str, seconds: float) -> list[str]:
        words = [self.follower.port, self.leader.port, self.folder.name, HZ, seconds + SETTLE_S + 0.5, kind]
        return [python, str(HERE / "lerobot_loop.py"), *map(str, words)]


@contextmanager
def workers_raised() -> Iterator[str]:
    """The kernel's workers that carry a pseudo-terminal's bytes, at FIFO 60; new ones are found as they come."""

    def workers() -> Iterator[int]:
        for name in Path("/proc").glob("[0-9]*/comm"):
            with suppress(OSError):
                if name.read_text().startswith("kworker/u"):
                    yield int(name.parent.name)

    def schedule(policy: int, priority: int) -> None:
        for worker in workers():
            with suppress(ProcessLookupError):
                os.sched_setscheduler(worker, policy, os.sched_param(priority))

    try:
        schedule(os.SCHED_FIFO, 60)
    except PermissionError:
        yield "at normal priority: real-time priority for them is not permitted here"
        return
    over = threading.Event()

    def again() -> None:
        while not over.wait(1.0):
            schedule(os.SCHED_FIFO, 60)

    keeper = threading.Thread(target=again)
    keeper.start()
    try:
        yield "at SCHED_FIFO 60"
    finally:
        over.set()
        keeper.join()
        schedule(os.SCHED_OTHER, 0)


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many processes that never sleep."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def compare(pair: Pair, kind: str, seconds: float, rounds: int, client: Path) -> dict[str, dict[str, float]]:
    """ours, rival, timer, line -> rate_hz and period error p50, p99, p99.9, max in ms; own -> the core's own."""
    errors: dict[str, list[Any]] = {"ours": [], "rival": [], "timer": [], "line": []}
    rates: dict[str, list[float]] = {"ours": [], "rival": []}
    failed = {"ours": 0, "rival": 0}
    own = []
    python = os.environ.get("LEROBOT_PYTHON")
    with hogs(2 if kind == "hogs" else 0):
        for _ in range(rounds):
            if client.is_file():
                with hogs(1 if kind in ("numpy", "python") else 0):  # the thread's share of the machine
                    bare = told(client, "timer", HZ, seconds)
                for name in ("timer", "line"):
                    errors[name].append(np.abs(np.diff(bare[name])) / 1e3)
            ran = goals_of(pair, pair.ours(kind, seconds), seconds, errors["ours"], rates["ours"])
            failed["ours"] += ran.failed
            own.append([float(n) for n in re.findall(r"period error p\S+\D+([\d.]+) ms", ran.output)])
            if python:
                ran = goals_of(pair, pair.rival(python, kind, seconds), seconds, errors["rival"], rates["rival"])
                failed["rival"] += ran.failed
    found = {name: quantiles(np.concatenate(e)) for name, e in errors.items() if e}
    for name, each in rates.items():
        if each:
            found[name] |= {"rate_hz": float(np.mean(each)), "sessions_ended": failed[name]}
    found["own"] = dict(zip(("p50", "p99", "p99.9"), np.median(own, axis=0).tolist(), strict=False))
    return found


def goals_of(pair: Pair, command: Sequence[str], seconds: float, errors: list[Any], rates: list[float]) -> Ran:
    """Run a program; its goals of `seconds` from SETTLE_S after its first on, or until it ended by itself."""
    begin = _core.monotonic_ns()
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, timeout=seconds * 2 + 120)
    times = pair.follower.goal_times()
    times = times[times > begin]
    if len(times) == 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    start = times[0] + SETTLE_S * SECOND
    kept = times[(times >= start) & (times <= start + (seconds - 1) * SECOND)]
    if len(kept) > 2:
        errors.append(period_errors(kept, SECOND // HZ))
        rates.append((len(kept) - 1) * SECOND / float(kept[-1] - kept[0]))
    return Ran(done.stdout, done.returncode != 0)


def figures_of(what: str, found: dict[str, dict[str, float]]) -> list[Figure]:
    """Both columns in each row; judged is ours, on the servo's side, by what the host's timer gives."""
    ours, rival = found["ours"], found.get("rival", {})
    columns = {"LeRobot": rival, "bare timer": found.get("timer", {}), "empty line": found.get("line", {})}

    def beside(name: str, unit: str, digits: int) -> str:
        others = [(label, column[name]) for label, column in columns.items() if name in column]
        own = [("own stamps", found["own"][name])] if name in found["own"] else []
        return f"{ours[name]:.{digits}f} {unit} (" + ", ".join(f"{k} {v:.{digits}f}" for k, v in own + others) + ")"

    rows = [Figure(f"{what}: rate", beside("rate_hz", "Hz", 3), "50.00 +- 0.01 Hz", abs(ours["rate_hz"] - HZ) <= 0.01)]
    ended = f"{ours['sessions_ended']}" + (f" (LeRobot {rival['sessions_ended']})" if rival else "")
    rows.append(Figure(f"{what}: sessions that ended by themselves", ended, "0", ours["sessions_ended"] == 0))
    for name, limit in (("p50", 0.05), ("p99", 0.3), ("p99.9", 1.0)):
        rows.append(
            Figure(f"{what}: period error {name}", beside(name, "ms", 3), f"<= {limit} ms", ours[name] <= limit)
        )
    return rows


def jitter(client: Path, turns: int = 9, seconds: float = 10) -> dict[str, Any]:
    """us between a deadline and the waking up for it, by the own clock: the guardian's and the bare timer's, medians of
    short turns, because a shared host is quiet for seconds, not for minutes; and what real time was refused."""
    loops, timers = [], []
    for _ in range(turns):
        if client.is_file():
            timers.append(quantiles(told(client, "timer", HZ, seconds)["timer"]))
        with Rig(house="guardian") as rig:
            rig.activate()
            for _ in rig.pace(seconds):
                continue
            found = rig.loop.report()
        loops.append(found["wake_us"])
    out: dict[str, Any] = {"loop": medians(loops), "notes": found["realtime"]}
    return out | ({"timer": medians(timers)} if timers else {})


def lateness(found: dict[str, Any]) -> Figure:
    """The loop's p99 beside the bare timer's."""
    late = found["loop"]["p99"]
    timer = f" (bare timer {found['timer']['p99']:.1f})" if "timer" in found else ""
    return Figure("wake-up lateness p99, alone", f"{late:.1f} us{timer}", "<= 10 us", late <= 10)


def told(client: Path, *words: object) -> dict[str, Any]:
    """The lines of the C++ client: name -> numbers, us."""
    done = subprocess.run([str(client), *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, list[float]] = {}
    for line in done.stdout.splitlines():
        name, value = line.split()
        found.setdefault(name, []).append(float(value))
    return {name: np.asarray(values) for name, values in found.items()}


def clients(client: Path, rounds: int, details: dict[str, Any]) -> list[Figure]:
    """The core's chain beside the plain client, in turn on the same arms behind the usual adapter."""
    follower, leader = _core.Emulator(), _core.Emulator("so101-leader", wave=True)
    try:
        cycle = told(client, "cycle", follower.port, rounds * 25, 200)
        follow = told(client, "follow", leader.port, follower.port, rounds * 10, 400)
    finally:
        follower.close()
        leader.close()
    plain, core = quantiles(cycle["plain"]), quantiles(cycle["core"])
    rates = {name: 1e6 / float(np.median(follow[name])) for name in ("plain", "core")}
    details["cycle_us"] = {"plain": plain, "core": core, "wire_bound": 880}
    details["follow_hz"] = {**rates, "mean": {n: 1e6 / float(np.mean(follow[n])) for n in rates}, "wire_bound": 1612}
    return [
        at_most("6-motor read + write, p50, of a plain client's", 100 * core["p50"] / plain["p50"], 105, "%", 1),
        Figure("6-motor read + write, p50", f"{core['p50']:.0f} us (plain {plain['p50']:.0f}, wire 880)"),
        at_most(
            "6-motor read + write, p99.9 beyond a plain client's", (core["p99.9"] - plain["p99.9"]) / 1e3, 0.5, "ms"
        ),
        at_least(
            "leader-follower uncapped, of a plain client's rate", 100 * rates["core"] / rates["plain"], 95, "%", 1
        ),
        Figure(
            "leader-follower uncapped, median rate", f"{rates['core']:.0f} Hz (plain {rates['plain']:.0f}, wire 1612)"
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
