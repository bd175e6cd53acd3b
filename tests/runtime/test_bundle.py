"""Bundles from strangers: what is not as the manifest says is named and not used."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from rl.api import InputError
from rl.runtime import manifest as manifests
from rl.runtime.bundle import Bundle


def check_refused(folder, match: str, **options) -> InputError:
    with pytest.raises(InputError, match=match) as caught:
        Bundle.open(folder, **options)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_bundle_says_what_it_takes_and_gives(bundle):
    opened = Bundle.open(bundle())
    assert list(opened.inputs) == ["observation.state", "observation.images.front"]
    assert opened.inputs["observation.state"].units == ("deg", "percent")
    assert opened.action.shape == (2,)
    assert (opened.fps, opened.chunk, opened.execute, opened.ensemble) == (10.0, 4, 2, None)
    assert opened.graph_files()[0].path == "graphs/chunk.bin"


def test_a_changed_file_is_named(bundle):
    folder = bundle()
    content = bytearray((folder / "graphs" / "chunk.bin").read_bytes())
    content[7] ^= 1
    (folder / "graphs" / "chunk.bin").write_bytes(content)
    check_refused(folder, r"chunk\.bin: is not what was exported")
    assert Bundle.open(folder, verify=False).fps == 10.0


def test_a_large_file_is_compared_in_the_background(bundle, monkeypatch):
    monkeypatch.setattr("rl.runtime.bundle.PARSED_AT_ONCE", 10)
    folder = bundle()
    Bundle.open(folder, verify=False).verification().wait()
    content = bytearray((folder / "graphs" / "chunk.bin").read_bytes())
    content[7] ^= 1
    (folder / "graphs" / "chunk.bin").write_bytes(content)
    checking = Bundle.open(folder, verify=False).verification()
    with pytest.raises(InputError, match=r"chunk\.bin"):
        checking.wait()


def test_a_missing_file_is_named(bundle):
    folder = bundle()
    (folder / "sample.safetensors").unlink()
    check_refused(folder, r"sample\.safetensors: is missing")


def test_a_shorter_file_is_named_before_any_sum(bundle):
    folder = bundle()
    (folder / "graphs" / "chunk.bin").write_bytes(b"graph")
    check_refused(folder, r"chunk\.bin: has 5 bytes, 500 were written", verify=False)


def test_a_file_that_the_manifest_does_not_list_is_refused(bundle):
    folder = bundle()
    (folder / "graphs" / "libevil.so").write_bytes(b"\x7fELF")
    check_refused(folder, r"does not list 'graphs/libevil\.so'")


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "graphs/../../secret", "a//b", "./a", "C:\\x", "a\\..\\b", ""]
)
def test_a_path_that_leaves_the_folder_is_refused(bundle, path):
    def lead_away(plain):
        plain["files"][path] = plain["files"]["graphs/chunk.bin"]
        plain["program"]["graphs"][0]["path"] = path

    folder = bundle(lead_away)
    (folder.parent / "secret").write_bytes(b"graph" * 100)
    check_refused(folder, "leaves the bundle")


def test_a_link_out_of_the_folder_is_refused(bundle):
    folder = bundle()
    outside = folder.parent / "outside.bin"
    shutil.move(folder / "graphs" / "chunk.bin", outside)
    (folder / "graphs" / "chunk.bin").symlink_to(outside)
    check_refused(folder, r"chunk\.bin: is a link")


def test_a_linked_folder_is_refused(bundle):
    folder = bundle()
    shutil.move(folder / "graphs", folder.parent / "graphs")
    (folder / "graphs").symlink_to(folder.parent / "graphs")
    check_refused(folder, "outside the bundle|does not list")


def test_a_pipe_in_place_of_a_file_is_refused(bundle):
    folder = bundle()
    (folder / "sample.safetensors").unlink()
    os.mkfifo(folder / "sample.safetensors")
    check_refused(folder, r"sample\.safetensors: is missing")


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    check_refused(tmp_path, r"no manifest\.json: not a bundle")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"schema": 1'])
def test_a_manifest_that_is_not_json_is_refused(bundle, content):
    folder = bundle()
    (folder / "manifest.json").write_bytes(content)
    check_refused(folder, r"manifest\.json: is not JSON")


def test_an_enormous_manifest_is_not_read(bundle, monkeypatch):
    monkeypatch.setattr(manifests, "LIMIT", 100)
    check_refused(bundle(), r"manifest\.json: has \d+ bytes, at most 100")


def test_another_schema_version_is_named_with_ours(bundle):
    check_refused(
        bundle(lambda plain: plain.update(schema=9)), r"schema version 9, this program reads 1; export it again"
    )


def set_at(*path):
    *heads, last, value = path

    def change(plain):
        for key in heads:
            plain = plain[key]
        plain[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_at("kind", "zip"), "does not describe a bundle"),
        (set_at("surprise", 1), "surprise"),
        (set_at("rate", "fps", 0), r"\$\.rate\.fps"),
        (set_at("rate", "fps", "fast"), r"\$\.rate\.fps"),
        (set_at("rate", "execute", 9), "execute 9 is more than the chunk's 4"),
        (set_at("rate", "chunk", 1 << 40), r"\$\.rate\.chunk"),
        (set_at("inputs", 1, "shape", [1 << 20, 1 << 20, 3]), "impossible shape"),
        (set_at("inputs", 0, "unit", ["deg"]), "1 unit for shape"),
        (set_at("outputs", []), "one action vector"),
        (set_at("windows", {"observation.state": [0, -1]}), "not ascending steps"),
        (set_at("windows", {"observation.state": [-99999999, 0]}), "not ascending steps"),
        (set_at("program", "calls", 0, "graph", "other"), "the graph 'other', which is not there"),
        (set_at("program", "calls", 0, "until", "done"), "has no output 'done'"),
        (set_at("program", "calls", 0, "carry", {"gone": "noise"}), "has no output 'gone'"),
        (set_at("program", "calls", 0, "repeat", 10**9), r"\$\.program\.calls"),
        (set_at("program", "calls", 0, {"graph": "chunk", "repeat": 3, "schedule": {"t": [1.0]}}), "1 values for 3"),
        (set_at("program", "draws", 0, "shape", [1 << 20, 1 << 20]), "impossible shape"),
        (set_at("program", "draws", 0, "law", "cauchy"), "cauchy"),
        (set_at("program", "graphs", 0, "inputs", 0, "shape", [1 << 15, 1 << 15]), "impossible shape"),
        (set_at("program", "chunk", "chunks"), "no call makes 'chunks'"),
        (set_at("program", "state", {"action": "memory"}), "'memory' has no first value"),
        (set_at("files", "sample.safetensors", "sha256", "abc"), "sha256|pattern"),
        (set_at("sample", "other.safetensors"), "used but not listed"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(bundle, change, match):
    check_refused(bundle(change), match, verify=False)


def test_a_sample_that_lacks_a_tensor_is_named(bundle):
    from rl.process.tensor_files import write_arrays

    folder = bundle()
    (folder / "sample.safetensors").unlink()
    write_arrays(folder / "sample.safetensors", {})
    plain = json.loads((folder / "manifest.json").read_text())
    plain["files"]["sample.safetensors"]["bytes"] = (folder / "sample.safetensors").stat().st_size
    (folder / "manifest.json").write_text(json.dumps(plain))
    with pytest.raises(InputError, match=r"sample\.safetensors: holds no 'observation/observation\.state'"):
        Bundle.open(folder, verify=False).sample()
