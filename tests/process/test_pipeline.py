"""Building the steps for training, and the order in which they act."""

import numpy as np
import pytest

from rl.api import Feature, InputError
from rl.process.names import Rename
from rl.process.options import DeviceOptions, RenameOptions
from rl.process.pipeline import IMAGENET, build_processing

STATE = Feature("observation.state", "state", (2,))
CAMERA = Feature("observation.images.top", "image", (4, 6, 3), dtype="uint8")
ACTION = Feature("action", "action", (2,))
INPUTS, OUTPUTS = {STATE.name: STATE, CAMERA.name: CAMERA}, {"action": ACTION}
MODES = {"state": "mean_std", "image": "mean_std", "action": "min_max"}


def statistics(**more):
    vector = {"mean": np.ones(2), "std": np.full(2, 2.0), "min": np.zeros(2), "max": np.full(2, 10.0)}
    return {STATE.name: vector, "action": vector, **more}


def sample(batch=2):
    return {
        STATE.name: np.full((batch, 1, 2), 5.0, np.float32),
        CAMERA.name: np.full((batch, 1, 8, 12, 3), 255, np.uint8),
        "action": np.full((batch, 3, 2), 10.0, np.float32),
        "action_is_pad": np.zeros((batch, 3), bool),
    }


def test_a_sample_goes_through_and_an_action_comes_back():
    steps = build_processing(MODES, INPUTS, OUTPUTS, statistics(), imagenet=True)
    ready = steps.apply(sample())
    np.testing.assert_allclose(ready[STATE.name], 2)
    assert ready[CAMERA.name].shape == (2, 1, 3, 4, 6)
    white = (1 - np.array(IMAGENET["mean"])) / np.array(IMAGENET["std"])
    np.testing.assert_allclose(ready[CAMERA.name][0, 0, :, 0, 0], white, rtol=1e-5)
    np.testing.assert_allclose(ready["action"], 1)
    np.testing.assert_allclose(steps.invert_actions(ready["action"]), sample()["action"])


def test_a_mapped_feature_without_statistics_is_refused_by_name():
    with pytest.raises(InputError, match=r"observation\.images\.top"):
        build_processing(MODES, INPUTS, OUTPUTS, statistics(), imagenet=False)
    left = {"action": statistics()["action"]}
    with pytest.raises(InputError, match=r"observation\.state"):
        build_processing(MODES, INPUTS, OUTPUTS, left, imagenet=True)


def test_identity_needs_no_statistics():
    steps = build_processing({"action": "min_max"}, INPUTS, OUTPUTS, {"action": statistics()["action"]}, imagenet=False)
    np.testing.assert_array_equal(steps.apply(sample())[STATE.name], sample()[STATE.name])


def test_statistics_that_are_not_finite_are_refused():
    spoilt = statistics() | {STATE.name: {"mean": np.array([0, np.nan]), "std": np.ones(2)}}
    with pytest.raises(InputError, match=r"observation\.state.*not finite"):
        build_processing(MODES, INPUTS, OUTPUTS, spoilt, imagenet=True)


def test_renamed_features_bring_their_statistics_and_their_padding():
    given = statistics()
    given["robot.joints"] = given.pop(STATE.name)
    steps = build_processing(MODES, INPUTS, OUTPUTS, given, imagenet=True, rename={"robot.joints": STATE.name})
    raw = sample()
    raw["robot.joints"] = raw.pop(STATE.name)
    raw["robot.joints_is_pad"] = np.zeros((2, 1), bool)
    ready = steps.apply(raw)
    np.testing.assert_allclose(ready[STATE.name], 2)
    assert f"{STATE.name}_is_pad" in ready
    assert steps.renamed == {"robot.joints": STATE.name}


def test_a_new_name_that_is_taken_is_refused():
    with pytest.raises(InputError, match="there already"):
        Rename(RenameOptions(rename_map={"a": "b"})).apply({"a": 1, "b": 2})
    with pytest.raises(InputError, match="two features"):
        RenameOptions(rename_map={"a": "c", "b": "c"})
    assert Rename(RenameOptions(rename_map={"a": "b", "b": "a"})).apply({"a": 1, "b": 2}) == {"b": 1, "a": 2}


def test_host_and_graph_steps_are_told_apart():
    steps = build_processing(MODES, INPUTS, OUTPUTS, statistics(), imagenet=True)
    assert [type(s).__name__ for s in steps.graph.pre] == ["Images", "Normalise"]
    assert [type(s).__name__ for s in steps.host.pre] == ["Rename", "Batch", "Device"]
    assert [type(s).__name__ for s in steps.graph.post] == ["Unnormalise"]


def test_another_float_type_in_a_device_step_is_refused():
    with pytest.raises(InputError, match="float16"):
        DeviceOptions(float_dtype="float16")
