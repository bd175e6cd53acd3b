"""Setting motors up one at a time: what is found, what is changed, what stops it."""

import pytest

from rl import _core
from rl.api import InputError, RlError
from rl.plugins.so101 import JOINTS
from rl.plugins.so101.config import So101Config
from rl.plugins.so101.person import SimulatedPerson
from rl.plugins.so101.robot import So101


class Log:
    def __init__(self):
        self.lines = []

    def show(self, rows):
        self.lines += rows

    def result(self, mark, what, todo=""):
        self.lines.append(f"{mark}: {what}" + (f"; {todo}" if todo else ""))

    def said(self, text):
        return any(text in line for line in self.lines)


class Person(SimulatedPerson):
    """`plugged(which)` may do something else, or more, than plugging one motor in."""

    def __init__(self, emulator):
        super().__init__(Log(), emulator)
        self.plugged = lambda which: None
        self.asked = []

    def _plug(self, which):
        super()._plug(which)
        self.asked.append(which)
        self.plugged(which)


@pytest.fixture
def arm():
    emulator = _core.Emulator()
    yield emulator
    assert emulator.statistics()["goal_writes"] == 0
    assert [emulator.registers(i)[40] for i in range(1, 7)] == [0] * 6
    emulator.close()


@pytest.fixture
def person(arm):
    return Person(arm)


@pytest.fixture
def robot(arm):
    return So101(So101Config(port=arm.port))


@pytest.fixture
def first_only(monkeypatch):
    """The gripper alone is set up: one motor shows what a find says."""
    monkeypatch.setattr("rl.plugins.so101.motors.JOINTS", ("gripper",))


def test_six_new_motors_get_their_ids_the_gripper_first(arm, person, robot):
    robot.set_up(person)
    assert person.asked == [*reversed(JOINTS), "all"]
    assert [arm.registers(place)[5] for place in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert [arm.registers(place)[55] for place in range(1, 7)] == [1] * 6
    assert person.screen.said("note: found id 1 at 1000000 baud, sts3215, firmware 3.10")
    assert person.screen.said("pass: gripper is id 6: id 1 -> 6")
    assert person.screen.said("pass: 6 motors answer together")


def test_a_motor_at_another_rate_is_found_and_changed(arm, person, robot, first_only):
    person.plugged = lambda which: arm.set_register(6, 6, bytes([1])) if which == "gripper" else None
    robot.set_up(person)
    assert person.screen.said("listening at 500000 baud")
    assert person.screen.said("found id 1 at 500000 baud")
    assert person.screen.said("id 1 -> 6, baud rate code 1 -> 0")
    assert arm.registers(6)[6] == 0


def test_more_than_one_motor_is_said_and_asked_for_again(arm, person, robot, first_only):
    def plugged(which):
        if len(person.asked) == 1:
            arm.fault("unmute", id=2)
        if len(person.asked) == 2:
            arm.fault("unmute", id=3)
            arm.set_register(3, 5, bytes([1]))
        if which == "all":
            arm.set_register(3, 5, bytes([3]))

    person.plugged = plugged
    robot.set_up(person)
    assert person.asked == ["gripper"] * 3 + ["all"]
    assert person.screen.said("fail: 2 motors answer (ids 1, 2); unplug all but one")
    assert person.screen.said("fail: two motors with id 1?; unplug all but one")


def test_a_motor_of_another_model_stays_as_it_is(arm, person, robot, first_only):
    arm.fault("model", id=6, number=2825)
    with pytest.raises(InputError, match=r"id 1 is model sts3250 \(2825\), not sts3215.*nothing was changed"):
        robot.set_up(person)
    assert arm.statistics()["eeprom_writes"] == 0


def test_no_motor_at_any_rate_ends_it_with_what_to_check(arm, person, robot, first_only, monkeypatch):
    monkeypatch.setattr(_core, "SCAN_RATES", (1_000_000, 115_200))
    monkeypatch.setattr("rl.plugins.so101.motors.ROUNDS", 1)
    person.plugged = lambda which: arm.fault("mute", id=6)
    with pytest.raises(RlError, match=r"no motor answers at any rate.*supply"):
        robot.set_up(person)
