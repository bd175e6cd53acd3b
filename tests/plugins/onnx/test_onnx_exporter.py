"""Graphs as ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from rl.api import InputError
from rl.api.protocols import Call, Graph, Program
from rl.plugins.onnx.config import OnnxExportConfig, OnnxRuntimeConfig
from rl.plugins.onnx.exporter import OnnxExporter
from rl.plugins.onnx.runtime import OnnxRuntime


class Mixed(torch.nn.Module):
    """Sum over a free axis times a weight; the second input is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 64)

    def forward(self, *given):
        words, _ = given
        return (self.linear(words.sum(1)), words.mean((1, 2)))


def program(**changes):
    example = (torch.ones(1, 5, 64), torch.zeros(1, 3))
    graph = Graph("chunk", Mixed(), ("words", "spare"), ("action", "mean"), example, **changes)
    return Program((graph,), (Call("chunk"),))


def test_a_graph_is_written_with_its_weights_beside_it_and_without_traces_of_the_machine(tmp_path):
    (file,) = OnnxExporter(OnnxExportConfig()).write(program(), tmp_path)
    assert file.path == "chunk.onnx"
    model = onnx.load(tmp_path / file.path, load_external_data=False)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [20]
    assert {entry.domain for entry in model.opset_import} <= {""}
    weights = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert {entry.value for t in weights for entry in t.external_data if entry.key == "location"} == {"chunk.onnx.data"}
    assert (tmp_path / "chunk.onnx.data").stat().st_size >= 64 * 64 * 4
    content = (tmp_path / "chunk.onnx").read_bytes()
    assert str(Path(__file__).parent).encode() not in content
    assert b"stack_trace" not in content


def test_inputs_that_a_graph_does_not_use_keep_their_place(tmp_path):
    files = OnnxExporter(OnnxExportConfig()).write(program(), tmp_path)
    made = OnnxRuntime(OnnxRuntimeConfig(), tmp_path, files).run(
        "chunk", {"words": np.ones((1, 5, 64), np.float32), "spare": np.ones((1, 3), np.float32)}
    )
    assert set(made) == {"action", "mean"}
    assert float(made["mean"][0]) == 1


def test_a_free_axis_takes_other_lengths(tmp_path):
    given = program(dynamic={"words": {1: "length"}})
    files = OnnxExporter(OnnxExportConfig()).write(given, tmp_path)
    runtime = OnnxRuntime(OnnxRuntimeConfig(), tmp_path, files)
    words = np.random.default_rng(0).standard_normal((1, 9, 64)).astype(np.float32)
    made = runtime.run("chunk", {"words": words, "spare": np.zeros((1, 3), np.float32)})
    with torch.no_grad():
        want = given.graphs[0].module(torch.from_numpy(words), torch.zeros(1, 3))[0].numpy()
    np.testing.assert_allclose(made["action"], want, rtol=1e-4, atol=1e-5)


def test_a_graph_that_cannot_be_traced_is_named_in_one_line(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, *given):
            return (given[0] if float(given[0].sum()) > 0 else -given[0],)

    graph = Graph("odd", Branching(), ("x",), ("y",), (torch.ones(2),))
    with pytest.raises(InputError, match="graph 'odd' cannot be written as ONNX") as caught:
        OnnxExporter(OnnxExportConfig()).write(Program((graph,), (Call("odd"),), "y"), tmp_path)
    assert "\n" not in str(caught.value)
