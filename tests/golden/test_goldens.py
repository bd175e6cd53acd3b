"""Every golden folder of a kind that is built, through the one checker; and the checker itself, with planted faults."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
GOLDEN = HERE.parents[2] / "shared" / "golden"


def _checker():
    if "rl_golden_check" not in sys.modules:
        spec = importlib.util.spec_from_file_location("rl_golden_check", HERE / "check.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["rl_golden_check"] = module
        spec.loader.exec_module(module)
    return sys.modules["rl_golden_check"]


def _folders() -> list[str]:
    """Names of the folders that must pass; without the reference data one name, so that the fixture can say so."""
    if not GOLDEN.is_dir():
        return ["act_vae"]
    names = []
    for path in sorted(GOLDEN.glob("*/golden.json")):
        meta = json.loads(path.read_text())
        pieces = meta["kind"] in ("normalizer", "temporal_ensembler", "aggregation")
        if pieces or meta.get("policy") == "act" or path.parent.name.startswith("dataset_v30"):
            names.append(path.parent.name)
    return names


@pytest.mark.parametrize("name", _folders())
def test_the_reference_is_reproduced(shared, name):
    rows = _checker().check(shared / "golden" / name)
    assert rows
    assert [(row.name, row.absolute, row.note) for row in rows if not row.hit] == []


@pytest.fixture
def copy_of(shared, tmp_path):
    """A golden folder that a test may spoil."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(shared / "golden" / name, folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return folder

    return make


def _respell(path: Path, change) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_a_changed_output_is_a_miss_and_exit_1(copy_of, capsys):
    folder = copy_of("act_envstate")
    _respell(folder / "outputs.safetensors", lambda t: t.update({"chunk/normalized": t["chunk/normalized"] + 1e-3}))
    assert _checker().main([str(folder)]) == 1
    assert "MISS chunk/normalized" in capsys.readouterr().out


def test_an_output_that_nothing_computes_is_a_miss(copy_of, capsys):
    folder = copy_of("act_envstate")
    _respell(folder / "outputs.safetensors", lambda t: t.update({"train/attention_entropy": np.ones(3, np.float32)}))
    assert _checker().main([str(folder)]) == 1
    out = capsys.readouterr().out
    assert "MISS train/attention_entropy" in out
    assert "not compared" in out


def test_nan_in_the_outputs_is_a_miss(copy_of):
    folder = copy_of("normalizer")
    name = "mean_std/eps1e-08/normalized/action"

    def spoil(tensors):
        tensors[name] = tensors[name].copy()
        tensors[name][0, 0] = np.nan

    _respell(folder / "outputs.safetensors", spoil)
    misses = [row.name for row in _checker().check(folder) if not row.hit]
    assert misses == [name]


def test_an_unknown_kind_and_policy_are_named_with_exit_3(copy_of, capsys):
    folder = copy_of("act_envstate")
    golden = json.loads((folder / "golden.json").read_text())
    for change, word in (({"kind": "wheelbarrow"}, "wheelbarrow"), ({"policy": "tea"}, "tea")):
        (folder / "golden.json").write_text(json.dumps(golden | change))
        assert _checker().main([str(folder)]) == 3
        assert word in capsys.readouterr().out


def test_a_folder_without_golden_json_is_not_passed(tmp_path):
    assert _checker().main([str(tmp_path)]) == 3
    assert _checker().main([str(tmp_path / "absent")]) == 2


def test_a_checkpoint_that_is_refused_is_a_miss_with_its_words(copy_of, capsys):
    folder = copy_of("act_envstate")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_wheels": 4}))
    assert _checker().main([str(folder)]) == 1
    assert "n_wheels" in capsys.readouterr().out


def test_the_tolerance_of_the_longest_prefix_counts_and_an_exact_name_beats_it():
    compare = _checker().compare
    tolerances = {"a/": {"rtol": 1, "atol": 1}, "a/b/": {"rtol": 2, "atol": 2}, "a/b/c": {"rtol": 3, "atol": 3}}
    comparison = compare.Comparison({"tolerance": {"rtol": 0, "atol": 0}, "tolerances": tolerances}, {})
    found = [comparison.tolerance(name)[0] for name in ("x", "a/x", "a/b/x", "a/b/c")]
    assert found == [0, 1, 2, 3]


def test_the_checker_runs_as_a_program(shared):
    command = [sys.executable, str(HERE / "check.py"), str(shared / "golden" / "normalizer")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 misses" in done.stdout
