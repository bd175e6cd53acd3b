"""Scaling by statistics: both array libraries, both float types, degenerate statistics, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.api import Feature, InputError
from rl.process.modes import MODES, lerobot_modes, modes_by_kind
from rl.process.normalise import Normalise, OldNormalise, statistics_sha256

STATE = Feature("observation.state", "state", (3,))
IMAGE = Feature("observation.images.top", "image", (4, 5, 3), dtype="uint8")
SCALING = [mode for mode in MODES if mode != "identity"]
finite = st.floats(-1e4, 1e4, width=32)


def statistics(low=(0.0, -2.0, 5.0), high=(1.0, 2.0, 9.0)):
    low, high = np.array(low, np.float32), np.array(high, np.float32)
    return {"min": low, "max": high, "q01": low, "q99": high, "q10": low, "q90": high, "mean": low, "std": high - low}


def step(mode, given=None, cls=Normalise):
    return cls({"state": mode}, {STATE.name: STATE}, {STATE.name: given or statistics()})


@pytest.mark.parametrize("mode", SCALING)
@given(values=st.lists(finite, min_size=3, max_size=3))
@settings(max_examples=30, deadline=None)
def test_invert_undoes_apply(mode, values):
    x = np.array(values, np.float64)
    there = step(mode).apply({STATE.name: x})
    back = step(mode).invert(there, {})[STATE.name]
    np.testing.assert_allclose(back, x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", SCALING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_and_torch_give_the_same_numbers_in_the_type_that_came_in(mode, dtype):
    x = np.linspace(-3, 8, 12).reshape(2, 2, 3).astype(dtype)
    for way in ("apply", "invert"):
        run = getattr(step(mode), way)
        more = ({},) if way == "invert" else ()
        ours = run({STATE.name: x}, *more)[STATE.name]
        theirs = run({STATE.name: torch.tensor(x)}, *more)[STATE.name]
        assert ours.dtype == x.dtype
        assert str(theirs.dtype) == f"torch.{dtype}"
        np.testing.assert_array_equal(ours, theirs.numpy())


def test_the_bounds_of_a_range_become_minus_one_and_one():
    x = np.stack([statistics()["min"], statistics()["max"]])
    np.testing.assert_allclose(step("min_max").apply({STATE.name: x})[STATE.name], [[-1] * 3, [1] * 3])


def test_values_outside_the_range_are_not_clipped():
    assert step("quantiles").apply({STATE.name: np.array([2.0, 0, 7])})[STATE.name][0] == pytest.approx(3.0)


def test_a_constant_dimension_becomes_minus_one_and_comes_back_as_itself():
    given = statistics(low=(4, 4, 4), high=(4, 4, 4))
    there = step("min_max", given).apply({STATE.name: np.full(3, 4, np.float32)})
    np.testing.assert_array_equal(there[STATE.name], [-1, -1, -1])
    np.testing.assert_array_equal(step("min_max", given).invert(there, {})[STATE.name], [4, 4, 4])


def test_a_constant_dimension_with_mean_and_deviation_becomes_zero():
    given = {"mean": np.full(3, 4.0), "std": np.zeros(3)}
    np.testing.assert_array_equal(step("mean_std", given).apply({STATE.name: np.full(3, 4.0)})[STATE.name], [0, 0, 0])


def test_the_old_rule_adds_eps_to_every_range():
    given = statistics(low=(0, 0, 0), high=(1e-8, 1, 1))
    x = {STATE.name: np.array([1e-8, 1, 1])}
    assert step("min_max", given).apply(x)[STATE.name][0] == pytest.approx(1, rel=1e-6)
    assert step("min_max", given, OldNormalise).apply(x)[STATE.name][0] == pytest.approx(0, abs=1e-6)


def test_flat_statistics_of_a_picture_are_reshaped():
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([1, 2, 4])
    pictures = np.ones((1, 1, 3, 4, 5), np.float32)
    results = [
        Normalise({"image": "mean_std"}, {IMAGE.name: IMAGE}, {IMAGE.name: {"mean": m, "std": s}}).apply(
            {IMAGE.name: pictures}
        )[IMAGE.name]
        for m, s in ((mean, std), (mean.reshape(3, 1, 1), std.reshape(3, 1, 1)))
    ]
    np.testing.assert_array_equal(*results)
    assert results[0][0, 0, :, 0, 0] == pytest.approx([0.9, 0.4, 0.175])


def test_a_feature_without_statistics_passes_and_is_named():
    bare = Normalise({"state": "mean_std"}, {STATE.name: STATE}, {})
    x = np.arange(3.0)
    assert bare.apply({STATE.name: x})[STATE.name] is x
    assert bare.unscaled() == [STATE.name]


def test_only_known_features_are_touched():
    out = step("mean_std").apply({"other": np.ones(3), "task": "wave"})
    assert out["task"] == "wave"
    np.testing.assert_array_equal(out["other"], np.ones(3))


@pytest.mark.parametrize(
    ("given", "words"),
    [({"mean": np.zeros(3)}, "lack std"), ({"mean": np.zeros(4), "std": np.ones(4)}, "shape")],
)
def test_statistics_that_cannot_serve_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        step("mean_std", given)


def test_integers_are_refused_rather_than_rounded():
    with pytest.raises(InputError, match="not floating"):
        step("mean_std").apply({STATE.name: np.arange(3)})


def test_an_unknown_mode_or_type_is_named():
    with pytest.raises(InputError, match="MEAN_SDT"):
        modes_by_kind({"STATE": "MEAN_SDT"})
    with pytest.raises(InputError, match=r"VISAUL.*VISUAL"):
        modes_by_kind({"VISAUL": "MEAN_STD"})


def test_modes_survive_both_spellings():
    modes = {"image": "mean_std", "state": "quantile10", "action": "identity"}
    assert modes_by_kind(lerobot_modes(modes)) == modes
    assert modes_by_kind(modes) == modes


def test_the_fingerprint_sees_a_changed_number_and_no_order():
    one = {"a": {"mean": [1.0], "std": [2.0]}, "b": {"mean": [3.0]}}
    same = {"b": {"mean": [3.0]}, "a": {"std": [2.0], "mean": [1.0]}}
    other = {"a": {"mean": [1.0], "std": [2.5]}, "b": {"mean": [3.0]}}
    assert statistics_sha256(one) == statistics_sha256(same) != statistics_sha256(other)
