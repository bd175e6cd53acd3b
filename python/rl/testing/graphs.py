"""What the kits of exporters and runtimes share: a partner for the other half, and numbers to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rl.api.protocols import Draw, Graph, GraphFile, Program
from rl.config import build
from rl.registry import Registry
from rl.testing.conformance import LeftOut, require
from rl.testing.programs import eager, run_program, tensor_like

TOLERANCE = 1e-4


def partner(registry: Registry, kind: str, graphs: Sequence[str]) -> tuple[str, Any]:
    """(name, spec) of an installed exporter or runtime for one of these kinds of graph. LeftOut when there is none."""
    for name in registry.names(kind):
        held = registry.claims.get((kind, name), [])
        spec: Any = held[0][0]
        kinds = (spec.graph,) if kind == "exporter" else spec.graphs
        if len(held) == 1 and set(kinds) & set(graphs) and all(find_spec(n.module) for n in spec.needs):
            return name, spec
    verb = "writes" if kind == "exporter" else "runs"
    raise LeftOut(f"no installed {kind} {verb} {' or '.join(graphs)}")


def written(exporter: Any, program: Program, folder: Path) -> Sequence[GraphFile]:
    """What the exporter wrote; Violation when a graph, or a file that it names, is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    files = tuple(exporter.write(program, folder))
    wanted, got = sorted(g.name for g in program.graphs), sorted(f.graph for f in files)
    require(wanted == got, f"write() names files for {got}, the program has {wanted}", "one GraphFile a graph")
    for file in files:
        inside = not Path(file.path).is_absolute() and ".." not in Path(file.path).parts
        require(inside, f"write() gives the path {file.path}", "relative to the folder, and inside it")
        require((folder / file.path).is_file(), f"write() names {file.path}, which is not there", "write it")
    return files


def exporter_of(registry: Registry, name: str, options: Mapping[str, Any]) -> Any:
    return registry.implementation("exporter", name)(
        build(registry.config_class("exporter", name), options, "exporter", registry)
    )


@contextmanager
def opened(
    registry: Registry, name: str, options: Mapping[str, Any], folder: Path, files: Sequence[GraphFile]
) -> Iterator[Any]:
    """The runtime with the files of a folder, closed behind the block."""
    config = build(registry.config_class("runtime", name), options, "runtime", registry)
    with closing(registry.implementation("runtime", name)(config, folder, files)) as runtime:
        yield runtime


def compare(what: str, program: Program, runtime: Any, tolerance: float) -> None:
    """Violation when a chunk or a state from the runtime differs from that of the program's own modules."""
    import numpy as np

    def run(graph: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        outputs: Mapping[str, Any] = runtime.run(graph, {name: np.asarray(value) for name, value in inputs.items()})
        odd = [name for name, value in outputs.items() if not isinstance(value, np.ndarray)]
        require(not odd, f"{what}: run() gives {', '.join(odd)}, which are no numpy arrays", "numpy arrays by name")
        return outputs

    for seed in range(3):
        given = _given(program, seed)
        wanted = run_program(program, eager(program), given, tensor_like)
        arrays = {name: value.numpy() for name, value in given.items()}
        got = run_program(program, run, arrays, _array_like)
        for name in (program.chunk, *program.state):
            require(name in got, f"{what}: there is no output '{name}'", "outputs under the graph's names")
            expected = wanted[name].numpy()
            same = got[name].shape == expected.shape
            require(same, f"{what}: '{name}' has shape {got[name].shape}, wanted {expected.shape}")
            off = float(np.abs(got[name].astype(np.float64) - expected).max())
            require(
                off <= tolerance, f"{what}: '{name}' is off by {off:.3g} (tolerance {tolerance:g})", "mind precision"
            )


def _given(program: Program, seed: int) -> dict[str, Any]:
    """Random observations, and draws and state of the right law and shape."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    draws = {draw.name: draw for draw in program.draws}
    inner = {place for call in program.calls for place in call.schedule}
    made = {name for graph in program.graphs for name in graph.outputs}
    found: dict[str, Any] = {}
    for graph in program.graphs:
        for name, example in zip(graph.inputs, graph.example, strict=True):
            if name in inner or (name in made and name not in draws):
                continue
            found[name] = _drawn(draws.get(name), example, generator)
    return found


def _drawn(draw: Draw | None, example: Any, generator: Any) -> Any:
    import torch

    if draw is not None and draw.law == "uniform":
        return torch.rand(example.shape, generator=generator)
    if example.dtype == torch.uint8:
        return torch.randint(256, example.shape, generator=generator).to(torch.uint8)
    if not example.dtype.is_floating_point:
        return torch.randint(max(draw.high if draw else 2, 1), example.shape, generator=generator).to(example.dtype)
    return torch.randn(example.shape, generator=generator).to(example.dtype)


def _array_like(graph: Graph, name: str, number: float) -> Any:
    return tensor_like(graph, name, number).numpy()
