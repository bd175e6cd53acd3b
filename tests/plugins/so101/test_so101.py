"""SO-101 follower and leader: known before connecting, held to the contract, refused when they do not fit."""

import pytest

from rl.api import InputError, RlError
from rl.plugins.so101 import NAMES
from rl.plugins.so101.config import LeaderConfig, So101Config
from rl.plugins.so101.leader import So101Leader
from rl.plugins.so101.robot import So101
from rl.testing.robot import check_robot
from rl.testing.teleoperator import check_teleoperator


def test_the_follower_keeps_the_contract():
    check_robot("so101", port="sim")


def test_the_follower_keeps_the_contract_when_the_plug_is_pulled():
    check_robot("so101", port="sim", unplug=lambda robot: robot.emulator.fault("hangup"))


def test_the_leader_keeps_the_contract():
    check_teleoperator("so101-leader", port="sim")


def test_names_and_units_are_known_before_connecting():
    robot = So101(So101Config())
    assert robot.action.names == NAMES
    assert robot.action.units == ("degrees",) * 5 + ("percent",)
    assert So101(So101Config(use_degrees=False)).state.units[0] == "range_m100_100"


def test_limits_follow_the_calibration_and_the_units():
    degrees, scaled = So101(So101Config(port="sim")), So101(So101Config(port="sim", units="range_m100_100"))
    before = degrees.axes[0].high
    for robot in (degrees, scaled):
        robot.connect()
    try:
        assert degrees.axes[0].high != before
        assert degrees.axes[0].max_speed == 240
        assert degrees.leader_axes[0].max_speed == 300
        assert scaled.axes[0].high == pytest.approx(98)
        ratio = degrees.axes[0].high / scaled.axes[0].high
        assert scaled.axes[0].max_speed * ratio == pytest.approx(240)
        assert (degrees.axes[5].low, degrees.axes[5].high) == (1, 99)
    finally:
        degrees.close()
        scaled.close()


def test_a_speed_that_is_given_holds_for_leader_and_policy():
    robot = So101(So101Config(max_speed=60))
    assert robot.axes[0].max_speed == robot.leader_axes[0].max_speed == 60


def test_the_emulators_calibration_is_said_and_has_a_fingerprint():
    first, second = So101(So101Config(port="sim")), So101(So101Config(port="sim"))
    for robot in (first, second):
        robot.connect()
    try:
        assert any("port sim" in note and "calibration" in note for note in first.notes)
        assert first.fingerprint() == second.fingerprint() != ""
        assert first.rest_pose().shape == (6,)
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize("pose", [(500, 0, 0, 0, 0, 50), (0, 0, 0, 0, 0, 500), (0, -130, 0, 0, 0, 50)])
def test_a_rest_pose_beyond_the_range_is_refused_before_anything_moves(pose):
    robot = So101(So101Config(port="sim", rest_pose=pose))
    robot.connect()
    try:
        with pytest.raises(InputError, match=r"robot\.rest_pose.*is outside"):
            robot.rest_pose()
    finally:
        robot.close()


def test_a_rest_pose_at_the_stops_is_taken():
    robot = So101(So101Config(port="sim", rest_pose=(0, 0, 0, 0, 0, 0)))
    robot.connect()
    try:
        assert robot.rest_pose().tolist() == [0] * 6
    finally:
        robot.close()


def test_python_cannot_move_an_arm_of_the_core():
    robot = So101(So101Config(port="sim"))
    robot.connect()
    try:
        with pytest.raises(RlError, match="core's loop"):
            robot.command([0] * 6, 0)
    finally:
        robot.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"use_degrees": True, "units": "range_m100_100"}, "contradict"),
        ({"rest_pose": (0.0, 1.0)}, "6 joints"),
        ({"port": "x", "arms": {"left": So101Config()}}, "both given"),
    ],
)
def test_options_that_contradict_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        So101Config(**options)


def test_an_arm_without_a_port_says_what_to_give():
    with pytest.raises(InputError, match=r"--robot\.port"):
        So101(So101Config()).connect()
    with pytest.raises(InputError, match=r"--teleop\.port"):
        So101Leader(LeaderConfig()).connect()


def test_a_wrong_model_is_named(tmp_path):
    from rl import _core
    from rl.control.core_errors import translated
    from rl.plugins.so101 import calibration

    emulator = _core.Emulator("so101-follower")
    joints = {
        j.name: calibration.Joint(j.id, j.drive_mode, j.homing_offset, j.range_min, j.range_max)
        for j in emulator.calibration()
    }
    calibration.write(tmp_path / "x.json", joints)
    emulator.fault("model", id=2, number=1284)
    robot = So101(So101Config(port=emulator.port, id="x", calibration_dir=str(tmp_path)))
    try:
        with pytest.raises(InputError, match=r"shoulder_lift.*2"), translated():
            robot.connect()
    finally:
        robot.close()
        emulator.close()
