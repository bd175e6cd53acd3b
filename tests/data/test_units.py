"""What decides the unit of a joint, and what does not."""

import numpy as np
import pytest

from rl.api import Feature, InputError
from rl.data.units import decide_units, explain_units
from tests.data.toy import ToyReader


def reader(reach: float, *, unit="unstated", robot="so101_follower", names=("shoulder_pan.pos", "gripper.pos")):
    made = ToyReader()
    made.info = make_info(made.info, unit, robot, names)
    made.rows = lambda indices, columns: {c: np.full((len(indices), 2), reach, np.float32) for c in columns}
    return made


def make_info(info, unit, robot, names):
    from dataclasses import replace

    features = {"action": Feature("action", "action", (2,), unit=unit, names=names)}
    return replace(info, features=features, robot=robot)


@pytest.mark.parametrize("wanted", ["degrees", "range_m100_100"])
def test_an_option_decides_for_the_body_and_grippers_are_percent(wanted):
    assert decide_units(reader(50), wanted) == (wanted, "percent")


def test_another_word_is_no_unit():
    with pytest.raises(InputError, match="radians"):
        decide_units(reader(50), "radians")


def test_a_recorders_note_decides():
    assert explain_units(reader(50, unit=("range_m100_100", "percent"))) == (("range_m100_100", "percent"), "record")


def test_a_body_joint_beyond_a_hundred_proves_degrees():
    assert explain_units(reader(104.0)) == (("degrees", "percent"), "ranges")


@pytest.mark.parametrize(
    "made",
    [
        reader(99.9),
        reader(100.0),
        reader(2000.0),
        reader(104.0, robot="lingzu"),
        reader(104.0, names=("joint_1.pos", "gripper.pos")),
        reader(104.0, names=()),
    ],
    ids=["within", "at the end", "beyond a turn", "another robot", "other joints", "no names"],
)
def test_what_proves_nothing_leaves_the_unit_unstated(made):
    assert explain_units(made) == ("unstated", "nothing")


def test_the_real_set_that_fits_both_stays_unstated(shared):
    from rl.plugins.lerobot_format.reader import LeRobotReader

    assert decide_units(LeRobotReader(shared / "data" / "so101-wrist-v30")) == "unstated"
