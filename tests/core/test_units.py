"""Raw steps and units against the conversions measured with the reference."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rl import _core


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "golden/calibration"


def joints(folder: Path, file: str, mode: Any) -> dict[str, _core.JointCalibration]:
    entries = json.loads((folder / file).read_text())
    return {name: _core.JointCalibration(name, mode=mode, **entry) for name, entry in entries.items()}


@pytest.mark.shared
def test_every_measured_conversion_is_met(folder: Path) -> None:
    done = 0
    for file in json.loads((folder / "samples.json").read_text())["files"]:
        for name, modes in file["joints"].items():
            for mode, samples in modes.items():
                joint = joints(folder, file["file"], mode)[name]
                for raw, unit in samples["to_unit"]:
                    assert joint.to_unit(raw) == unit
                for unit, raw in samples["to_raw"]:
                    assert joint.to_raw(unit) == raw
                done += len(samples["to_unit"]) + len(samples["to_raw"])
    assert done == 1068


@pytest.mark.parametrize("mode", ["degrees", "range_m100_100", "range_0_100"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_never_becomes_steps(mode: Any, value: float) -> None:
    joint = _core.JointCalibration("elbow_flex", 3, 0, 0, 900, 3100, mode)
    with pytest.raises(ValueError, match="elbow_flex"):
        joint.to_raw(value)


@pytest.mark.parametrize(
    "changed", [{"range_max": 900}, {"range_max": 5000}, {"id": 254}, {"homing_offset": 2048}, {"drive_mode": 2}]
)
def test_numbers_that_contradict_are_refused(changed: dict[str, int]) -> None:
    good = {"id": 3, "drive_mode": 0, "homing_offset": 0, "range_min": 900, "range_max": 3100}
    with pytest.raises(ValueError, match="elbow_flex"):
        _core.JointCalibration("elbow_flex", mode="degrees", **{**good, **changed})
