"""The gamepad, with a pad that is a list of what a person does."""

import threading
import time

import numpy as np
import pytest

from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import Axis, Snapshot
from rl.plugins.gamepad.config import JOINTS, GamepadConfig
from rl.plugins.gamepad.gamepad import Gamepad, deflections
from rl.plugins.gamepad.pad import SdlPad, Touch
from rl.testing.teleoperator import check_teleoperator
from tests.fixtures.robots.rig import check_locked_out, rig, soon


class Hands:
    """A pad; `touch` is what it says, None: it is gone."""

    def __init__(self):
        self.touch = Touch()
        self.opened = self.closed = 0

    def open(self):
        self.opened += 1

    def poll(self):
        return self.touch

    def close(self):
        self.closed += 1

    def push(self, *buttons, **axes):
        self.touch = Touch(axes, frozenset(buttons))


def seen(values=(0, -30, 40, 40, 0, 50)):
    return Snapshot(np.array(values, np.float32), time.monotonic_ns(), np.zeros(6, np.float32))


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def pad(hands):
    one = Gamepad(GamepadConfig(), hands)
    one.connect()
    one.attach([Axis(name, "degrees", -90, 99, 240, 4000) for name in JOINTS], lambda: None)
    one.follow(seen())
    one.read()
    yield one
    one.close()


def wish(pad, turns=10):
    """The wish after some reads of 10 ms, beside an arm that stands still."""
    for _ in range(turns):
        time.sleep(0.01)
        pad.follow(seen())
        found = pad.read().values
    return found


def test_the_gamepad_keeps_the_contract():
    pytest.importorskip("pygame", reason="the extra gamepad (pygame) is not installed")
    check_teleoperator("gamepad", port="sim")


def test_nothing_moves_unless_the_shoulder_button_is_held(pad, hands):
    hands.push(left_x=1, left_y=-1, right_trigger=1)
    assert wish(pad).tolist() == seen().values.tolist()
    hands.push("left_shoulder", left_y=-1)
    assert soon(lambda: np.abs(wish(pad, 1) - seen().values).max() > 0.5)
    hands.push(left_y=-1)  # let go of: at rest within a tenth of a second
    wish(pad, 30)
    assert wish(pad).tolist() == wish(pad).tolist()


def test_the_left_stick_pushes_the_tool_straight_ahead(pad, hands):
    from rl import _core

    chain = _core.Kinematics("so101")
    hands.push("left_shoulder", left_y=-1)
    before = chain.pose(np.radians(seen().values[:5]))
    assert soon(lambda: chain.pose(np.radians(wish(pad, 1)[:5]))[0] - before[0] > 0.01)
    after = chain.pose(np.radians(wish(pad, 1)[:5]))
    assert np.abs(after - before)[1:].max() < 1e-3


def test_in_joint_mode_a_stick_is_a_joint(pad, hands):
    hands.push("y")
    wish(pad, 1)
    assert pad.mode == "joints"
    assert pad.status == "gamepad: joints"
    hands.push("left_shoulder", "up", left_x=1)
    assert soon(lambda: wish(pad, 1)[0] > 1)
    moved = wish(pad) - seen().values
    assert moved[3] < -1
    assert moved[[1, 2, 4, 5]].tolist() == [0] * 4


def test_triggers_open_and_close(pad, hands):
    hands.push("left_shoulder", left_trigger=1)
    assert soon(lambda: wish(pad, 1)[5] > 51)
    hands.push("left_shoulder", right_trigger=1)
    assert soon(lambda: wish(pad, 1)[5] < 49)


def test_buttons_are_events_once(pad, hands):
    hands.push("a", "x", "start")
    assert pad.read().events == {"success", "rerecord", "stop"}
    assert pad.read().events == frozenset()


def test_the_e_stop_needs_no_other_button(hands):
    stopped = threading.Event()
    pad = Gamepad(GamepadConfig(), hands)
    pad.connect()
    pad.attach([Axis(name, "degrees", -90, 90, 240, 4000) for name in JOINTS], stopped.set)
    pad.follow(seen())
    hands.push("b")
    assert pad.read().events == {"e-stop"}
    assert stopped.is_set()


def test_nothing_it_says_moves_an_arm_after_the_e_stop(hands):
    def press(on):
        hands.push(*(["left_shoulder"] * on), left_x=-1.0)

    def stop():
        hands.push("b", "left_shoulder", left_x=-1.0)
        time.sleep(0.1)
        press(True)

    check_locked_out(Gamepad(GamepadConfig(mode="joints"), hands), press, stop)


def test_a_pad_that_goes_away_holds_the_arm(hands):
    with rig(Gamepad(GamepadConfig(), hands)) as it:
        assert it.arm()
        hands.touch = None
        with pytest.raises(RlError, match="gamepad is gone"):
            soon(it.source.poll, 5)
        assert it.state("HOLD")


@pytest.mark.parametrize("value", [0.05, -0.11, float("nan"), float("inf")])
def test_what_is_no_push_is_none(value):
    assert deflections(Touch({"left_x": value, "left_trigger": value / 10}), 0.12)["left_x"] == 0


def test_a_stick_is_fine_near_the_middle_and_whole_at_its_end():
    ways = [deflections(Touch({"left_x": at}), 0.1)["left_x"] for at in (-3.0, -1.0, 0.2, 0.55, 1.0)]
    assert ways[:2] == [-1, -1]
    assert 0 < ways[2] < 0.02
    assert ways[3] == pytest.approx(0.25)
    assert ways[4] == 1


def test_a_state_of_another_layout_is_refused(pad):
    with pytest.raises(InputError, match="laid out"):
        pad.follow(Snapshot(np.zeros(3, np.float32), 0, np.zeros(3, np.float32)))


def test_without_a_gamepad_it_says_so():
    pytest.importorskip("pygame", reason="the extra gamepad (pygame) is not installed")
    pad = SdlPad("99")
    with pytest.raises(MissingPart, match="there is no gamepad 99"):
        pad.open()
    pad.close()


def test_a_port_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="no number"):
        SdlPad("/dev/input/js0").open()


def test_what_sdl_says_of_a_pad_arrives_under_our_names(monkeypatch):
    """pygame itself with SDL's dummy driver; only the device is pretended."""
    pygame = pytest.importorskip("pygame", reason="the extra gamepad (pygame) is not installed")
    from pygame._sdl2 import controller

    class Device:
        present, quits = True, 0

        def __init__(self, number):
            assert number == 1  # 0 is a joystick that is no gamepad

        def attached(self):
            return self.present

        def get_axis(self, number):
            return {pygame.CONTROLLER_AXIS_LEFTX: -32768, pygame.CONTROLLER_AXIS_TRIGGERRIGHT: 32767}.get(number, 0)

        def get_button(self, number):
            return number in (pygame.CONTROLLER_BUTTON_B, pygame.CONTROLLER_BUTTON_DPAD_UP)

        def quit(self):
            Device.quits += 1

    monkeypatch.setattr(pygame.joystick, "get_count", lambda: 2)
    monkeypatch.setattr(controller, "is_controller", lambda number: number == 1)
    monkeypatch.setattr(controller, "Controller", Device)
    pad = SdlPad("0")
    pad.open()
    try:
        touch = pad.poll()
        assert touch.buttons == {"b", "up"}
        assert touch.axes["left_x"] == pytest.approx(-1, abs=1e-3)
        assert touch.axes["right_trigger"] == 1
        assert touch.axes["right_y"] == 0
        Device.present = False
        assert pad.poll() is None
    finally:
        pad.close()
        pad.close()
    assert Device.quits == 1
