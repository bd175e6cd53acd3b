"""`rl emulate`: a port, a link, faults, statistics, as another program sees them."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import serial

from rl.api.errors import InputError
from rl.cli import emulate
from rl.cli.main import main
from rl.plugins.so101.emulation import follower

PING, PONG = bytes.fromhex("ffff010201fb"), bytes.fromhex("ffff010200fc")  # to servo 1, and its answer


@contextmanager
def emulated(*words: object) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The command as a process, and what it said first."""
    command = [sys.executable, "-m", "rl.cli.main", "emulate", *map(str, words), "--json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        guard = threading.Timer(60, child.kill)
        guard.start()
        try:
            yield child, json.loads(child.stdout.readline())
        finally:
            child.kill()
            guard.cancel()


def statistics(child: subprocess.Popen[str]) -> dict[str, int]:
    """Ended by Ctrl-C: what it counted."""
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=30)
    assert child.returncode == 0, errors
    return json.loads(output.splitlines()[-1])["statistics"]


def ping(port: str) -> bytes:
    with serial.Serial(port, 1_000_000, timeout=1) as line:
        line.write(PING)
        return line.read(6)


def test_another_program_opens_the_port_by_its_link_as_often_as_it_likes(tmp_path):
    link = tmp_path / "arm"
    with emulated("so101", "--link", link) as (child, said):
        assert said["device"] == "so101"
        assert str(link.readlink()) == said["port"]
        for _ in range(5):
            assert ping(str(link)) == PONG
        assert statistics(child)["pings"] == 5
    assert not os.path.lexists(link)


def test_a_port_that_comes_back_is_found_behind_the_same_link(tmp_path):
    link = tmp_path / "arm"
    with emulated("so101", "--link", link) as (child, said):
        child.stdin.write("nonsense\nhangup\nreplug\n")
        child.stdin.flush()
        again = json.loads(child.stdout.readline())
        assert again["port"] != said["port"]
        assert str(link.readlink()) == again["port"]
        assert ping(str(link)) == PONG
        assert statistics(child)["pings"] == 1


def test_faults_of_the_command_line_strike(tmp_path):
    with emulated("so101", "--fault", "mute=2", "--fault", "drop=rate=1,id=1,count=1") as (child, said):
        with serial.Serial(said["port"], 1_000_000, timeout=0.2) as line:
            line.write(PING)
            assert line.read(6) == b""
            line.write(PING)
            assert line.read(6) == PONG
            line.write(bytes.fromhex("ffff020201fa"))
            assert line.read(6) == b""
        assert statistics(child)["dropped"] == 1


def test_the_leader_is_the_teleoperator_that_drives_the_robot():
    assert emulate.emulator_of("so101", "leader")[0] == "so101-leader"
    assert emulate.emulator_of("so100_follower", None)[0] == "so101"
    assert emulate.emulator_of("so101-leader", "follower")[0] == "so101"


def test_its_calibration_lets_rl_move_it(tmp_path):
    (tmp_path / "cal").mkdir()
    with emulated("so101", "--calibration", tmp_path / "cal" / "here.json") as (child, said):
        robot = ["--robot", "so101", "--robot.port", said["port"], "--robot.id", "here"]
        robot += ["--robot.calibration_dir", tmp_path / "cal", "--robot.rest_pose", "0,-55,41,28,-7,15"]
        words = ["teleop", *robot, "--teleop", "so101-leader", "--teleop.port", "sim", "--duration", "1"]
        done = subprocess.run([sys.executable, "-m", "rl.cli.main", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert statistics(child)["goal_writes"] >= 50


@pytest.mark.parametrize(
    ("line", "motor", "address", "value"),
    [
        ("overload 2", 2, 65, 32),
        ("overload id=2", 2, 65, 32),
        ("overload 2 on=0", 2, 65, 0),
        ("overload=2,on=off", 2, 65, 0),
        ("twin 3 of=4", 3, 5, 4),
        ("twin 3 of=3", 3, 5, 3),
        ("baud 3 code=2", 3, 6, 2),
        ("model id=3 number=5", 3, 3, 5),
    ],
)
def test_a_fault_is_said_as_the_table_says_it(line, motor, address, value):
    arm = follower(False, "wire", 0)
    kind, _, values = line.replace(" ", "=", 1).partition("=")
    try:
        if value == 0:
            arm.fault("overload", {"": 2})
        arm.fault(kind, emulate.fields_of(values, kind))
        assert arm._core.registers(motor)[address] == value
    finally:
        arm.close()


def test_echo_is_on_when_nothing_is_said():
    arm = follower(False, "wire", 0)
    try:
        arm.fault("echo", {})
        with serial.Serial(arm.port, 1_000_000, timeout=1) as line:
            line.write(PING)
            assert line.read(12) == PING + PONG
    finally:
        arm.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["so102"], "no robot or teleoperator 'so102'"),
        ([], "nothing to emulate"),
        (["so101", "--wave"], "only a so101-leader waves"),
        (["so101", "--profile", "pigeon"], "no profile 'pigeon'"),
        (["so101", "--fault", "drop=2"], "rate is outside 0 .. 1"),
        (["so101", "--fault", "drop=many"], "'many' is no number"),
        (["so101", "--fault", "drop=nan"], "not finite"),
        (["so101", "--fault", "flood=1"], "no fault 'flood'"),
        (["so101", "--fault", "hand=1"], "hand needs"),
        (["so101", "--fault", "drop=0.1,0.2"], "'0.2' has no name"),
        (["so101", "--fault", "drop=0.1,rate=0.2"], "rate is given twice"),
        (["so101", "--fault", "drop=rate=0.1,rate=0.2"], "rate is given twice"),
        (["so101", "--fault", "mute=3,4"], "'4' has no name"),
        (["so101", "--fault", "hangup=1"], "no field 'rate'"),
        (["so101", "--fault", "twin=3"], "needs of; e.g. twin id=3 of=4"),
        (["so101", "--fault", "baud=3"], "needs code; e.g. baud id=3 code=4"),
        (["so101", "--fault", "model=3"], "needs number; e.g. model id=3"),
        (["so101", "--fault", "late=0.1"], "needs ms; e.g. late rate=0.01 ms=30"),
        (["so101", "--calibration", "none/arm.json"], "--calibration: there is no folder none"),
    ],
)
def test_bad_input_is_one_line(words, told, capsys):
    assert main(["emulate", *words, "--duration", "0.1"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_link_takes_the_place_of_nothing_but_a_dead_emulators(tmp_path):
    path = tmp_path / "arm"
    for make in (lambda: path.write_text("mine"), lambda: path.symlink_to("/dev/null"), lambda: path.mkdir()):
        make()
        with pytest.raises(InputError, match="is there already"):
            emulate.Link(str(path)).point("/dev/pts/99")
        assert os.path.lexists(path)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    path.symlink_to("/dev/pts/99999999")
    link = emulate.Link(str(path))
    link.point("/dev/pts/7")
    assert str(path.readlink()) == "/dev/pts/7"
    path.unlink()
    path.write_text("somebody else's by now")
    link.remove()
    assert path.is_file()


def test_a_calibration_file_of_other_content_stays(tmp_path):
    path = tmp_path / "a" / "arm.json"
    path.parent.mkdir()
    emulate.write_new(path, "{}")
    emulate.write_new(path, "{}")
    with pytest.raises(InputError, match="holds something else"):
        emulate.write_new(path, "[]")
    assert path.read_text() == "{}"
    assert [p.name for p in path.parent.iterdir()] == ["arm.json"]
