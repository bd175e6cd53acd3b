"""From a checkpoint to a bundle that is what it says."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from rl.api import InputError, MissingPart, RlError
from rl.cli.info import describe
from rl.export import export
from rl.runtime.actor import open_actor
from rl.runtime.bundle import Bundle


def observation(seed: int = 0) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(seed)
    return {
        "observation.state": np.array([10, -5, 50]) + 10 * noise.standard_normal(3),
        "observation.images.front": noise.integers(0, 256, (48, 64, 3), dtype=np.uint8),
    }


def test_the_manifest_says_what_a_robot_must_be(exported):
    plain = json.loads((exported[0] / "manifest.json").read_text())
    assert plain["policy"] == "act"
    assert plain["inputs"][0]["names"] == ["pan.pos", "lift.pos", "grip.pos"]
    assert plain["outputs"][0]["unit"] == ["deg", "deg", "percent"]
    assert plain["inputs"][1]["shape"] == [48, 64, 3]
    assert plain["inputs"][1]["dtype"] == "uint8"
    assert plain["cameras"] == [
        {"role": "front", "feature": "observation.images.front", "size": [48, 64], "network_size": [32, 40]}
    ]
    assert plain["processing"]["resize"].startswith("bilinear")
    assert plain["rate"]["fps"] == 25.0
    assert plain["rate"]["chunk"] == 6
    assert plain["rate"]["execute"] == 4
    assert "k periods" in plain["rate"]["row_due"]
    assert plain["calibration"] == "abc123"
    assert plain["robot"] == "toy_arm"
    assert plain["tasks"] == ["wave"]
    assert len(plain["processing"]["statistics_sha256"]) == 64
    assert plain["precision"] == "float32"
    assert {"torch", "onnx", "onnxruntime", "rl-toolkit"} <= set(plain["versions"])


def test_the_parity_is_reported_with_its_tolerance_over_sixteen_inputs(exported):
    folder, report = exported
    entry = json.loads((folder / "manifest.json").read_text())["parity"]
    assert entry["inputs"] == report.inputs == 16
    assert entry["tolerance"] == report.tolerance == 1e-4
    assert 0 <= entry["outputs"]["action"]["max_rel"] <= 1e-4
    assert entry["scale"] == [20.0, 8.0, 30.0]
    assert report.outputs["action"].max_abs == entry["outputs"]["action"]["max_abs"]


def test_every_file_is_listed_with_its_sum_and_nothing_else_is_there(exported):
    folder, _ = exported
    Bundle.open(folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"manifest.json", "sample.safetensors", "graphs/chunk.onnx", "graphs/chunk.onnx.data"}
    assert not [path for path in folder.parent.iterdir() if path != folder], "nothing is left beside it"


def test_the_graph_holds_resizing_scaling_and_units(exported, checkpoint):
    """Against the policy and its processing, called without any program."""
    import torch

    from rl.nn import checkpoint as checkpoints
    from rl.nn.draws import RecordedDraws

    described = checkpoints.describe(checkpoint)
    policy, processing = checkpoints.load_policy(described), checkpoints.load_processing(described)
    given = observation(3)
    sample = {name: torch.from_numpy(value[None, None]) for name, value in given.items()}
    sample["observation.state"] = sample["observation.state"].float()
    with torch.no_grad():
        chunk, _ = policy.predict(processing.apply(sample), RecordedDraws({}), {})
        want = processing.invert_actions(chunk)[0].numpy()
    got = open_actor(exported[0]).infer(given)
    np.testing.assert_allclose(got, want, atol=2e-3, rtol=1e-5)


def test_the_eager_runtime_runs_the_same_program_from_the_checkpoint(exported, checkpoint):
    eager, written = open_actor(checkpoint), open_actor(exported[0])
    assert eager.check_sample() is None
    np.testing.assert_allclose(eager.infer(observation(1)), written.infer(observation(1)), atol=2e-3)
    assert (eager.fps, eager.execute, eager.bundle.chunk) == (written.fps, written.execute, written.bundle.chunk)
    assert eager.inputs == written.inputs
    assert eager.action == written.action


@pytest.mark.parametrize("exporter", ["onnx", "torchscript"])
def test_a_graph_of_weights_changed_by_one_percent_is_refused(checkpoint, tmp_path, exporter):
    import torch

    def change(program):
        with torch.no_grad():
            for weight in program.graphs[0].module.parameters():
                weight.mul_(1.01)

    out = tmp_path / "bundle"
    with pytest.raises(RlError, match=r"differ from eager PyTorch: 'action' by .* 0\.0001 is allowed") as caught:
        export(checkpoint, exporter, out, samples=3, before_write=change)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_an_existing_folder_is_not_written_over(checkpoint, tmp_path):
    (tmp_path / "mine").write_text("kept")
    for taken in (tmp_path, tmp_path / "mine"):
        with pytest.raises(InputError, match="is there already"):
            export(checkpoint, "onnx", taken)
    assert (tmp_path / "mine").read_text() == "kept"


def test_an_interrupted_export_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def interrupt(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("rl.export.parity.compare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, "torchscript", tmp_path / "bundle", samples=1)
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_the_extra_is_named(checkpoint, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    hidden = {"onnxruntime"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in hidden else find(name, *more))
    with pytest.raises(MissingPart, match=r"needs onnxruntime; pip install \"rl-toolkit\[deploy\]\"") as caught:
        export(checkpoint, "onnx", tmp_path / "bundle")
    assert caught.value.exit_code == 3
    assert not (tmp_path / "bundle").exists()


def test_a_checkpoint_without_a_rate_asks_for_it(checkpoint, tmp_path):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(checkpoint, bare)
    (bare / "rl.json").unlink()
    with pytest.raises(InputError, match="does not say the rate of its data; give --fps"):
        export(bare, "torchscript", tmp_path / "bundle", samples=1)
    report = export(bare, "torchscript", tmp_path / "bundle", samples=1, fps=30.0)
    assert Bundle.open(report.folder).fps == 30.0


def test_a_data_set_that_was_asked_for_must_fit(checkpoint, tmp_path):
    with pytest.raises(InputError, match="no data set"):
        export(checkpoint, "torchscript", tmp_path / "bundle", dataset=str(tmp_path / "gone"))


def test_recorded_inputs_are_tried_when_the_data_set_is_there(shared, tmp_path):
    """A policy of the state alone, on a set without videos."""
    from rl.api import Feature
    from rl.data import open_dataset
    from rl.export.trials import Recorded, trials

    root = str(shared / "data" / "piper-novideo-v30")
    found = open_dataset(root).info.features["observation.state"]
    inputs = {"observation.state": Feature("observation.state", "state", found.shape)}
    recorded = Recorded(root, inputs, {"observation.state": (-1, 0)}, must=True)
    made = list(trials(inputs, {"observation.state": (-1, 0)}, {}, recorded, 5, ""))
    assert [trial.real for trial in made] == [True] * 5 + [False] * 6
    assert all(trial.window["observation.state"].shape == (1, 2, *found.shape) for trial in made)
    assert len({trial.window["observation.state"].tobytes() for trial in made}) >= 9, "a robot may end where it began"


def test_a_tampered_bundle_is_refused_and_the_file_named(copied):
    weights = copied / "graphs" / "chunk.onnx.data"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match=r"chunk\.onnx\.data: is not what was exported") as caught:
        open_actor(copied)
    assert caught.value.exit_code == 2
    with pytest.raises(InputError, match=r"chunk\.onnx\.data: is not what was exported"):
        describe(copied)


def test_info_notices_weights_that_were_cut_short(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        describe(tmp_path / "cut")


def test_a_moved_bundle_runs(copied):
    assert open_actor(copied).check_sample() < 1e-4


def test_a_sample_of_another_policy_is_refused(copied):
    from safetensors.numpy import load_file

    from rl.process.tensor_files import write_arrays
    from rl.runtime.bundle import sha256

    sample = copied / "sample.safetensors"
    arrays = load_file(sample)
    arrays["expected"] = arrays["expected"] + 1
    sample.unlink()
    write_arrays(sample, arrays)
    plain = json.loads((copied / "manifest.json").read_text())
    plain["files"]["sample.safetensors"] = {"sha256": sha256(sample), "bytes": sample.stat().st_size}
    (copied / "manifest.json").write_text(json.dumps(plain))
    with pytest.raises(InputError, match="its sample gives a chunk that is"):
        open_actor(copied).check_sample()


def test_the_command_prints_the_parity(checkpoint, tmp_path, capsys):
    from rl.cli.export import SPEC, run
    from rl.config.command_line import resolve
    from rl.registry import registry

    words = [str(checkpoint), "--torchscript", "-o", str(tmp_path / "b"), "--samples", "2"]
    assert run(resolve(SPEC, words, registry())) == 0
    printed = capsys.readouterr().out
    assert "parity" in printed
    assert "max error" in printed
    assert "tried 8 inputs" in printed
    assert Bundle.open(tmp_path / "b").kind == "torchscript"


def test_two_kinds_of_graph_are_two_bundles():
    from rl.export.config import ExportConfig

    assert ExportConfig(source="x").chosen == "onnx"
    with pytest.raises(InputError, match="make two bundles"):
        ExportConfig(source="x", onnx=True, torchscript=True)
