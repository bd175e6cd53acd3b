"""The reader against the reference's own answers, and the checker against a reader that is wrong."""

import importlib.util
import json
from types import ModuleType

import numpy as np
import pytest

from rl.plugins.lerobot_format.reader import LeRobotReader


@pytest.fixture(scope="module")
def checker(checkout) -> ModuleType:
    spec = importlib.util.spec_from_file_location("rl_golden_datasets_here", checkout / "tests/golden/datasets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(checker, folder):
    rows = []
    good = checker.check_dataset(
        folder, json.loads((folder / "golden.json").read_text()), lambda *row: rows.append(row)
    )
    return good, rows


@pytest.mark.parametrize("name", ["dataset_v30", "dataset_v30_chunks"])
def test_everything_equals_the_reference(checker, shared, name):
    good, rows = run(checker, shared / "golden" / name)
    assert [row for row in rows if not row[3]] == []
    assert good
    assert len(rows) > 600


def test_another_format_is_not_known(checker, shared):
    with pytest.raises(LookupError, match=r"v2\.1"):
        run(checker, shared / "golden" / "dataset_v21")


def test_a_reader_one_frame_late_is_caught(checker, shared, monkeypatch):
    frames = LeRobotReader.frames
    monkeypatch.setattr(
        LeRobotReader, "frames", lambda self, c, i, s=None: frames(self, c, np.minimum(np.asarray(i) + 1, 110), s)
    )
    good, rows = run(checker, shared / "golden" / "dataset_v30")
    assert not good
    assert all(name.startswith(("items/", "frames/", "decoded/")) for name, _, _, ok in rows if not ok)


def test_values_one_bit_off_are_caught(checker, shared, monkeypatch):
    rows_of = LeRobotReader.rows

    def off(self, indices, columns):
        found = rows_of(self, indices, columns)
        return {n: np.nextafter(v, np.inf, dtype=v.dtype) if n == "action" else v for n, v in found.items()}

    monkeypatch.setattr(LeRobotReader, "rows", off)
    good, rows = run(checker, shared / "golden" / "dataset_v30_chunks")
    assert not good
    assert any(name == "columns/action" for name, _, _, ok in rows if not ok)
