"""The keyboard: driven through a pseudo-terminal as by a person."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time

import numpy as np
import pytest

from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import Axis, Snapshot
from rl.cli.main import main
from rl.control.settings import STATES
from rl.plugins.keyboard.config import KeyboardConfig
from rl.plugins.keyboard.keyboard import Keyboard
from rl.plugins.keyboard.keys import Decoder, Held
from rl.testing.teleoperator import check_teleoperator
from tests.fixtures.robots.rig import check_locked_out, rig, soon


class Typist:
    """A terminal and who types on it. `hold` repeats a key as a terminal does."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.port = os.ttyname(self.slave)
        self._held = b""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()

    def type(self, keys):
        os.write(self.master, keys)

    def hold(self, key):
        self._held = key

    def attributes(self):
        return termios.tcgetattr(self.slave)

    def hang_up(self):
        os.close(self.master)
        self.master = -1

    def close(self):
        self._over.set()
        self._thread.join()
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)

    def _repeat(self):
        while not self._over.wait(0.03):
            if self._held:
                os.write(self.master, self._held)


@pytest.fixture
def typist():
    one = Typist()
    yield one
    one.close()


def seen(values=(0, 0, 0, 0, 0, 50)):
    return Snapshot(np.array(values, np.float32), time.monotonic_ns(), np.zeros(6, np.float32))


def axes(**options):
    names = KeyboardConfig().joints
    return [Axis(name, "degrees", -90, 90, 240, 4000, **options) for name in names]


@pytest.fixture
def keyboard(typist):
    one = Keyboard(KeyboardConfig(port=typist.port))
    one.connect()
    one.attach(axes(), lambda: None)
    one.follow(seen())
    yield one
    one.close()


def wish(keyboard, snapshot=None):
    keyboard.follow(snapshot or seen())
    return keyboard.read().values


def test_the_keyboard_keeps_the_contract_on_a_terminal(typist):
    check_teleoperator("keyboard", port=typist.port)


def test_the_keyboard_keeps_the_contract_without_one():
    check_teleoperator("keyboard", port="sim")


def test_a_held_key_moves_its_joint_and_a_released_one_nothing(typist, keyboard):
    typist.hold(b"q")
    assert soon(lambda: wish(keyboard)[0] > 3)
    typist.hold(b"")
    time.sleep(0.4)
    stood = wish(keyboard)
    time.sleep(0.1)
    assert wish(keyboard).tolist() == stood.tolist()
    assert stood[1:].tolist() == [0, 0, 0, 0, 50]


def test_the_wish_stays_near_the_arm(typist, keyboard):
    typist.hold(b"q")
    assert soon(lambda: wish(keyboard)[0] == 15)
    time.sleep(0.2)
    assert wish(keyboard)[0] == 15


def test_a_digit_and_the_arrows_move_a_joint(typist, keyboard):
    typist.type(b"3")
    typist.hold(b"\x1b[B")
    assert soon(lambda: wish(keyboard)[2] < -2)
    assert wish(keyboard)[[0, 1, 3, 4]].tolist() == [0] * 4


def test_tab_goes_over_to_the_tool(typist, keyboard):
    from rl import _core

    chain = _core.Kinematics("so101")
    bent = seen((0, -30, 40, 40, 0, 50))
    keyboard.forget()
    keyboard.follow(bent)
    before = chain.pose(np.radians(keyboard.read().values[:5]))
    typist.type(b"\t")
    typist.hold(b"r")
    assert soon(lambda: chain.pose(np.radians(wish(keyboard, bent)[:5]))[2] > before[2] + 0.01)
    after = chain.pose(np.radians(wish(keyboard, bent)[:5]))
    assert np.abs(after - before)[[0, 1, 3, 4]].max() < 1e-3


def test_plus_and_minus_change_the_pace_within_bounds(typist, keyboard):
    typist.type(b"+" * 30)
    assert soon(lambda: keyboard.pace == 4)
    typist.type(b"-" * 60)
    assert soon(lambda: keyboard.pace == 0.1)


def test_mode_speed_and_chosen_joint_are_told_as_they_are(typist, keyboard):
    assert keyboard.status == "keyboard: joints, 30 deg/s, gripper 60 %/s; arrows: shoulder_pan"
    typist.type(b"+3")
    assert soon(lambda: keyboard.status == "keyboard: joints, 45 deg/s, gripper 90 %/s; arrows: elbow_flex")
    typist.type(b"\t")
    assert soon(lambda: keyboard.status == "keyboard: tool, 90 mm/s, gripper 90 %/s")


