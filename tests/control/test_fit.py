"""Whether a policy fits a robot, said with both sides."""

import pytest

from rl.api import Feature, InputError
from rl.control import fit

NAMES = ("pan.pos", "gripper.pos")


def vector(kind, units=("degrees", "percent"), names=NAMES):
    return Feature("observation.state" if kind == "state" else "action", kind, (2,), unit=units, names=names)


def picture(role="front", size=(48, 64)):
    return Feature(f"observation.images.{role}", "image", (*size, 3), dtype="uint8")


def wanted(units=("degrees", "percent"), names=NAMES, cameras=(), fingerprint=""):
    inputs = {"observation.state": vector("state", units, names)} | {c.name: c for c in cameras}
    return fit.Wanted(inputs, {"action": vector("action", units, names)}, fingerprint=fingerprint)


def misfits(policy, cameras=(), rename=None):
    return fit.misfits(policy, vector("state"), vector("action"), {c.name: c for c in cameras}, rename or {})


def test_what_fits_has_no_misfit():
    assert misfits(wanted(cameras=[picture()]), [picture()]) == []


def test_two_spellings_of_a_unit_are_one():
    assert misfits(wanted(units=("deg", "range_0_100"))) == []


def test_other_joints_are_shown_in_both_lists():
    text = "; ".join(misfits(wanted(names=("lift.pos", "gripper.pos"))))
    assert "lift.pos" in text
    assert "pan.pos" in text


def test_other_units_are_shown_on_both_sides():
    text = "; ".join(misfits(wanted(units=("range_m100_100", "percent"))))
    assert "range_m100_100" in text
    assert "degrees" in text


def test_a_camera_that_is_missing_or_of_another_size_is_named():
    assert "front 48x64" in misfits(wanted(cameras=[picture()]))[0]
    assert "96x128" in misfits(wanted(cameras=[picture()]), [picture(size=(96, 128))])[0]


def test_a_camera_may_be_renamed():
    rename = fit.full_names({"wrist": "front"})
    assert misfits(wanted(cameras=[picture()]), [picture("wrist")], rename) == []
    assert (
        fit.missing_cameras(wanted(cameras=[picture()]), {"observation.images.wrist": picture("wrist")}, rename) == []
    )


def test_an_input_that_no_robot_gives_is_named():
    policy = wanted()
    policy.inputs["observation.environment_state"] = Feature("observation.environment_state", "environment_state", (3,))
    assert "environment_state" in misfits(policy)[0]


def test_unstated_units_are_refused_on_hardware_until_they_are_given():
    policy = wanted(units=("unstated", "unstated"))
    with pytest.raises(InputError, match="--units"):
        fit.settle_units(policy, vector("action"), None, simulated=False, what="the policy")
    settled, warning = fit.settle_units(policy, vector("action"), "degrees", simulated=False, what="the policy")
    assert settled.action.units == ("degrees", "percent")
    assert warning == ""


def test_unstated_units_are_degrees_on_the_emulated_arm_with_one_warning():
    settled, warning = fit.settle_units(
        wanted(units="unstated"), vector("action"), None, simulated=True, what="the policy"
    )
    assert misfits(settled) == []
    assert "degrees" in warning


def test_units_that_are_given_do_not_overrule_stated_ones():
    settled, _ = fit.settle_units(wanted(), vector("action"), "range_m100_100", simulated=False, what="the policy")
    assert settled.action.units == ("degrees", "percent")


def test_another_calibration_is_refused_on_hardware_and_said_on_the_emulated_arm():
    policy = wanted(fingerprint="aaaa")
    with pytest.raises(InputError, match=r"aaaa.*bbbb"):
        fit.check_calibration(policy, "bbbb", simulated=False)
    assert "bbbb" in fit.check_calibration(policy, "bbbb", simulated=True)
    assert fit.check_calibration(policy, "aaaa", simulated=False) == ""


def test_a_policy_without_a_calibration_warns_that_it_starts_slowly():
    assert "v_soft" in fit.check_calibration(wanted(), "bbbb", simulated=False)
