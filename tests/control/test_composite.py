"""Several robots as one."""

from dataclasses import replace

import numpy as np
import pytest

from rl.api import Feature, InputError, RlError
from rl.api.protocols import Snapshot
from rl.control.composite import Composite, CompositeTeleoperator, joined
from rl.control.limits import loosened
from rl.control.settings import Settings
from tests.fixtures.robots.machines import Base, Fixed, VendorArm


def test_names_are_prefixed_units_kept_and_slices_shifted():
    robot = Composite({"left": VendorArm(), "base": Base()})
    assert robot.action.names == ("left_shoulder.pos", "left_elbow.pos", "base_x.vel", "base_theta.vel")
    assert robot.action.units == ("deg", "deg", "m/s", "deg/s")
    assert [axis.name for axis in robot.axes] == list(robot.action.names)
    assert [axis.starve for axis in robot.axes] == ["hold", "hold", "zero", "zero"]
    assert robot.spans == [slice(0, 2), slice(2, 4)]


def test_an_axis_of_a_part_keeps_all_but_its_name():
    class Fast(VendorArm):
        def __init__(self):
            super().__init__()
            self.axes = tuple(replace(axis, usual_speed=100.0, max_jerk=7.0) for axis in self.axes)

    one, both = Fast(), Composite({"left": Composite({"inner": Fast()}), "right": Fast()})
    assert [replace(axis, name=one.axes[at % 2].name) for at, axis in enumerate(both.axes)] == [*one.axes] * 2
    assert len(loosened(both.axes, Settings())) == 4


def test_compositions_nest():
    inner = Composite({"left": VendorArm(), "right": VendorArm()})
    robot = Composite({"arms": inner, "base": Base()})
    assert robot.action.names[2] == "arms_right_shoulder.pos"
    assert robot.action.shape == (6,)


def test_a_command_goes_to_its_part_and_the_states_come_back_joined():
    left, right = VendorArm(), VendorArm()
    robot = Composite({"left": left, "right": right})
    robot.connect()
    robot.command(np.array([1, 2, 3, 4], np.float32), 0)
    assert left.values.tolist() == [1, 2]
    assert right.values.tolist() == [3, 4]
    assert robot.snapshot().values.tolist() == [1, 2, 3, 4]


def test_the_age_of_the_older_part_counts_from_the_newest():
    early, late = VendorArm(), VendorArm()
    robot = Composite({"early": early, "late": late})
    robot.connect()
    assert robot.snapshot().age[0] > 0
    assert robot.snapshot().age[3] == 0


def test_a_part_that_cannot_connect_closes_the_others():
    class Broken(VendorArm):
        def connect(self):
            raise RlError("no reply", where="right")

    left = VendorArm()
    with pytest.raises(RlError, match="no reply"):
        Composite({"left": left, "right": Broken()}).connect()
    assert not left.connected


def test_every_part_is_stopped_before_a_failure_is_reported():
    class Stuck(VendorArm):
        def stop(self, policy):
            raise RlError("does not stop")

    right = VendorArm()
    with pytest.raises(RlError, match="left: does not stop"):
        Composite({"left": Stuck(), "right": right}).stop("off")
    assert right.stops == ["off"]


def test_two_teleoperators_are_read_as_one():
    action = VendorArm().action
    both = CompositeTeleoperator({"left": Fixed(action, lambda: [1, 2]), "right": Fixed(action, lambda: [3, 4])})
    assert both.action.names[3] == "right_elbow.pos"
    assert both.read().values.tolist() == [1, 2, 3, 4]


def test_a_composition_of_nothing_is_refused():
    with pytest.raises(InputError):
        Composite({})


def test_a_joined_feature_without_names_has_none():
    parts = {"a": Feature("action", "action", (2,)), "b": Feature("action", "action", (1,), names=("x",))}
    assert joined("action", "action", parts).names == ()


def test_each_teleoperator_of_several_sees_its_own_arm_and_its_own_limits():
    class Attached(Fixed):
        forgot = 0

        def attach(self, axes, estop):
            self.axes, self.estop = axes, estop

        def forget(self):
            self.forgot += 1

    robot = Composite({"left": VendorArm(), "right": VendorArm()})
    left, right = Fixed(VendorArm().action, lambda: [0, 0]), Attached(VendorArm().action, lambda: [0, 0])
    both = CompositeTeleoperator({"left": left, "right": right})
    both.attach(robot.axes, lambda: "stopped")
    both.forget()
    both.follow(Snapshot(np.arange(4, dtype=np.float32), 1, np.zeros(4, np.float32), ("right_elbow: hot",)))
    assert [axis.name for axis in right.axes] == ["right_shoulder.pos", "right_elbow.pos"]
    assert right.estop() == "stopped"
    assert right.forgot == 1
    assert right.seen[0].values.tolist() == [2, 3]
    assert right.seen[0].faults == ("elbow: hot",)
    assert left.seen[0].values.tolist() == [0, 1]