def test_the_notes_are_true_in_either_mode_and_promise_no_episodes():
    both = " ".join(Keyboard(KeyboardConfig()).notes)
    assert "keyboard, joints: q a shoulder_pan" in both
    assert "keyboard, tool: w s" in both
    assert "episode" not in both
    other = " ".join(Keyboard(KeyboardConfig(units="range_m100_100")).notes)
    assert "tool" not in other


def test_two_arms_are_refused_with_what_leads_them(capsys):
    arms = ["--robot", "so101", "--robot.arms.left.port", "sim", "--robot.arms.right.port", "sim"]
    for words in (["keyboard"], ["gamepad", "--teleop.port", "sim"], ["scripted"]):
        assert main(["teleop", *arms, "--teleop", *words]) == 2
        error = capsys.readouterr().err
        assert "leads one arm, the robot has 2: left, right; lead each by a leader arm" in error
        assert error.count("\n") == 1
    joints = ",".join(f"{side}_{name}" for side in ("left", "right") for name in KeyboardConfig().joints)
    assert main(["teleop", *arms, "--teleop", "keyboard", "--teleop.joints", joints]) == 2
    assert "the keyboard leads one arm; lead two arms by leader arms" in capsys.readouterr().err


def test_keys_are_events_once(typist, keyboard):
    typist.type(b"\r\x7f")
    found = set()
    assert soon(lambda: found.update(keyboard.read().events) or len(found) == 2)
    assert found == {"success", "rerecord"}
    assert keyboard.read().events == frozenset()


def test_the_e_stop_does_not_wait_for_a_reader(typist):
    stopped = threading.Event()
    keyboard = Keyboard(KeyboardConfig(port=typist.port))
    keyboard.connect()
    try:
        keyboard.attach(axes(), stopped.set)
        typist.type(b" ")
        assert stopped.wait(5)  # nobody called read()
        keyboard.follow(seen())
        assert "e-stop" in keyboard.read().events
    finally:
        keyboard.close()


def test_a_keyboard_that_is_deaf_leads_nobody(typist):
    def broken():
        raise KeyError("loop")

    keyboard = Keyboard(KeyboardConfig(port=typist.port))
    keyboard.connect()
    try:
        keyboard.attach(axes(), broken)
        keyboard.follow(seen())
        typist.type(b" ")
        with pytest.raises(RlError, match="KeyError"):
            assert not soon(lambda: keyboard.read() is None, 5)
    finally:
        keyboard.close()


def test_nothing_it_says_moves_an_arm_after_the_e_stop(typist):
    keyboard = Keyboard(KeyboardConfig(port=typist.port, speed=60))
    check_locked_out(keyboard, lambda on: typist.hold(b"q" if on else b""), lambda: typist.type(b" "))


def test_from_the_key_to_the_stop_on_the_wire_it_takes_less_than_two_cycles():
    took = []
    while len(took) < 9 and sum(one < 40e6 for one in took) < 3:  # a host may stand still for once, or twice
        typist = Typist()
        try:
            with rig(Keyboard(KeyboardConfig(port=typist.port, speed=60))) as it:
                assert it.arm()
                before = it.goal
                typist.hold(b"q")
                assert it.moved(before)
                typed = time.monotonic_ns()
                typist.type(b" ")
                assert it.state("ESTOP")
                assert soon(lambda it=it: (it.core.records(-1)["state"] == STATES.index("ESTOP")).any())
                records = it.core.records(-1)
                took.append(records["wrote"][records["state"] == STATES.index("ESTOP")][0] - typed)
        finally:
            typist.close()
    assert sum(one < 40e6 for one in took) == 3, took


def test_a_wish_never_comes_from_nowhere(typist):
    keyboard = Keyboard(KeyboardConfig(port=typist.port))
    keyboard.connect()
    try:
        keyboard.attach(axes(), lambda: None)
        with pytest.raises(RlError, match="pose is not known"):
            keyboard.read()
    finally:
        keyboard.close()


def test_the_terminal_is_as_it_was_after_closing(typist):
    before = typist.attributes()
    keyboard = Keyboard(KeyboardConfig(port=typist.port))
    keyboard.connect()
    during = typist.attributes()
    keyboard.close()
    keyboard.close()
    assert not during[3] & (termios.ICANON | termios.ECHO)
    assert during[3] & termios.ISIG
    assert typist.attributes() == before


