"""meta/stats.json: used where it is sound, computed where it is not."""

import numpy as np
import pytest

from rl.data.statistics import statistics_for
from tests.plugins.lerobot_format.sets import edit_json, read


@pytest.fixture
def stats(tiny):
    return tiny / "meta" / "stats.json"


def test_without_the_file_statistics_are_computed_when_needed(tiny, stats):
    before = read(tiny).info.statistics
    stats.unlink()
    reader = read(tiny)
    assert reader.info.statistics is None
    assert any("stats.json is missing" in note for note in reader.info.notes)
    found = statistics_for(reader, ["action", "observation.images.top"])
    for kind in ("mean", "std", "min", "max"):
        assert found["action"][kind] == pytest.approx(before["action"][kind], abs=1e-6)
    assert found["observation.images.top"]["mean"].shape == (3, 1, 1)
    assert np.abs(found["observation.images.top"]["mean"] - before["observation.images.top"]["mean"]).max() < 0.02


def test_absent_quantiles_are_computed_when_needed(tiny, stats):
    edit_json(stats, lambda s: [s["action"].pop(q) for q in ("q01", "q10", "q50", "q90", "q99")])
    reader = read(tiny)
    assert "q01" not in reader.info.statistics["action"]
    values = reader.rows(np.arange(21), ["action"])["action"]
    want = np.quantile(values, 0.5, axis=0, method="inverted_cdf")
    assert statistics_for(reader, ["action"])["action"]["q50"] == pytest.approx(want)


def test_an_absent_camera_is_computed_when_needed(tiny, stats):
    edit_json(stats, lambda s: s.pop("observation.images.top"))
    assert statistics_for(read(tiny), ["observation.images.top"])["observation.images.top"]["std"].shape == (3, 1, 1)


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3, 1, 1)])
def test_camera_statistics_of_any_shape_are_three_numbers(tiny, stats, shape):
    def change(s):
        for kind, value in s["observation.images.top"].items():
            if kind != "count":
                s["observation.images.top"][kind] = np.reshape(value, shape).tolist()

    edit_json(stats, change)
    reader = read(tiny)
    assert reader.info.statistics["observation.images.top"]["mean"].shape == (3, 1, 1)
    assert reader.info.notes == ()


@pytest.mark.parametrize(
    "damage",
    [
        {"mean": [float("nan")] * 3},
        {"std": [1.0]},
        {"min": [5e9] * 3},
        {"max": "high"},
        {"mean": [[1], [2, 3]]},
        {"std": [-1.0] * 3},
        {"q50": [float("inf")] * 3},
    ],
)
def test_a_damaged_entry_is_noted_and_computed_anew(tiny, stats, damage):
    edit_json(stats, lambda s: s["action"].update(damage))
    reader = read(tiny)
    assert any("'action'" in note for note in reader.info.notes)
    found = statistics_for(reader, ["action"])["action"]
    values = reader.rows(np.arange(21), ["action"])["action"].astype(np.float64)
    assert found["mean"] == pytest.approx(values.mean(axis=0))
    assert found["std"] == pytest.approx(values.std(axis=0))


def test_a_missing_count_is_the_number_of_rows(tiny, stats):
    edit_json(stats, lambda s: s["action"].pop("count"))
    assert read(tiny).info.statistics["action"]["count"].tolist() == [21]


def test_entries_of_unknown_features_are_no_matter(tiny, stats):
    edit_json(stats, lambda s: s.update(ghost={"mean": [1]}, other=3))
    assert read(tiny).info.notes == ()


def test_statistics_that_are_no_json_are_refused_by_name(tiny, stats):
    from rl.api import InputError

    stats.write_text("{")
    with pytest.raises(InputError, match=r"stats\.json"):
        read(tiny)
