"""Checkpoint folders: found, described, loaded strictly, saved whole."""

import json
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rl.api import Feature, InputError
from rl.nn import checkpoint as checkpoints
from rl.nn.checkpoint import About
from rl.plugins.act.config import ACTConfig
from rl.plugins.act.policy import ACTPolicy
from rl.process.pipeline import build_processing

TINY = dict(ACTConfig.PRESETS["debug"]) | {"chunk_size": 4, "dim_model": 16}
STATE = Feature("observation.state", "state", (3,))
ENVIRONMENT = Feature("observation.environment_state", "environment_state", (2,))
ACTION = Feature("action", "action", (3,))
INPUTS, OUTPUTS = {f.name: f for f in (STATE, ENVIRONMENT)}, {"action": ACTION}
VECTOR = {"mean": np.ones(3), "std": np.full(3, 2.0)}
ABOUT = About(
    fps=25.0,
    units=("deg", "deg", "percent"),
    state_names=("a", "b", "c"),
    action_names=("a", "b", "c"),
    camera_sizes={"observation.images.top": (480, 640)},
    dataset={"name": "org/wave", "episodes": 3},
    tasks=("wave",),
)


@pytest.fixture
def saved(tmp_path):
    """(folder, policy): a small policy without pictures, saved."""
    torch.manual_seed(0)
    policy = ACTPolicy(ACTConfig(**TINY, allow_pickle_weights=True), INPUTS, OUTPUTS).eval()
    modes = policy.recipe().normalise
    steps = build_processing(modes, INPUTS, OUTPUTS, {STATE.name: VECTOR, "action": VECTOR}, imagenet=True)
    folder = tmp_path / "run" / "checkpoints" / "000002" / "pretrained_model"
    return checkpoints.save(folder, policy, "act", steps, ABOUT, train_config={"steps": 2}), policy


def observation(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {f.name: torch.randn(2, 1, *f.shape, generator=draw) for f in INPUTS.values()}


def edit_json(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (content | changes).items() if v is not ...}))


def edit_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_saved_policy_loads_and_predicts_the_same(saved):
    folder, policy = saved
    checkpoint = checkpoints.describe(folder)
    loaded = checkpoints.load_policy(checkpoint)
    given = observation()
    with torch.no_grad():
        assert torch.equal(loaded.predict(given, None, {})[0], policy.predict(given, None, {})[0])
    assert checkpoint.config == policy.config
    assert checkpoint.layout == "current"
    assert not loaded.training


def test_names_units_and_the_rest_travel_with_the_weights(saved):
    checkpoint = checkpoints.describe(saved[0])
    assert checkpoint.about.fps == 25
    assert checkpoint.about.camera_sizes == {"observation.images.top": (480, 640)}
    assert checkpoint.about.tasks == ("wave",)
    assert checkpoint.outputs["action"].unit == ("deg", "deg", "percent")
    assert checkpoint.inputs[STATE.name].names == ("a", "b", "c")


def test_the_processing_is_saved_beside_it(saved):
    steps = checkpoints.load_processing(checkpoints.describe(saved[0]))
    np.testing.assert_allclose(steps.invert_actions(np.ones((1, 4, 3), np.float32)), 3)


def test_the_folder_has_what_lerobot_wants(saved):
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    assert list(config)[:5] == ["type", "n_obs_steps", "input_features", "output_features", "device"]
    assert "allow_pickle_weights" not in config
    assert config["n_action_steps"] == 4
    with (folder / "model.safetensors").open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        assert json.loads(file.read(length))["__metadata__"] == {"format": "pt"}
    assert (folder / "train_config.json").is_file()


def test_a_config_of_lerobot_is_written_with_its_keys_in_its_order(shared, tmp_path):
    source = shared / "golden" / "act_envstate"
    checkpoint = checkpoints.describe(_whole(source, tmp_path))
    policy = ACTPolicy(checkpoint.config, checkpoint.inputs, checkpoint.outputs)
    out = checkpoints.save(tmp_path / "out", policy, "act", checkpoints.load_processing(checkpoint), About())
    assert (out / "config.json").read_text() == (source / "config.json").read_text()


def _whole(source, tmp_path):
    """A golden folder as a checkpoint: its weights are not read by what uses this."""
    folder = tmp_path / source.name
    shutil.copytree(source, folder)
    (folder / "weights.safetensors").rename(folder / "model.safetensors")
    return folder


def test_nothing_is_left_when_saving_fails_and_nothing_is_overwritten(saved, tmp_path, monkeypatch):
    folder, policy = saved
    steps = checkpoints.load_processing(checkpoints.describe(folder))
    with pytest.raises(InputError, match="is there already"):
        checkpoints.save(folder, policy, "act", steps, About())

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(checkpoints, "_write_weights", full)
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(tmp_path / "new", policy, "act", steps, About())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("tail", ["", "..", "../..", "../../..", "config.json", "model.safetensors"])
def test_a_run_a_step_and_a_model_folder_are_found(saved, tail):
    folder, _ = saved
    (folder.parents[1] / "last").symlink_to("000002")
    assert checkpoints.find(folder / tail).resolve() == folder.resolve()


def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(InputError, match="holds no checkpoint"):
        checkpoints.find(tmp_path)
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoints.find(tmp_path / "gone" / "away")
    with pytest.raises(InputError, match="org/name"):
        checkpoints.find("org/name")