def test_a_terminal_that_goes_ends_the_reading(typist, keyboard):
    typist.hang_up()
    with pytest.raises(RlError, match="terminal is gone"):
        assert not soon(lambda: keyboard.read() is None, 5)


def test_a_terminal_that_goes_holds_no_arm_up(typist):
    with rig(Keyboard(KeyboardConfig(port=typist.port))) as it:
        assert it.arm()
        typist.hang_up()
        with pytest.raises(RlError, match="terminal is gone"):
            soon(it.source.poll, 5)
        assert it.state("HOLD")


@pytest.mark.parametrize(
    ("port", "error", "said"),
    [("/dev/no-terminal", MissingPart, "ssh -t"), ("/dev/null", InputError, "no terminal")],
)
def test_what_is_no_terminal_is_refused(port, error, said):
    keyboard = Keyboard(KeyboardConfig(port=port))
    with pytest.raises(error, match=said):
        keyboard.connect()
    keyboard.close()


def test_wheels_are_refused(typist):
    keyboard = Keyboard(KeyboardConfig(port="sim"))
    keyboard.connect()
    with pytest.raises(InputError, match="velocity"):
        keyboard.attach(axes(starve="zero"), lambda: None)


@pytest.mark.parametrize(
    "options",
    [
        {"joints": ()},
        {"joints": ("a", "a")},
        {"mode": "tool", "units": "range_m100_100"},
        {"joints": tuple("abcdefghijk")},
    ],
)
def test_options_that_do_not_fit_are_refused(options):
    with pytest.raises(InputError):
        KeyboardConfig(**options)


@pytest.mark.parametrize(
    ("pieces", "keys"),
    [
        ([b"aQ ;"], ["a", "q", "space", ";"]),
        ([b"\x1b", b"[", b"A"], ["up"]),
        ([b"\x1bOD\x1b[1;5Cq"], ["left", "q"]),
        ([b"\x1b[200~w"], ["w"]),
        ([b"\xc3\xa9\x00\xffr"], ["r"]),
        ([b"\x1b[" + b"1" * 40 + b"e"], ["1"] * 26 + ["e"]),
    ],
)
def test_bytes_become_keys(pieces, keys):
    decoder = Decoder()
    assert [key for piece in pieces for key in decoder.feed(piece)] == keys


def test_a_lone_escape_takes_no_key_with_it():
    decoder = Decoder()
    assert decoder.feed(b"\x1b") == []
    decoder.quiet()
    assert decoder.feed(b"[") == ["["]


def test_random_bytes_break_nothing():
    decoder, random = Decoder(), np.random.default_rng(3)
    found = [decoder.feed(random.bytes(int(n))) for n in random.integers(0, 40, 2000)]
    assert sum(map(len, found)) > 1000
    assert all(isinstance(key, str) and key for keys in found for key in keys)


def test_a_key_is_held_for_a_moment_after_it_was_heard():
    held = Held()
    held.press("q", 10.0)
    assert held.at(10.1) == {"q"}
    assert held.at(10.2) == set()
    held.press("q", 10.3)
    held.release_all()
    assert held.at(10.3) == set()


# --- the command


def teleop(typist, *words):
    command = [sys.executable, "-m", "rl.cli.main", "teleop", "--robot", "so101", "--robot.port", "sim"]
    command += ["--teleop", "keyboard", "--teleop.port", typist.port, *words]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def raw(typist):
    return soon(lambda: not typist.attributes()[3] & termios.ICANON, 30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_it_was_after_a_signal(typist, number):
    before = typist.attributes()
    with teleop(typist) as child:
        assert raw(typist)
        time.sleep(0.3)
        child.send_signal(number)
        assert child.wait(timeout=30) == 130
        assert "Traceback" not in child.stdout.read()
    assert typist.attributes() == before


def test_x_ends_the_session_by_the_stop_policy_and_space_as_a_failure(typist):
    before = typist.attributes()
    for key, code, said in ((b"x", 0, "reached rate"), (b" ", 1, "emergency stop")):
        with teleop(typist) as child:
            assert raw(typist)
            until = time.monotonic() + 40
            while child.poll() is None and time.monotonic() < until:
                typist.type(key)
                time.sleep(0.3)
            assert child.wait(timeout=1) == code
            assert said in child.stdout.read()
        assert typist.attributes() == before
