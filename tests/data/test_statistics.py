"""Statistics against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rl.api import InputError
from rl.data.statistics import (
    QUANTILES,
    compute,
    from_histogram,
    histogram,
    merge,
    sampled_frames,
    sane,
    statistics_for,
    thinned,
)
from tests.data.toy import ToyReader

values = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=st.floats(-100, 100, width=32)
)


@given(values)
def test_a_quantile_is_the_smallest_value_that_enough_rows_do_not_exceed(table):
    found = compute(table)
    for name, q in QUANTILES.items():
        for column, value in enumerate(found[name]):
            assert (table[:, column] <= value).sum() >= q * len(table) - 1e-6
            assert (table[:, column] < value).sum() < q * len(table) + 1e-6
    assert found["count"].tolist() == [len(table)]


@given(values, st.integers(1, 59))
def test_merged_parts_have_the_moments_of_the_whole(table, cut):
    cut = min(cut, len(table) - 1)
    if cut < 1:
        return
    merged, whole = merge([compute(table[:cut]), compute(table[cut:])]), compute(table)
    for kind in ("min", "max", "mean", "std", "count"):
        assert merged[kind] == pytest.approx(whole[kind], abs=1e-6)


def test_features_of_higher_rank_keep_their_last_axis():
    assert compute(np.zeros((4, 2, 3)))["mean"].shape == (3,)
    assert compute(np.array([True, False]))["max"].tolist() == [1.0]
    assert compute(np.array([10**18, 10**18 + 5000]))["mean"] == pytest.approx([10**18 + 2500])


def test_nothing_and_nan_are_errors():
    with pytest.raises(InputError, match="no rows"):
        compute(np.zeros((0, 2)))
    with pytest.raises(InputError, match="row 3"):
        compute(np.array([0, 1, 2, np.nan]))
    with pytest.raises(InputError, match="no episodes"):
        merge([])
    with pytest.raises(InputError, match="shapes"):
        merge([compute(np.zeros((2, 2))), compute(np.zeros((2, 3)))])


@given(st.integers(1, 20_000))
def test_sampled_frames_follow_the_rule(count):
    picked = sampled_frames(count)
    assert len(picked) == max(min(100, count), min(int(count**0.75), 10_000))
    assert picked[0] == 0
    assert picked[-1] == (count - 1 if len(picked) > 1 else 0)


@pytest.mark.parametrize(("shape", "want"), [((48, 64), (48, 64)), ((480, 640), (120, 160)), ((300, 300), (150, 150))])
def test_large_pictures_are_thinned(shape, want):
    assert thinned(np.zeros((*shape, 3), np.uint8)).shape == (*want, 3)


@given(arrays.arrays(np.uint8, (4, 5, 3)))
def test_a_histogram_holds_all_that_camera_statistics_need(image):
    found, want = from_histogram(histogram(image), 1), compute(image.reshape(-1, 3))
    for kind in ("min", "max", "mean", "std", *QUANTILES):
        assert found[kind].shape == (3, 1, 1)
        assert found[kind].ravel() * 255 == pytest.approx(want[kind], abs=1e-6), kind


def test_what_a_set_lacks_is_computed_from_its_rows():
    found = statistics_for(ToyReader(), ["action", "camera", "next.reward"])
    assert found["action"]["mean"] == pytest.approx([8.0, -7.5])
    assert found["camera"]["max"].ravel() == pytest.approx([15 / 255] * 3)
    assert found["next.reward"]["mean"] == pytest.approx([7.5])
    with pytest.raises(InputError, match="nothing"):
        statistics_for(ToyReader(), ["nothing"])


def test_only_complete_and_finite_statistics_are_sane():
    good = compute(np.arange(6.0).reshape(3, 2))
    assert sane(good, 2)
    assert not sane(good, 3)
    assert not sane(good | {"std": -good["std"]}, 2)
    assert not sane(good | {"mean": good["mean"] * np.nan}, 2)
    assert not sane({"mean": good["mean"]}, 2)