def test_a_hub_id_is_looked_up_in_the_cache(saved, tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "models--org--name"
    revision = "a" * 40
    shutil.copytree(saved[0], cache / "snapshots" / revision)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(revision)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert checkpoints.find("org/name").name == revision
    (cache / "refs" / "main").write_text("../../../../etc")
    with pytest.raises(InputError, match="not complete"):
        checkpoints.find("org/name")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_wheels": 3}, "n_wheels"),
        ({"chunk_siez": 3}, "did you mean 'chunk_size'"),
        ({"chunk_size": "many"}, "chunk_size"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"n_action_steps": 5}, "n_action_steps 5 is more than chunk_size 4"),
        ({"type": ...}, "no 'type'"),
        ({"type": "acd"}, "did you mean 'act'"),
        ({"input_features": None}, "input_features"),
        ({"input_features": {"x": {"type": "SMELL", "shape": [1]}}}, "SMELL"),
        ({"input_features": {"x": {"type": "STATE", "shape": [1 << 40]}}}, "impossible shape"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_with_file_and_key(saved, changes, words):
    edit_json(saved[0] / "config.json", **changes)
    with pytest.raises(InputError, match=words) as caught:
        checkpoints.describe(saved[0])
    assert "config.json" in str(caught.value)


def test_missing_unexpected_and_misshapen_weights_are_listed_and_refused(saved):
    folder, _ = saved

    def spoil(tensors):
        tensors.pop("model.action_head.bias")
        tensors["model.spare"] = torch.zeros(2)
        tensors["model.action_head.weight"] = torch.zeros(5, 16)

    edit_weights(folder, spoil)
    with pytest.raises(InputError) as caught:
        checkpoints.load_policy(checkpoints.describe(folder))
    text = str(caught.value)
    assert "1 missing: model.action_head.bias" in text
    assert "1 unexpected: model.spare" in text
    assert "1 misshapen: model.action_head.weight [5, 16] (wanted [3, 16])" in text
    with pytest.warns(UserWarning, match=r"model\.spare"):
        checkpoints.load_policy(checkpoints.describe(folder), strict=False)


def test_half_precision_weights_become_float32(saved):
    folder, policy = saved
    edit_weights(folder, lambda t: t.update({k: v.half() for k, v in list(t.items())}))
    loaded = checkpoints.load_policy(checkpoints.describe(folder))
    weight = loaded.model.action_head.weight
    assert weight.dtype == torch.float32
    assert torch.allclose(weight, policy.model.action_head.weight, atol=1e-3)


def test_counters_of_batch_norms_are_dropped(saved):
    folder, _ = saved
    edit_weights(folder, lambda t: t.update({"model.backbone.bn1.num_batches_tracked": torch.tensor(3)}))
    assert checkpoints.load_policy(checkpoints.describe(folder)).config.chunk_size == 4


def test_pickled_weights_are_refused_unless_asked_for(saved):
    folder, policy = saved
    torch.save(policy.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    checkpoint = checkpoints.describe(folder)
    with pytest.raises(InputError, match=r"pytorch_model\.bin is a pickle"):
        checkpoints.load_policy(checkpoint)
    loaded = checkpoints.load_policy(checkpoint, allow_pickle=True)
    assert torch.equal(loaded.model.action_head.weight, policy.model.action_head.weight)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def test_a_pickle_that_holds_code_does_not_run_it(saved):
    folder, _ = saved
    (folder / "model.safetensors").unlink()
    torch.save({"model.action_head.bias": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="no file of tensors"):
        checkpoints.load_policy(checkpoints.describe(folder), allow_pickle=True)


def test_truncated_weights_are_refused(saved):
    folder, _ = saved
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="inside the file"):
        checkpoints.load_policy(checkpoints.describe(folder))


def test_weights_without_processor_files_and_without_statistics_are_refused(saved):
    for file in saved[0].glob("policy_*"):
        file.unlink()
    with pytest.raises(InputError, match=r"policy_preprocessor\.json"):
        checkpoints.describe(saved[0])


def test_an_adapter_alone_is_refused(saved):
    for file in saved[0].glob("policy_*"):
        file.unlink()
    (saved[0] / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="adapter"):
        checkpoints.describe(saved[0])


def test_the_old_layout_gives_its_statistics_and_is_saved_as_the_current_one(saved, tmp_path):
    folder, _ = saved
    statistics = {}
    for group, feature in (
        ("normalize_inputs", "observation_state"),
        ("normalize_targets", "action"),
        ("unnormalize_outputs", "action"),
    ):
        for key, value in VECTOR.items():
            statistics[f"{group}.buffer_{feature}.{key}"] = torch.tensor(value, dtype=torch.float32)
    edit_weights(folder, lambda t: t.update(statistics))
    for file in folder.glob("policy_*"):
        file.unlink()
    old = checkpoints.describe(folder)
    steps = checkpoints.load_processing(old)
    assert old.layout == "0.3.3"
    np.testing.assert_allclose(steps.invert_actions(np.ones((1, 4, 3), np.float32)), 3)
    new = checkpoints.save(tmp_path / "new", checkpoints.load_policy(old), "act", steps, old.about)
    assert checkpoints.describe(new).layout == "current"
    again = checkpoints.load_processing(checkpoints.describe(new))
    np.testing.assert_allclose(again.invert_actions(np.ones((1, 4, 3), np.float32)), 3)

    edit_weights(folder, lambda t: t.pop("unnormalize_outputs.buffer_action.std"))
    with pytest.raises(InputError, match=r"no tensor unnormalize_outputs\.buffer_action\.std"):
        checkpoints.load_processing(checkpoints.describe(folder))


def test_loading_does_not_move_the_callers_random_numbers(saved):
    checkpoint = checkpoints.describe(saved[0])
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    checkpoints.load_policy(checkpoint)
    assert torch.equal(torch.rand(3), wanted)
