"""From a sweep to a calibration: whatever the encoder reads at the middle, nothing wraps inside the range."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.plugins.so101 import JOINTS, sweep

MS = 1_000_000


def walked(points, start_ns=0, step=150, every=10 * MS):
    """A track along `points`, in steps of at most `step`, 10 ms apart."""
    track, at, now = sweep.Track(), points[0], start_ns
    track.add(at, now)
    for goal in points[1:]:
        while at != goal:
            at += max(-step, min(step, goal - at))
            now += every
            track.add(at % sweep.TURN, now)
    return track


@given(start=st.integers(0, 4095), below=st.integers(0, 4000), above=st.integers(0, 4000))
def test_a_path_is_unwrapped_wherever_the_encoder_begins_again(start, below, above):
    track = walked([start, start - below, start + above])
    assert not track.lost
    assert (track.low, track.high) == (start - below, start + above)


@given(start=st.integers(0, 4095), span=st.integers(sweep.STILL, sweep.FULL_TURN - 1), part=st.floats(0, 1))
def test_no_position_inside_the_range_wraps(start, span, part):
    low = start - int(span * part)
    joint = sweep.settle(1, low, low + span)
    assert -2047 <= joint.homing_offset <= 2047
    assert 0 <= joint.range_min < joint.range_max <= 4095
    assert joint.range_max - joint.range_min == span
    assert abs(joint.range_min + joint.range_max - 2 * 2047) <= 3
    said = [sweep.present(u % sweep.TURN, joint.homing_offset) for u in range(low, low + span + 1)]
    assert said == list(range(joint.range_min, joint.range_max + 1))


@given(centre=st.integers(0, 4095))
def test_a_joint_that_turns_all_the_way_round_has_the_shown_pose_in_its_middle(centre):
    joint = sweep.settle(5, centre - 2100, centre + 2100, centre)
    assert (joint.range_min, joint.range_max) == (0, 4095)
    assert sweep.present(centre, joint.homing_offset) in (2046, 2047)


@pytest.mark.shared
def test_offsets_are_those_of_the_reference(shared):
    homing = json.loads((shared / "golden" / "calibration" / "samples.json").read_text())["homing"]
    compared = 0
    for entry in homing:
        encoder, wanted, encodable = (entry["encoder"], entry["homing_offset"], entry["encodable"])
        assert sweep.offset_for(encoder) == (wanted if encodable else -2047), entry
        compared += 1
    assert compared > 3


def test_a_jump_and_a_gap_lose_the_track():
    jumped = walked([100, 400])
    jumped.add(400 + 1500, 10**9)
    assert "jumped by 1500" in jumped.lost
    assert sweep.judge("gripper", jumped).mark == "fail"
    waited = walked([100, 400])
    waited.add(410, 10**10)
    assert "not read" in waited.lost


@pytest.mark.parametrize("joint", JOINTS)
def test_a_sweep_from_stop_to_stop_is_plausible_and_a_part_of_one_is_not(joint):
    span = sweep.SPANS[joint]
    assert sweep.judge(joint, walked([0, span])).mark == "pass"
    assert sweep.judge(joint, walked([0, sweep.STILL - 1])).what == f"{joint} was not moved"
    short = sweep.judge(joint, walked([0, span // 2]))
    assert short.mark == ("warn" if joint == "wrist_roll" else "fail")
    long = sweep.judge(joint, walked([0, span * 8 // 5]))
    assert long.mark == ("pass" if joint == "wrist_roll" else "fail")
    assert "more than" in long.what or joint == "wrist_roll"


def test_an_arm_built_otherwise_has_the_ranges_that_it_has_but_no_path_is_guessed():
    span = sweep.SPANS["gripper"]
    for path in ([0, span // 2], [0, span * 8 // 5]):
        verdict = sweep.judge("gripper", walked(path), unusual=True)
        assert (verdict.mark, verdict.todo) == ("warn", "taken as it is")
    assert sweep.judge("gripper", walked([0, span]), unusual=True).mark == "pass"
    assert sweep.judge_span("gripper", sweep.TURN, unusual=True).mark == "fail"
    assert sweep.judge("gripper", walked([0, sweep.STILL - 1]), unusual=True).mark == "fail"
    jumped = walked([100, 400])
    jumped.add(400 + 1500, 10**9)
    assert sweep.judge("gripper", jumped, unusual=True).mark == "fail"
