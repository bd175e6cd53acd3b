"""Runs a program: graphs in order, with draws, state, carried values, schedules and early ends, all of it data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rl.api.errors import InputError, RlError
from rl.runtime.manifest import CallEntry, GraphEntry, ProgramEntry, TensorEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rl.api.protocols import Runtime

    Arrays = Mapping[str, NDArray[Any]]


class Interpreter:
    """One inference of a program over a runtime that maps arrays to arrays.

    Errors: RlError when a graph gives not what the program says, InputError when an input is missing or misshapen.
    """

    def __init__(self, program: ProgramEntry, runtime: Runtime) -> None:
        self.program, self.runtime = program, runtime
        self.graphs = {graph.name: graph for graph in program.graphs}

    def run(self, given: Arrays) -> dict[str, NDArray[Any]]:
        """Every value by name after the last call. given: observations, draws and state."""
        values = dict(given)
        for call in self.program.calls:
            self._call(call, values)
        return values

    def draws(self, generator: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Fresh numbers for one inference: float32, or int64 for integers."""
        made: dict[str, NDArray[Any]] = {}
        for draw in self.program.draws:
            if draw.law == "normal":
                made[draw.name] = generator.standard_normal(draw.shape, dtype=np.float32)
            elif draw.law == "uniform":
                made[draw.name] = generator.random(draw.shape, dtype=np.float32)
            else:
                made[draw.name] = generator.integers(draw.high, size=draw.shape, dtype=np.int64)
        return made

    def after(self, values: Arrays) -> dict[str, NDArray[Any]]:
        """The state that the next inference begins with."""
        return {into: values[out] for out, into in self.program.state.items()}

    def _call(self, call: CallEntry, values: dict[str, NDArray[Any]]) -> None:
        graph = self.graphs[call.graph]
        for turn in range(call.repeat):
            scheduled = {name: steps[turn] for name, steps in call.schedule.items()}
            inputs = {t.name: _input(graph, t, values, scheduled) for t in graph.inputs}
            outputs = self.runtime.run(graph.name, inputs)
            missing = [name for name in graph.outputs if name not in outputs]
            if missing:
                raise RlError(f"graph '{graph.name}' gave no '{missing[0]}'", where="runtime")
            values.update(outputs)
            values.update({into: outputs[out] for out, into in call.carry.items()})
            if call.until and bool(np.all(outputs[call.until])):
                break


def _input(graph: GraphEntry, tensor: TensorEntry, values: Arrays, scheduled: Mapping[str, float]) -> NDArray[Any]:
    """The value of one input, of the type and shape that its graph was written for."""
    if tensor.name in scheduled:
        return np.full(tensor.shape, scheduled[tensor.name], dtype=tensor.dtype)
    if tensor.name not in values:
        raise InputError(f"graph '{graph.name}' wants '{tensor.name}', which nothing gives", where="program")
    value = np.asarray(values[tensor.name])
    fits = len(value.shape) == len(tensor.shape) and all(
        have == want or str(axis) in tensor.free
        for axis, (have, want) in enumerate(zip(value.shape, tensor.shape, strict=True))
    )
    if not fits:
        raise InputError(
            f"'{tensor.name}' has shape {list(value.shape)}, graph '{graph.name}' wants {list(tensor.shape)}",
            where="program",
        )
    return np.ascontiguousarray(value, dtype=tensor.dtype)
