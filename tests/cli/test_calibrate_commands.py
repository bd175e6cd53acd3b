"""find-port, setup-motors and calibrate as a person types them: exit codes, lines, files."""

import io
import os
import pty
import threading
import time
from pathlib import Path

import pytest

from rl import _core
from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import Calibrates
from rl.cli import doctor, find_port
from rl.cli.devices import DeviceChoice, devices
from rl.cli.main import main
from rl.cli.screen import TerminalScreen
from rl.config import Selected
from rl.plugins.so101 import calibration
from rl.plugins.so101.config import So101Config
from rl.plugins.so101.releasing import release

ARM = ["--robot", "so101", "--robot.port", "sim", "--robot.id", "arm"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_LEROBOT_CALIBRATION", str(tmp_path))
    monkeypatch.setattr("rl.plugins.so101.person.STEP", 300)
    monkeypatch.setattr("rl.plugins.so101.calibrating.PERIOD_NS", 2_000_000)
    return tmp_path


class Screen:
    """Answers by `asked(step)`, keeps findings."""

    def __init__(self, asked=lambda step: None):
        self.asked, self.lines = asked, []

    def ask(self, step, sentence):
        self.asked(step)

    def show(self, rows):
        self.lines += rows

    def result(self, mark, what, todo=""):
        self.lines.append(f"{mark}: {what}; {todo}")


def test_an_emulated_arm_is_calibrated_checked_and_taken_back(place, capsys):
    assert main(["calibrate", *ARM]) == 0
    assert "version 1 stored as" in capsys.readouterr().out
    assert (place / "robots" / "so_follower" / "arm.json").is_file()
    assert main(["calibrate", *ARM, "--check"]) == 0
    assert "nothing was moved or written" in capsys.readouterr().out
    assert main(["calibrate", "--robot", "so101", "--robot.id", "arm", "--versions"]) == 0
    assert "1  20" in capsys.readouterr().out
    assert main(["calibrate", "--robot", "so101", "--robot.id", "arm", "--diff", "1"]) == 0
    assert "no difference" in capsys.readouterr().out
    assert main(["calibrate", *ARM, "--roll-back", "1"]) == 0


def test_a_damaged_file_is_marked_and_not_compared(place, capsys):
    assert main(["calibrate", *ARM]) == 0
    file = next(place.rglob("arm.json"))
    file.write_text(file.read_text()[:300])
    before = sorted(place.rglob("*"))
    capsys.readouterr()
    assert main(["calibrate", "--robot", "so101", "--robot.id", "arm", "--versions"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[2:] == []
    assert second.endswith("  current, damaged")
    assert main(["calibrate", "--robot", "so101", "--robot.id", "arm", "--diff", "1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the current file is damaged; rl calibrate --roll-back N stores a sound one again: 1" in captured.err
    assert sorted(place.rglob("*")) == before


def test_a_leader_is_calibrated_too(place):
    assert main(["calibrate", "--teleop", "so101-leader", "--teleop.port", "sim", "--teleop.id", "lead"]) == 0
    assert (place / "teleoperators" / "so_leader" / "lead.json").is_file()


def test_two_arms_are_calibrated_one_after_the_other(place, capsys):
    words = [
        "--robot",
        "so101",
        "--robot.id",
        "pair",
        "--robot.arms.left.port",
        "sim",
        "--robot.arms.right.port",
        "sim",
    ]
    assert main(["calibrate", *words]) == 0
    out = capsys.readouterr().out
    assert out.index("left:") < out.index("pair_left.json") < out.index("right:") < out.index("pair_right.json")
    assert len(list((place / "robots" / "so_follower").glob("pair_*.json"))) == 2


def test_a_robot_without_the_ability_says_so(monkeypatch):
    class Plain:
        def __init__(self, config):
            self.config = config

    monkeypatch.setattr("rl.registry.Registry.implementation", lambda *_: Plain)
    choice = DeviceChoice(robot=Selected("robot", "so101", So101Config()))
    with pytest.raises(InputError, match="robot so101 cannot be calibrated here"):
        next(devices(choice, Calibrates, "cannot be calibrated"))


def test_the_doctor_names_the_adapter_and_what_slows_it(monkeypatch):
    facts = port("/dev/ttyUSB0", "FT1") | {"vendor": "0403", "driver": "ftdi_sio", "slow": "holds back; echo 1"}
    monkeypatch.setattr(_core, "usb_port", lambda path: facts)
    ok, slow = doctor._adapter(Path("/dev/ttyUSB0"))
    assert "serial FT1" in ok.what
    assert "usb-FT1" in ok.what
    assert (slow.mark, slow.what) == ("warn", "/dev/ttyUSB0: holds back; echo 1")
    monkeypatch.setattr(_core, "usb_port", lambda path: facts | {"vendor": ""})
    assert doctor._adapter(Path("/dev/ttyS0")) == []


def test_lerobots_words_are_understood(place, capsys):
    assert main(["calibrate", "--robot.type=so101_follower", "--robot.port=sim", "--robot.id=theirs"]) == 0
    assert (place / "robots" / "so_follower" / "theirs.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no device is chosen"),
        ([*ARM, "--teleop", "so101-leader"], "one device at a time"),
        ([*ARM, "--check", "--versions"], "exclude each other"),
        ([*ARM, "--roll-back", "3"], "there is no version 3"),
        ([*ARM, "--diff", "3"], "there is no version 3"),
        ([*ARM, "--check"], "there is no calibration file"),
        (["--robot", "so101", "--robot.port", "sim"], "--robot.id NAME"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(words, said, capsys, place):
    assert main(["calibrate", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not [path for path in place.rglob("*") if path.is_file()]


def test_an_absent_port_is_exit_code_3(capsys):
    words = ["--robot", "so101", "--robot.port", "/dev/ttyNONE7", "--robot.id", "x"]
    assert main(["calibrate", *words]) == 3
    assert main(["setup-motors", *words]) == 3
    assert "no serial port /dev/ttyNONE7" in capsys.readouterr().err


def test_a_real_arm_needs_a_terminal(capsys, monkeypatch, place):
    emulator = _core.Emulator()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["calibrate", "--robot", "so101", "--robot.port", emulator.port, "--robot.id", "arm"]) == 2
    assert "there is no terminal" in capsys.readouterr().err
    assert not [path for path in place.rglob("*") if path.is_file()]
    emulator.close()


def test_the_screen_goes_on_at_enter_and_ends_with_the_terminal(monkeypatch, capsys):
    master, slave = pty.openpty()
    with os.fdopen(slave, "r", closefd=True) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        screen = TerminalScreen()
        os.write(master, b"\n\n")  # too early: it answers nothing
        threading.Timer(0.3, os.write, (master, b"\n")).start()
        screen.ask("one", "Do this.")
        screen.begin("two", "Do that.")
        assert not screen.answered()
        screen.show(["joint 12"])
        os.write(master, b"\n")
        deadline = time.monotonic() + 10
        while not screen.answered():
            assert time.monotonic() < deadline
        screen.result("fail", "what", "todo")
        threading.Timer(0.2, os.write, (master, b"\x04")).start()  # end of file
        with pytest.raises(InputError, match="nobody is there"):
            screen.ask("three", "And this.")
    os.close(master)
    assert capsys.readouterr().out == "\n1. Do this.\n\n2. Do that.\njoint 12\nFAIL what; todo\n\n3. And this.\n"


def test_setup_motors_says_what_it_found_and_changed(capsys, monkeypatch):
    monkeypatch.setattr("rl.plugins.so101.motors.JOINTS", ("gripper",))  # the others: test_motors.py
    assert main(["setup-motors", *ARM]) == 0
    out = capsys.readouterr().out
    assert out.index("found id 1 at 1000000 baud") < out.index("gripper is id 6: id 1 -> 6")
    assert "motors answer together" in out


def port(path, serial):
    return {"path": path, "serial": serial, "name": "USB Serial", "by_id": f"/dev/serial/by-id/usb-{serial}"}


def both():
    return {p["path"]: p for p in (port("/dev/ttyACM0", "A"), port("/dev/ttyACM1", "B"))}


def test_the_port_that_goes_and_comes_back_under_another_name_is_told():
    now = both()

    def asked(step):
        found = now.pop("/dev/ttyACM1", None)
        if found is None:
            now["/dev/ttyACM2"] = port("/dev/ttyACM2", "B")

    screen = Screen(asked)
    assert find_port.unplugged(both(), screen, lambda: now) == "/dev/ttyACM1"
    assert any("came back as /dev/ttyACM2; use /dev/serial/by-id/usb-B" in line for line in screen.lines)


def test_no_port_and_two_ports_are_no_answer(monkeypatch):
    monkeypatch.setattr(find_port, "SETTLE_S", 0.1)
    with pytest.raises(InputError, match="no port went away"):
        find_port.unplugged(both(), Screen(), both)
    with pytest.raises(InputError, match="unplug one arm only"):
        find_port.unplugged(both(), Screen(), dict)
    with pytest.raises(MissingPart, match="no USB serial port"):
        find_port.unplugged({}, Screen())


def test_without_a_terminal_the_ports_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(find_port, "ports", both)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["find-port"]) == 0
    out = capsys.readouterr().out
    assert "/dev/ttyACM1  /dev/serial/by-id/usb-B  (USB Serial, serial B)" in out


def test_the_arm_that_is_moved_is_found_among_several_ports(monkeypatch):
    first, second = _core.Emulator(), _core.Emulator("so101-leader")
    candidates = {path: port(path, "") for path in (first.port, second.port, "/dev/ttyNONE7")}
    monkeypatch.setattr(find_port, "ports", lambda: candidates)
    screen = Screen(lambda step: second.set_register(4, 56, (1234).to_bytes(2, "little")))
    chosen = Selected("robot", "so101", So101Config())
    assert find_port.moved(DeviceChoice(robot=chosen), screen) == second.port
    assert any("wrist_flex" in line for line in screen.lines)
    assert any("no serial port /dev/ttyNONE7" in line for line in screen.lines)
    with pytest.raises(InputError, match="nothing moved"):
        find_port.moved(DeviceChoice(robot=chosen), Screen())
    for emulator in (first, second):
        assert emulator.statistics()["writes"] == 0
        emulator.close()


def test_the_emulated_arm_is_found_by_its_emulated_person(capsys):
    assert main(["find-port", "--robot", "so101", "--robot.port", "sim"]) == 0
    assert "the arm that was moved is on sim" in capsys.readouterr().out


def test_an_arm_that_stands_is_released_without_being_moved():
    arm = _core.Emulator()
    for motor in range(1, 7):
        arm.set_register(motor, 40, b"\x01")
        arm.set_register(motor, 55, b"\x00")  # as LeRobot leaves it
    before, asked = arm.goals(), []
    release(So101Config(port=arm.port), Screen(asked.append), leader=False)
    assert asked == ["hold"]
    assert [arm.registers(motor)[40] for motor in range(1, 7)] == [0] * 6
    assert [arm.registers(motor)[55] for motor in range(1, 7)] == [1] * 6
    assert len(arm.goals()) == len(before)
    arm.close()


def test_a_motor_that_does_not_answer_keeps_no_other_from_being_released():
    arm = _core.Emulator()
    for motor in range(1, 7):
        arm.set_register(motor, 40, b"\x01")
        arm.set_register(motor, 55, b"\x00")
    arm.fault("mute", id=3)
    with pytest.raises(RlError, match=r"still energised: elbow_flex \(id 3\): no reply; "):
        release(So101Config(port=arm.port), Screen(), leader=False)
    assert [arm.registers(motor)[40] for motor in (1, 2, 4, 5, 6)] == [0] * 5
    assert [arm.registers(motor)[55] for motor in (1, 2, 4, 5, 6)] == [1] * 5
    arm.close()


@pytest.fixture
def standing(monkeypatch, place):
    """An arm under torque, and no terminal."""
    arm = _core.Emulator()
    for motor in range(1, 7):
        arm.set_register(motor, 40, b"\x01")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    yield arm
    arm.close()


def test_without_a_terminal_the_arm_is_released_by_whoever_says_that_it_is_held(standing, capsys):
    words = ["release", "--robot", "so101", "--robot.port", standing.port]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "there is no terminal in which a person can be asked" in error
    assert "--held true" in error
    assert [standing.registers(motor)[40] for motor in range(1, 7)] == [1] * 6
    assert main([*words, "--held", "true"]) == 0
    assert [standing.registers(motor)[40] for motor in range(1, 7)] == [0] * 6


def test_without_a_terminal_a_version_is_restored_by_whoever_says_that_the_arm_is_held(standing, place, capsys):
    folder = place / "robots" / "so_follower"
    folder.mkdir(parents=True)
    (folder / "arm.json").write_text(calibration.text(calibration.of_core(standing.calibration())))
    words = ["calibrate", "--robot", "so101", "--robot.port", standing.port, "--robot.id", "arm", "--roll-back", "1"]
    assert main(words) == 2
    assert "--held true" in capsys.readouterr().err
    assert main([*words, "--held", "true"]) == 0
    assert [standing.registers(motor)[40] for motor in range(1, 7)] == [0] * 6


def test_held_answers_nothing_but_that_the_arm_is_held(standing, capsys):
    words = ["calibrate", "--robot", "so101", "--robot.port", standing.port, "--robot.id", "arm", "--held", "true"]
    assert main(words) == 2
    assert "--held" not in capsys.readouterr().err


def test_in_a_terminal_each_step_has_the_screen_with_what_was_found_before_it(monkeypatch, capsys):
    master, slave = pty.openpty()
    with os.fdopen(slave, "r", closefd=True) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        screen = TerminalScreen()
        screen.result("pass", "six motors")
        screen.begin("one", "Do this.")
        screen.result("fail", "elbow was not moved")
        screen.begin("two", "Do that.")
        screen.begin("three", "And that.")
    os.close(master)
    first, second, third = capsys.readouterr().out.split("\x1b[2J\x1b[H")
    assert first == "pass six motors\n\n1. Do this.\nFAIL elbow was not moved\n"
    assert second == "FAIL elbow was not moved\n\n2. Do that.\n"
    assert third == "\n3. And that.\n"


def test_a_port_that_somebody_else_has_is_not_blamed_on_the_supply(capsys):
    arm = _core.Emulator()
    bus = _core.SetupBus(arm.port, "sts3215", {})
    bus.open(1_000_000)
    try:
        assert main(["find-port", "--robot", "so101", "--robot.port", arm.port]) == 3
    finally:
        bus.close()
        arm.close()
    captured = capsys.readouterr()
    assert "in use" in captured.out
    assert "no port can be read; see the lines above" in captured.err
    assert "supply" not in captured.err


def test_the_command_asks_to_hold_the_arm(capsys):
    assert main(["release", "--robot", "so101", "--robot.port", "sim"]) == 0
    assert "no motor has torque" in capsys.readouterr().out
    assert main(["release"]) == 2
