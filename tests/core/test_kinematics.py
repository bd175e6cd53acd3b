"""The kinematics of the SO-101 as Python sees them, against the whole table of reference poses."""

import json

import numpy as np
import pytest

from rl import _core

ARM = _core.Kinematics("so101")


@pytest.fixture(scope="module")
def table(shared):
    return json.loads((shared / "facts" / "so101_kinematics.json").read_text())


def matrix(w, x, y, z):
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_the_tool_is_within_a_hundredth_of_a_millimetre_of_the_reference(table):
    off, turned = [], []
    for row in table["reference"]["rows"]:
        point, rotation = ARM.tool(np.radians(row[:5]))
        off.append(np.linalg.norm(point - row[6:9]))
        turned.append(np.abs(rotation - matrix(*row[9:13])).max())
    assert len(off) >= 60
    assert max(off) < 1e-5
    assert max(turned) < 1e-5


def test_the_jacobian_is_the_references(table):
    rows = table["reference"]["rows"]
    worst = [
        np.abs(ARM.jacobian(np.radians(rows[item["row"]][:5])) - np.array(item["jacobian"])).max()
        for item in table["jacobians"]["items"]
    ]
    assert len(worst) >= 4
    assert max(worst) < 1e-5


def test_limits_are_the_tables(table):
    wanted = np.array([joint["limit_rad"] for joint in table["joints"][:5]]).T
    assert np.abs(ARM.limits - wanted).max() < 1e-6


def test_the_inverse_finds_the_way_back_within_narrower_limits():
    low, high = ARM.limits * 0.8
    random = np.random.default_rng(1)
    for _ in range(100):
        wanted = random.uniform(low, high)
        seed = np.clip(wanted + random.normal(0, 0.1, 5), low, high)
        found, metres, radians = ARM.solve(ARM.pose(wanted), seed, low, high)
        assert (found >= low - 1e-12).all()
        assert (found <= high + 1e-12).all()
        assert metres < 1e-4
        assert radians < 1e-3


@pytest.mark.parametrize("q", [np.zeros(4), np.zeros(6), np.zeros((2, 3))])
def test_a_pose_of_another_length_is_refused(q):
    with pytest.raises(ValueError, match="5 values"):
        ARM.tool(q)
    with pytest.raises(ValueError, match="5 values"):
        ARM.jacobian(q)


def test_an_unknown_arm_is_refused():
    with pytest.raises(ValueError, match="so101"):
        _core.Kinematics("so102")
    with pytest.raises(ValueError, match="so101"):
        _core.Jog(np.zeros(1), np.ones(1), np.ones(1), "x")


def test_jogs_vectors_are_of_one_length():
    with pytest.raises(ValueError, match="high has not 2"):
        _core.Jog(np.zeros(2), np.ones(1), np.ones(2))
    jog = _core.Jog(np.zeros(2), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="speeds has not 2"):
        jog.move_joints(np.zeros(3), 0.1)
    assert not jog.move_tool(np.zeros(5), np.zeros(2), 0.1)  # it knows no chain
