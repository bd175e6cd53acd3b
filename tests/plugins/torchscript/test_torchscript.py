"""Graphs as TorchScript, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import Call, Graph, GraphFile, Program
from rl.plugins.torchscript.config import TorchScriptExportConfig, TorchScriptRuntimeConfig
from rl.plugins.torchscript.exporter import TorchScriptExporter
from rl.plugins.torchscript.runtime import TorchScriptRuntime


class Two(torch.nn.Module):
    def forward(self, *given):
        return given[0] + given[1], given[0] - given[1]


@pytest.fixture
def written(tmp_path):
    graph = Graph("chunk", Two(), ("a", "b"), ("sum", "difference"), (torch.ones(3), torch.ones(3)))
    return tmp_path, TorchScriptExporter(TorchScriptExportConfig()).write(
        Program((graph,), (Call("chunk"),), "sum"), tmp_path
    )


def test_outputs_keep_their_names(written):
    made = TorchScriptRuntime(TorchScriptRuntimeConfig(), *written).run(
        "chunk", {"a": np.array([1, 2, 3], np.float32), "b": np.ones(3, np.float32)}
    )
    np.testing.assert_array_equal(made["sum"], [2, 3, 4])
    np.testing.assert_array_equal(made["difference"], [0, 1, 2])


def test_what_is_no_torchscript_is_named(tmp_path):
    (tmp_path / "chunk.pt").write_bytes(b"PK\x03\x04junk")
    with pytest.raises(InputError, match=r"chunk\.pt: is not TorchScript") as caught:
        TorchScriptRuntime(TorchScriptRuntimeConfig(), tmp_path, [GraphFile("chunk", "chunk.pt", "float32")])
    assert "\n" not in str(caught.value)


def test_a_failing_graph_is_one_line(written):
    runtime = TorchScriptRuntime(TorchScriptRuntimeConfig(), *written)
    with pytest.raises(RlError, match="graph 'chunk' failed") as caught:
        runtime.run("chunk", {"a": np.ones(3, np.float32), "b": np.ones(2, np.float32)})
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_said(written):
    with pytest.raises(InputError, match="there is no device 'abacus'"):
        TorchScriptRuntime(TorchScriptRuntimeConfig(device="abacus"), *written)
    if not torch.cuda.is_available():
        with pytest.raises(MissingPart, match="no CUDA device"):
            TorchScriptRuntime(TorchScriptRuntimeConfig(device="cuda"), *written)
