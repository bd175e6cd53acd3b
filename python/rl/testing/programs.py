"""Programs run by the letter of the contract, and small ones that exporters and runtimes are tried with.

The reading of `Program` here shares no code with `rl.runtime`: two readings that agree are a check of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rl.api.protocols import Call, Draw, Graph, Program

if TYPE_CHECKING:
    import torch

Values = dict[str, Any]
RunGraph = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


def run_program(
    program: Program, run: RunGraph, given: Mapping[str, Any], like: Callable[[Graph, str, float], Any]
) -> Values:
    """Every named value after the calls of one inference.

    given: observation, draws and state by input name. run: a graph's name and its inputs -> its outputs.
    like: (graph, input, number) -> that number in the input's shape and dtype, for schedules.
    """
    graphs = {graph.name: graph for graph in program.graphs}
    values = dict(given)
    for call in program.calls:
        _run_call(call, graphs[call.graph], run, values, like)
    return values


def _run_call(
    call: Call, graph: Graph, run: RunGraph, values: Values, like: Callable[[Graph, str, float], Any]
) -> None:
    carried: Values = {}
    for turn in range(call.repeat):
        scheduled = {name: like(graph, name, numbers[turn]) for name, numbers in call.schedule.items()}
        known = {**values, **carried, **scheduled}
        outputs = run(graph.name, {name: known[name] for name in graph.inputs})
        values.update(outputs)
        carried = {place: outputs[name] for name, place in call.carry.items()}
        if call.until and bool(outputs[call.until].all()):
            return


def eager(program: Program) -> RunGraph:
    """Runs a program's graphs as the torch modules that they are."""
    import torch

    graphs = {graph.name: graph for graph in program.graphs}

    def run(name: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        graph = graphs[name]
        with torch.no_grad():
            outputs = graph.module(*(inputs[i] for i in graph.inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return dict(zip(graph.outputs, outputs, strict=True))

    return run


def tensor_like(graph: Graph, name: str, number: float) -> torch.Tensor:
    """`number` in shape and dtype of a graph's input."""
    import torch

    return torch.full_like(graph.example[graph.inputs.index(name)], number)


# --- small programs


def toy_programs() -> dict[str, Program]:
    """One for each thing that a program can say: plain, pictures, draws with a schedule, an end flag, state."""
    return {
        "plain": _plain(),
        "pictures": _pictures(),
        "denoise": _denoise(),
        "until": _until(),
        "state": _state(),
    }


def _graph(name: str, module: Any, inputs: Mapping[str, Any], outputs: tuple[str, ...]) -> Graph:
    return Graph(name, module.eval(), tuple(inputs), outputs, tuple(inputs.values()))


def _seeded(make: Callable[[], Any]) -> Any:
    import torch

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(7)
        return make()


def _plain() -> Program:
    import torch
    from torch import nn

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4 * 6))

        def forward(self, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (self.layers(state[:, -1]).view(-1, 4, 6),)

    graph = _graph("chunk", _seeded(Plain), {"observation.state": torch.zeros(1, 1, 6)}, ("action",))
    return Program((graph,), (Call("chunk"),))


def _pictures() -> Program:
    import torch
    from torch import nn

    class Pictures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.head = nn.Linear(4 + 6, 4 * 6)

        def forward(self, image: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
            pixels = image[:, -1].permute(0, 3, 1, 2).to(torch.float32) / 255  # uint8 HWC in
            return (self.head(torch.cat([self.encode(pixels), state[:, -1]], -1)).view(-1, 4, 6),)

    given = {
        "observation.images.front": torch.zeros(1, 1, 24, 32, 3, dtype=torch.uint8),
        "observation.state": torch.zeros(1, 1, 6),
    }
    return Program((_graph("chunk", _seeded(Pictures), given, ("action",)),), (Call("chunk"),))


def _denoise() -> Program:
    import torch
    from torch import nn

    class Encode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 8)

        def forward(self, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (self.layer(state[:, -1]),)

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8 + 4 * 6 + 1, 4 * 6)

        def forward(self, seen: torch.Tensor, sample: torch.Tensor, time: torch.Tensor) -> tuple[torch.Tensor, ...]:
            moved = self.layer(torch.cat([seen, sample.flatten(1), time], -1))
            return (sample + moved.view_as(sample) / 4,)

    seen, sample, time = torch.zeros(1, 8), torch.zeros(1, 4, 6), torch.zeros(1, 1)
    encode = _graph("encode", _seeded(Encode), {"observation.state": torch.zeros(1, 1, 6)}, ("seen",))
    step = _graph("step", _seeded(Step), {"seen": seen, "noise": sample, "time": time}, ("action",))
    calls = (Call("encode"), Call("step", 4, carry={"action": "noise"}, schedule={"time": (0.0, 0.25, 0.5, 0.75)}))
    return Program((encode, step), calls, draws=(Draw("noise", (1, 4, 6)),))


def _until() -> Program:
    import torch
    from torch import nn

    class Token(nn.Module):
        def forward(self, state: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, ...]:
            total = total + 1.0 + state[:, -1, :1].abs()
            return total, (total > 5.0).all(), total[:, None, :].expand(-1, 4, 6) * 1.0

    given = {"observation.state": torch.zeros(1, 1, 6), "total": torch.zeros(1, 1)}
    graph = _graph("token", Token(), given, ("grown", "ended", "action"))
    call = Call("token", 9, until="ended", carry={"grown": "total"})
    return Program((graph,), (call,), draws=(Draw("total", (1, 1), "uniform"),))


def _state() -> Program:
    import torch
    from torch import nn

    class Remember(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(6, 5)
            self.head = nn.Linear(5, 4 * 6)

        def forward(self, state: torch.Tensor, plan: torch.Tensor) -> tuple[torch.Tensor, ...]:
            after = self.cell(state[:, -1], plan)
            return self.head(after).view(-1, 4, 6), after

    given = {"observation.state": torch.zeros(1, 1, 6), "plan": torch.zeros(1, 5)}
    graph = _graph("chunk", _seeded(Remember), given, ("action", "next.plan"))
    start = {"plan": torch.zeros(1, 5).numpy()}
    return Program((graph,), (Call("chunk"),), state={"next.plan": "plan"}, start=start)


__all__ = ["eager", "run_program", "tensor_like", "toy_programs"]
