"""Whole sessions (`rl teleop` on an emulated arm behind its port) that get a signal at any instant, and sessions that
begin at the same time. Seen from the servo's side."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.motors import IDS, TORQUE
from benchmarks.faults.rig import Outcome
from rl import _core
from rl.plugins.so101 import calibration

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BUSY = 3  # exit code of what is in use or absent
INTERRUPTED = 130
PATIENCE = 30.0  # s


def heed_signals() -> None:
    """What started us may ignore some of them (nohup does); a person's shell does not."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def output_of(session: subprocess.Popen[str]) -> str:
    """What it said until it ended. Errors: TimeoutExpired, and it is killed."""
    try:
        return session.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        session.kill()
        session.communicate()
        raise


class Stand:
    """An emulated arm, and the command that leads it for `seconds` with a scripted wave."""

    def __init__(self, arm: Any, folder: Path) -> None:
        self.arm = arm
        calibration.write(folder / "bench.json", calibration.of_core(arm.calibration()))
        rest = ",".join(f"{value:.3f}" for value in arm.rest_pose())
        own = {"port": arm.port, "id": "bench", "calibration_dir": folder, "rest_pose": f"[{rest}]"}
        options = [word for name, value in own.items() for word in (f"--robot.{name}", str(value))]
        self._command = [sys.executable, "-m", "rl.cli.main", "teleop", "--robot", "so101", *options]
        self._command += ["--teleop", "scripted"]

    def session(self, seconds: float) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, "--duration", f"{seconds:g}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed_signals,  # the other threads are the emulator's: no Python runs in them
        )

    def energised(self) -> int:
        return sum(self.arm.registers(motor)[TORQUE] for motor in IDS)


@contextmanager
def stand(seed: int) -> Iterator[Stand]:
    arm = _core.Emulator(seed=seed, profile="wire")
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Stand(arm, Path(folder))
    finally:
        arm.close()


def signals(times: int, seed: int = 0) -> Outcome:
    """A signal, each of three in turn, at a random instant of a session's first seconds. Figures: left_on (arms with
    torque on after it), wrong_code (an exit that was neither the signal's own nor that of an interrupted session),
    moving (how many were under torque when it came), end_s_max."""
    random = np.random.default_rng(seed)
    left_on, wrong, moving, ends, loud = 0, 0, 0, [], 0
    for turn in range(times):
        number = SIGNALS[turn % len(SIGNALS)]
        with stand(seed + turn) as one:
            session = one.session(60)
            time.sleep(float(random.uniform(0.0, 4.0)))
            moving += one.energised() > 0
            begin = time.monotonic()
            session.send_signal(number)
            output = output_of(session)
            ends.append(time.monotonic() - begin)
            left_on += one.energised() > 0
            wrong += session.returncode not in (INTERRUPTED, -number)
            loud += "Traceback" in output
    figures = {"left_on": left_on, "wrong_code": wrong, "tracebacks": loud, "moving": moving, "end_s_max": max(ends)}
    return Outcome(len(ends), times, figures)


def races(times: int, seed: int = 0) -> Outcome:
    """Two sessions on one port at the same time, then a third one after both processes of a running session's guardian
    were killed. Figures: both (turns in which not exactly one of two ran), unnamed (the other one did not say that the
    port is in use), stuck (the third one did not run), left_on."""
    random = np.random.default_rng(seed)
    both = unnamed = stuck = left_on = 0
    for turn in range(times):
        with stand(seed + turn) as one:
            sessions = [one.session(1.0)]
            time.sleep(float(random.uniform(0.0, 1.5)))
            sessions.append(one.session(1.0))
            said = [output_of(session) for session in sessions]
            codes = [session.returncode for session in sessions]
            both += codes.count(0) != 1 and codes != [0, 0]  # one after the other is no race
            unnamed += sum(
                code != 0 and not (code == BUSY and "in use" in text) for code, text in zip(codes, said, strict=True)
            )
            kill_guardian(one)
            after = one.session(1.0)
            output_of(after)
            stuck += after.returncode != 0
            left_on += one.energised() > 0
    figures = {"both": both, "unnamed": unnamed, "stuck": stuck, "left_on": left_on}
    return Outcome(times, times, figures)


def kill_guardian(one: Stand) -> None:
    """A session that moves loses its guardian and its second hand at once: nothing of it is left but the torque."""
    session = one.session(60)
    until = time.monotonic() + PATIENCE
    while one.energised() < len(IDS):
        assert time.monotonic() < until, "the session does not move"
        time.sleep(0.01)
    time.sleep(0.3)
    for process in descendants(session.pid):
        subprocess.run(["kill", "-KILL", str(process)], check=False)
    session.kill()
    output_of(session)


def descendants(process: int) -> list[int]:
    """The youngest first."""
    out: list[int] = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:  # it has ended
            continue
        parent = re.search(r"^PPid:\t(\d+)$", text, re.MULTILINE)
        if parent and int(parent[1]) == process:
            child = int(status.parent.name)
            out += [*descendants(child), child]
    return out
