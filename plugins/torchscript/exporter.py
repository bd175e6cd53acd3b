"""Graphs of a program as frozen TorchScript."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from rl.api import InputError
from rl.api.protocols import Graph, GraphFile, Program
from rl.plugins.torchscript.config import TorchScriptExportConfig


class TorchScriptExporter:
    """Writes NAME.pt for every graph, traced and frozen. Errors: InputError naming a graph that cannot be traced."""

    def __init__(self, config: TorchScriptExportConfig) -> None:
        self.config = config

    def write(self, program: Program, folder: Path) -> Sequence[GraphFile]:
        return [_write(graph, folder) for graph in program.graphs]


def _write(graph: Graph, folder: Path) -> GraphFile:
    path = folder / f"{graph.name}.pt"
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracing notes that shapes are constants: they are, parity checks the rest
            module = graph.module.eval()
            traced = torch.jit.trace(module, graph.example, check_trace=False)  # type: ignore[no-untyped-call]
            frozen = torch.jit.freeze(traced)
            torch.jit.save(frozen, path, _extra_files={"outputs": "\n".join(graph.outputs)})
    except (RuntimeError, TypeError, ValueError) as error:
        cause = str(error).strip().splitlines()
        raise InputError(
            f"graph '{graph.name}' cannot be traced: {cause[0] if cause else type(error).__name__}", where="export"
        ) from error
    return GraphFile(graph.name, path.name, "float32")
