"""ONNX graphs from strangers, and the options of the runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import GraphFile
from rl.plugins.onnx.config import OnnxRuntimeConfig
from rl.plugins.onnx.runtime import OnnxRuntime, require_inside

FILES = [GraphFile("chunk", "chunk.onnx", "float32")]


def value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])


def write(folder, location="chunk.onnx.data", node=None, opsets=()):
    """y = x + w, with w in a file at `location`."""
    weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", "0"), ("length", "16")):
        weight.external_data.add(key=key, value=text)
    node = node or helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [value("x")], [value("y")], [weight])
    imports = [helper.make_opsetid("", 20), *opsets]
    folder.mkdir(exist_ok=True)
    (folder / "chunk.onnx").write_bytes(
        helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    )
    (folder / "chunk.onnx.data").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    return folder


def test_a_graph_runs_with_its_weights_beside_it(tmp_path):
    runtime = OnnxRuntime(OnnxRuntimeConfig(threads=1), write(tmp_path / "b"), FILES)
    made = runtime.run("chunk", {"x": np.ones(4, np.float32)})
    np.testing.assert_array_equal(made["y"], [1, 2, 3, 4])
    runtime.close()


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "deep/../../secret.bin", "x" * 200, "a\\b"])
def test_weights_outside_the_folder_are_refused(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    folder = write(tmp_path / "b", location)
    with pytest.raises(InputError, match=r"chunk\.onnx: its weights lie outside its folder"):
        require_inside(folder / "chunk.onnx")
    with pytest.raises(InputError, match=r"chunk\.onnx"):
        OnnxRuntime(OnnxRuntimeConfig(), folder, FILES)


def test_weights_behind_a_link_are_refused(tmp_path):
    folder = write(tmp_path / "b", "link.bin")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(InputError, match=r"outside its folder: 'link\.bin'"):
        OnnxRuntime(OnnxRuntimeConfig(), folder, FILES)


def test_operators_of_strangers_are_not_loaded(tmp_path):
    evil = helper.make_node("Evil", ["x"], ["y"], domain="evil.ops")
    folder = write(tmp_path / "b", node=evil, opsets=[helper.make_opsetid("evil.ops", 1)])
    with pytest.raises(InputError, match=r"chunk\.onnx: ONNX Runtime refuses it: .*evil\.ops"):
        OnnxRuntime(OnnxRuntimeConfig(), folder, FILES)


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\x0a" * 500])
def test_what_is_no_graph_is_named(tmp_path, content):
    folder = write(tmp_path / "b")
    (folder / "chunk.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"chunk\.onnx: ") as caught:
        OnnxRuntime(OnnxRuntimeConfig(), folder, FILES)
    assert "\n" not in str(caught.value)


def test_an_input_of_the_wrong_shape_is_one_line(tmp_path):
    runtime = OnnxRuntime(OnnxRuntimeConfig(), write(tmp_path / "b"), FILES)
    with pytest.raises(RlError, match="graph 'chunk' failed"):
        runtime.run("chunk", {"x": np.ones(3, np.float32)})


def test_a_device_that_is_not_there_is_said(tmp_path):
    import onnxruntime

    folder = write(tmp_path / "b")
    with pytest.raises(InputError, match="there is no device 'tpu'"):
        OnnxRuntime(OnnxRuntimeConfig(device="tpu"), folder, FILES)
    assert "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    with pytest.raises(MissingPart, match=r"no CUDA provider.*deploy-gpu"):
        OnnxRuntime(OnnxRuntimeConfig(device="cuda"), folder, FILES)
