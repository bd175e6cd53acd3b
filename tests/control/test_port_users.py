"""What somebody is told who cannot have a port."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rl import _core
from rl.api import InputError, MissingPart
from rl.control import port_users
from rl.control.port_users import BUSY, busy, users
from rl.plugins.so101 import calibration

WORDS = ("--robot.id", "arm", "--robot.rest_pose", "0,-55,41,28,-7,15", "--teleop", "scripted")


@pytest.fixture
def arm(tmp_path):
    emulator = _core.Emulator()
    (tmp_path / "arm.json").write_text(calibration.text(calibration.of_core(emulator.calibration())))
    yield emulator
    emulator.close()


def rl(*words, wait=True):
    child = subprocess.Popen(
        [sys.executable, "-m", "rl.cli.main", *map(str, words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return child.communicate(timeout=60)[0] if wait else child


def teleop(arm, tmp_path):
    return ["teleop", "--robot", "so101", "--robot.port", arm.port, "--robot.calibration_dir", tmp_path, *WORDS]


def test_a_session_is_named_then_the_guardian_of_one_that_died(arm, tmp_path):
    session = rl(*teleop(arm, tmp_path), wait=False)
    try:
        until = time.monotonic() + 20
        while arm.statistics()["goal_writes"] < 30 and time.monotonic() < until:
            time.sleep(0.05)
        assert arm.statistics()["goal_writes"] >= 30
        said = rl(*teleop(arm, tmp_path))
        assert f"in use by process {session.pid} (" in said
        assert "guardian" not in said
        assert f"would stop the arm of process {session.pid} (" in rl("estop", "--dry_run", "true")
    finally:
        session.send_signal(signal.SIGKILL)
        session.wait()  # not its output: the guardian, which has it too, lives on
        session.stdout.close()
    said = rl("release", "--robot", "so101", "--robot.port", arm.port, "--held", "true")
    assert "the guardian of a session that died" in said
    assert "do not kill it" in said
    until = time.monotonic() + 20
    while users(arm.port) and time.monotonic() < until:
        time.sleep(0.1)
    assert not users(arm.port)


def test_a_port_that_a_command_names_twice_is_said_to_be_that(arm, tmp_path):
    (tmp_path / "lead.json").write_text((tmp_path / "arm.json").read_text())
    words = ["--robot", "so101", "--robot.port", arm.port, "--robot.calibration_dir", tmp_path, "--robot.id", "arm"]
    lead = ["--teleop.port", arm.port, "--teleop.id", "lead", "--teleop.calibration_dir", tmp_path]
    said = rl("teleop", *words, "--teleop", "so101-leader", *lead)
    assert f"error: {arm.port} is given twice; each arm of a command has a port of its own" in said


def test_who_has_a_port_is_found_by_its_open_files(arm):
    assert users(arm.port) == []
    file = os.open(arm.port, os.O_RDWR | os.O_NOCTTY)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[file])
    os.close(file)
    try:
        (found,) = users(arm.port)
        assert found.number == child.pid
        told = busy(f"{arm.port}{BUSY}; close it")
        assert isinstance(told, MissingPart)
        assert f"in use by process {child.pid} (" in str(told)
    finally:
        child.communicate(b"\n")
    assert str(busy(f"{arm.port}{BUSY}; close it")) == f"{arm.port}{BUSY}; close it"  # another user's: not seen


def test_the_own_process_is_no_other_program(arm, monkeypatch):
    monkeypatch.setattr(port_users, "users", lambda port: [port_users.Process(os.getpid(), 1, ("python",))])
    assert isinstance(busy(f"/dev/x{BUSY}"), InputError)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("/usr/bin/python3", "/usr/bin/rl", "teleop", "--robot", "so101"), "rl teleop"),
        (("rl", "teleop"), "rl teleop"),
        (("/usr/bin/cat", "/dev/x"), "cat"),
        (("python3", "-c", "x"), "python3"),
        ((), "?"),
    ],
)
def test_a_process_goes_by_what_its_user_typed(words, name):
    assert port_users.Process(1, 0, words).name == name
