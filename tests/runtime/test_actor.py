"""Observations in, chunks out, over a runtime that is three lines."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rl.api import InputError, RlError
from rl.runtime.actor import Actor, open_actor, relative_error
from rl.runtime.bundle import Bundle
from rl.runtime.interpreter import Interpreter
from rl.runtime.manifest import parse


@pytest.fixture
def actor(bundle, doubling):
    return Actor(Bundle.open(bundle()), doubling())


def shown(value: float, **changes):
    given = {
        "observation.state": np.array([value, -value]),
        "observation.images.front": np.zeros((4, 6, 3), np.uint8),
    }
    return {**given, **changes}


def test_a_chunk_is_float32_in_robot_units(actor):
    chunk = actor.infer(shown(3.0))
    assert chunk.shape == (4, 2)
    assert chunk.dtype == np.float32


def test_the_same_seed_draws_the_same_numbers(bundle, doubling):
    opened = Bundle.open(bundle())
    chunks = [Actor(opened, doubling(), seed=seed).infer(shown(1.0)) for seed in (4, 4, 5)]
    np.testing.assert_array_equal(chunks[0], chunks[1])
    assert np.abs(chunks[0] - chunks[2]).max() > 0.1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"observation.state": np.zeros(3)}, r"'observation\.state' has shape \[3\], the policy wants \[2\]"),
        (
            {"observation.images.front": np.zeros((6, 4, 3), np.uint8)},
            r"has shape \[6, 4, 3\], the policy wants \[4, 6, 3\]",
        ),
        ({"observation.images.front": np.zeros((4, 6, 3), np.float32)}, "is float32, the policy wants uint8"),
    ],
)
def test_an_observation_that_does_not_fit_is_named(actor, changes, match):
    with pytest.raises(InputError, match=match):
        actor.infer(shown(1.0, **changes))


def test_a_missing_observation_is_named(actor):
    with pytest.raises(InputError, match=r"holds no 'observation\.images\.front'"):
        actor.infer({"observation.state": np.zeros(2)})


def test_an_observation_is_copied(actor):
    buffer = np.zeros(2)
    actor.observe(shown(0.0, **{"observation.state": buffer}))
    buffer[:] = 9
    actor.observe(shown(1.0))
    np.testing.assert_array_equal(actor.history.window()["observation.state"][0, 0], [0, 0])


def test_the_sample_is_the_proof_that_this_machine_computes_what_was_exported(actor):
    assert actor.check_sample() == 0.0


@pytest.mark.parametrize("off_by", [0.1, float("nan")])
def test_a_sample_that_comes_out_otherwise_is_refused(bundle, doubling, off_by):
    with pytest.raises(InputError, match="its sample gives a chunk that is") as caught:
        Actor(Bundle.open(bundle()), doubling(off_by)).check_sample()
    assert caught.value.exit_code == 2


def test_a_runtime_that_gives_another_shape_is_refused(bundle, doubling):
    class Short(doubling):
        def run(self, graph, inputs):
            return {"action": super().run(graph, inputs)["action"][:, :3]}

    with pytest.raises(InputError, match=r"the chunk has shape \[1, 3, 2\], \[1, 4, 2\] was exported"):
        Actor(Bundle.open(bundle()), Short()).infer(shown(1.0))


def test_a_runtime_that_gives_nothing_is_named(bundle, doubling):
    class Silent(doubling):
        def run(self, graph, inputs):
            return {}

    with pytest.raises(RlError, match="graph 'chunk' gave no 'action'"):
        Actor(Bundle.open(bundle()), Silent()).infer(shown(1.0))


def test_draws_keep_their_law(manifest):
    manifest["program"]["draws"] = [
        {"name": "n", "shape": [4000]},
        {"name": "u", "shape": [4000], "law": "uniform"},
        {"name": "i", "shape": [4000], "law": "integers", "high": 3},
    ]
    manifest["files"] = {p: {"sha256": "0" * 64, "bytes": 1} for p in ("graphs/chunk.bin", "sample.safetensors")}
    drawn = Interpreter(parse(manifest).program, None).draws(np.random.default_rng(0))
    assert drawn["n"].dtype == drawn["u"].dtype == np.float32
    assert drawn["i"].dtype == np.int64
    assert abs(drawn["n"].mean()) < 0.1
    assert abs(drawn["n"].std() - 1) < 0.1
    assert drawn["u"].min() >= 0
    assert drawn["u"].max() < 1
    assert set(drawn["i"].tolist()) == {0, 1, 2}


def test_an_error_is_measured_by_the_scale_or_the_value():
    want = np.array([[1.0, 1000.0]], np.float32)
    assert relative_error(want + np.array([[0.1, 0.0]]), want, (10.0, 1.0)) == pytest.approx(0.01, rel=1e-5)
    assert relative_error(want + np.array([[0.0, 1.0]]), want, (10.0, 1.0)) == pytest.approx(0.001, rel=1e-5)
    assert np.isnan(relative_error(np.full_like(want, np.nan), want, ()))


def test_a_runtime_of_another_kind_of_graph_is_refused(bundle):
    folder = bundle()
    with pytest.raises(InputError, match="no installed runtime runs doubling graphs"):
        open_actor(folder)
    with pytest.raises(InputError, match="runtime 'onnx' does not run doubling graphs"):
        open_actor(folder, runtime="onnx")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="gone: there is no such folder"):
        open_actor(tmp_path / "gone")


def test_importing_the_runtime_imports_nothing_heavy():
    code = (
        "import sys, rl.runtime.actor, rl.runtime.bundle, rl.runtime.stepper;"
        "heavy = {'torch', 'onnxruntime', 'cv2', 'av', 'pyarrow', 'transformers', 'typer', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
