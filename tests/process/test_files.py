"""Processor files: round trip, LeRobot's own bytes, and files that must be refused."""

import json
import shutil
import struct
import warnings

import numpy as np
import pytest
from safetensors.numpy import save_file

from rl.api import InputError
from rl.process.features import read_features, write_features
from rl.process.files import POST, PRE, read_processing, write_processing
from rl.process.pipeline import build_processing
from rl.process.tensor_files import HEADER_LIMIT, header, read_arrays

FEATURES = {
    "observation.images.top": {"type": "VISUAL", "shape": [3, 4, 6]},
    "observation.state": {"type": "STATE", "shape": [2]},
}
INPUTS, OUTPUTS = read_features(FEATURES), read_features({"action": {"type": "ACTION", "shape": [2]}})
VECTOR = {"mean": np.ones(2), "std": np.full(2, 2.0), "min": np.zeros(2), "max": np.full(2, 10.0)}
MODES = {"image": "mean_std", "state": "mean_std", "action": "min_max"}


@pytest.fixture
def folder(tmp_path):
    steps = build_processing(MODES, INPUTS, OUTPUTS, {"observation.state": VECTOR, "action": VECTOR}, imagenet=True)
    write_processing(tmp_path, steps)
    return tmp_path


def change(folder, pipeline, edit):
    path = folder / f"{pipeline}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_what_is_written_is_read_back(folder):
    steps = read_processing(folder, INPUTS, OUTPUTS)
    chunk = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 3, 2)
    np.testing.assert_allclose(steps.invert_actions(chunk), (chunk + 1) * 5)
    ready = steps.apply({"observation.state": np.full((1, 1, 2), 5.0)})
    np.testing.assert_allclose(ready["observation.state"], 2)


def test_the_steps_that_lerobots_tools_address_are_there(folder):
    names = [
        [step["registry_name"] for step in json.loads((folder / f"{p}.json").read_text())["steps"]] for p in (PRE, POST)
    ]
    assert names == [
        ["rename_observations_processor", "to_batch_processor", "device_processor", "normalizer_processor"],
        ["unnormalizer_processor", "device_processor"],
    ]
    assert (folder / "policy_preprocessor_step_3_normalizer_processor.safetensors").is_file()


@pytest.mark.parametrize("name", ["act_vae", "act_minmax", "act_envstate", "act_1cam"])
def test_lerobots_files_are_written_again_byte_for_byte(shared, tmp_path, name):
    source = shared / "golden" / name
    config = json.loads((source / "config.json").read_text())
    inputs, outputs = (read_features(config[key]) for key in ("input_features", "output_features"))
    write_processing(tmp_path, read_processing(source, inputs, outputs))
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(path.name for path in source.glob("policy_*"))
    assert [n for n in written if (tmp_path / n).read_bytes() != (source / n).read_bytes()] == []
    assert write_features(inputs) == config["input_features"]


def test_a_feature_without_statistics_in_a_file_passes_with_one_warning(folder):
    file = folder / "policy_preprocessor_step_3_normalizer_processor.safetensors"
    save_file({k: v for k, v in read_arrays(file).items() if not k.startswith("observation.state")}, file)
    with pytest.warns(UserWarning, match=r"observation\.state") as caught:
        steps = read_processing(folder, INPUTS, OUTPUTS)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ready = steps.apply({"observation.state": np.full((1, 1, 2), 5.0)})
    np.testing.assert_array_equal(ready["observation.state"], np.full((1, 1, 2), 5.0))
    with pytest.raises(InputError, match=r"observation\.state"):
        steps.require_statistics()


def test_the_posts_own_mode_counts_not_the_pres(folder):
    change(folder, POST, lambda c: c["steps"][0]["config"]["norm_map"].update(ACTION="IDENTITY"))
    chunk = np.ones((1, 1, 2), np.float32)
    np.testing.assert_array_equal(read_processing(folder, INPUTS, OUTPUTS).invert_actions(chunk), chunk)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c["steps"][0].update(registry_name="renme_observations_processor"), "did you mean"),
        (lambda c: c["steps"].append({"class": "os.system", "config": {}}), "registry_name"),
        (lambda c: c["steps"][3]["config"].pop("norm_map"), "norm_map"),
        (lambda c: c["steps"][3]["config"].update(epsilon=1), "epsilon"),
        (lambda c: c["steps"][3].update(state_file="../secret.safetensors"), "plain file name"),
        (lambda c: c["steps"][3].update(state_file="/etc/hostname"), "plain file name"),
        (lambda c: c["steps"][3].update(state_file="absent.safetensors"), "absent.safetensors is missing"),
        (lambda c: c["steps"][3].update(code="import os"), "unknown key 'code'"),
        (lambda c: c.update(steps="none"), "list"),
        (lambda c: c["steps"][3]["config"]["features"]["action"].update(shape=[-1]), "impossible shape"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(folder, edit, words):
    change(folder, PRE, edit)
    with pytest.raises(InputError, match=words) as caught:
        read_processing(folder, INPUTS, OUTPUTS)
    assert PRE in str(caught.value) or "renme" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_not_json_are_named(folder):
    (folder / f"{POST}.json").write_text("{" * 5000)
    with pytest.raises(InputError, match=f"{POST}.json: is not JSON"):
        read_processing(folder, INPUTS, OUTPUTS)
    (folder / f"{POST}.json").unlink()
    with pytest.raises(InputError, match=f"{POST}.json: is missing"):
        read_processing(folder, INPUTS, OUTPUTS)


def spelt(head: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(head) if length is None else length) + head + body


ONE = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cut short"),
        (b"\x01\x02", "cut short"),
        (spelt(b"{}", length=1 << 40), "cut short"),
        (spelt(b"[]"), "not JSON"),
        (spelt(b"not json"), "not JSON"),
        (spelt(b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'), "inside the file"),
        (spelt(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b"0000"), "inside the file"),
        (spelt(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"0000"), "impossible"),
        (spelt(b'{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}', b"0000"), "described"),
        (
            spelt(b'{"a":' + ONE + b',"b":' + ONE + b"}", b"0000"),
            "share bytes",
        ),
    ],
)  # fmt: skip
def test_a_hostile_tensor_file_is_refused_before_anything_is_allocated(tmp_path, content, words):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        header(path)


def test_an_oversized_header_is_refused_though_the_file_is_large_enough(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", HEADER_LIMIT + 1))
        file.truncate(HEADER_LIMIT + 100)  # a hole: nothing is stored
    with pytest.raises(InputError, match="header claims"):
        header(path)


def test_the_checks_accept_what_safetensors_writes(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": np.zeros((2, 3), np.float16), "b": np.zeros((), np.int64), "c": np.zeros((0, 4), np.float32)}, path)
    assert {k: (e.dtype, e.shape) for k, e in header(path).items()} == {
        "a": ("F16", (2, 3)),
        "b": ("I64", ()),
        "c": ("F32", (0, 4)),
    }


def test_a_copy_of_a_folder_can_be_read_anywhere(folder, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved") / "m"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    assert read_processing(moved, INPUTS, OUTPUTS).unscaled() == []
