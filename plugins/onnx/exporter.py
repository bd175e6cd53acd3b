"""Graphs of a program as ONNX files: fixed operator set, folded constants, weights in one file beside each."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rl.api import InputError
from rl.api.protocols import Graph, GraphFile, Program
from rl.plugins.onnx.config import OnnxExportConfig


class OnnxExporter:
    """Writes NAME.onnx and NAME.onnx.data for every graph, through `torch.export`.

    Errors: InputError naming the graph that cannot be traced, with the cause's first line.
    """

    def __init__(self, config: OnnxExportConfig) -> None:
        self.config = config

    def write(self, program: Program, folder: Path) -> Sequence[GraphFile]:
        return [self._write(graph, folder) for graph in program.graphs]

    def _write(self, graph: Graph, folder: Path) -> GraphFile:
        path = folder / f"{graph.name}.onnx"
        module = graph.module.eval()
        try:
            with _quiet(), torch.no_grad():
                written = torch.onnx.export(
                    module,
                    graph.example,
                    input_names=list(graph.inputs),
                    output_names=list(graph.outputs),
                    opset_version=self.config.opset,
                    dynamo=True,
                    optimize=True,
                    dynamic_shapes=_dynamic(graph),
                    verbose=False,
                )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            cause = str(error.__cause__ or error).strip().splitlines()
            first = cause[0] if cause else type(error).__name__
            raise InputError(f"graph '{graph.name}' cannot be written as ONNX: {first}", where="export") from error
        assert written is not None  # None only when torch is asked to write a file itself
        _require_inputs(graph, written)
        _forget_sources(written.model)
        written.save(path, external_data=True)
        return GraphFile(graph.name, path.name, "float32")


def _dynamic(graph: Graph) -> Any:
    """Axes that may vary, in the order of the inputs, as torch.export wants them; None when all are fixed."""
    if not graph.dynamic:
        return None
    named: dict[str, Any] = {}
    axes = []
    for name in graph.inputs:
        given = graph.dynamic.get(name, {})
        axes.append({axis: named.setdefault(label, torch.export.Dim(label)) for axis, label in given.items()} or None)
    return (tuple(axes),)  # the module takes *arrays: one argument that is a tuple


def _require_inputs(graph: Graph, written: Any) -> None:
    """An input that a graph does not use may be dropped in tracing: the names would then slip."""
    have = tuple(value.name for value in written.model.graph.inputs)
    if have != graph.inputs:
        raise InputError(
            f"graph '{graph.name}' was written with the inputs {', '.join(have)}, wanted {', '.join(graph.inputs)}",
            where="export",
        )


def _forget_sources(model: Any) -> None:
    """Drops what tracing noted on every node: file names and lines of the machine that exported."""
    for part in (model, model.graph, *model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        part.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns and logs about its own internals; faults come as exceptions."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.onnx._internal.exporter")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
