"""The scripted leader: files are checked, the clock starts at the first pose, the end is said."""

import time

import numpy as np
import pytest

from rl.api import InputError, RlError
from rl.api.protocols import Snapshot
from rl.control.core_errors import translated
from rl.plugins.scripted.config import ScriptedConfig
from rl.plugins.scripted.scripted import Scripted
from rl.testing.teleoperator import check_teleoperator
from tests.fixtures.robots.rig import rig, soon

POSES = """
- {t: 1.0, pose: [0, 0, 0, 0, 0, 50]}
- {t: 1.2, pose: [20, 0, 0, 0, 0, 10]}
"""


def seen(values=(0,) * 6):
    return Snapshot(np.array(values, np.float32), time.monotonic_ns(), np.zeros(6, np.float32))


def script(tmp_path, text, **options):
    path = tmp_path / "poses.yaml"
    path.write_text(text)
    return Scripted(ScriptedConfig(file=str(path), **options))


def test_the_scripted_leader_keeps_the_contract(tmp_path):
    check_teleoperator("scripted")
    (tmp_path / "p.yaml").write_text(POSES)
    check_teleoperator("scripted", file=str(tmp_path / "p.yaml"))


def test_the_clock_starts_when_the_arm_has_come(tmp_path):
    one = script(tmp_path, POSES)
    one.connect()
    one.follow(seen((40, 0, 0, 0, 0, 50)))
    one.read()
    time.sleep(0.3)
    assert one.read().values.tolist() == [0, 0, 0, 0, 0, 50]
    one.follow(seen((3, 0, 0, 0, 0, 50)))
    one.read()
    assert soon(lambda: "stop" in one.read().events, 5)
    assert one.read().values.tolist() == [20, 0, 0, 0, 0, 10]


def test_poses_are_joined_straight_and_repeated(tmp_path):
    one = script(tmp_path, POSES, repeat=0)
    one.connect()
    assert one.pose(0.1)[[0, 5]].tolist() == pytest.approx([10, 30])
    assert one.pose(0.3)[[0, 5]].tolist() == pytest.approx([10, 30])
    once = script(tmp_path, POSES)
    once.connect()
    assert once.pose(9.0)[0] == 20


def test_still_is_the_pose_that_it_found():
    one = Scripted(ScriptedConfig(motion="still"))
    one.connect()
    one.follow(seen((1, 2, 3, 4, 5, 6)))
    one.follow(seen((9, 9, 9, 9, 9, 9)))
    assert one.read().values.tolist() == [1, 2, 3, 4, 5, 6]


def test_the_wave_moves_an_arm_and_every_joint_of_it():
    with rig(Scripted(ScriptedConfig(motion="wave", speed=2))) as it:
        assert it.arm()
        poses = []
        assert soon(lambda: poses.append(it.goal) or np.ptp(poses, axis=0).min() > 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no list"),
        ("{}", "no list"),
        ("- [", "YAML"),
        ("- {t: 0}", "entry 1.*t and pose"),
        ("- {t: 0, pose: [0, 0]}", "entry 1.*6 numbers"),
        ("- {t: 0, pose: [0, 0, 0, 0, 0, .nan]}", "no finite number"),
        ("- {t: 0, pose: [0, 0, 0, 0, 0, 1e300]}", "no finite number"),
        ("- {t: yes, pose: [0, 0, 0, 0, 0, 0]}", "no finite number"),
        (POSES + "- {t: 1.2, pose: [0, 0, 0, 0, 0, 0]}", "entry 3.*not after"),
        ("!!python/object/apply:os.getcwd []", "YAML"),
    ],
)
def test_a_file_that_is_no_script_is_refused_by_entry(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        script(tmp_path, text).connect()


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml"):
        Scripted(ScriptedConfig(file=str(tmp_path / "none.yaml"))).connect()


def test_nothing_it_says_moves_an_arm_after_the_e_stop():
    with rig(Scripted(ScriptedConfig(motion="wave"))) as it:
        assert it.arm()
        assert it.moved(it.goal, 5)
        it.loop.estop()
        assert it.state("ESTOP")
        held, said = it.settled(), it.source.teleoperator.read().values
        time.sleep(0.7)
        assert np.abs(it.source.teleoperator.read().values - said).max() > 0.5  # it goes on
        assert np.abs(it.goal - held).max() < 1e-9
        with pytest.raises(RlError, match="reset"), translated():
            it.loop.arm()
