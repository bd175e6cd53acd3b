"""A policy as a robot uses it: robot units and uint8 pictures in, actions in robot units out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rl.api import Feature, Features, InputError
from rl.api.protocols import Draws, Graph, ProcessorStep, Program
from rl.process.names import Batch, Device, Rename
from rl.process.pipeline import Processing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rl.nn.checkpoint import About
    from rl.nn.module import PolicyModule

ROBOT_UNITS = ".robot_units"  # ends the name of a chunk's converted copy, where the graph still needs its own


def deployable(policy: PolicyModule, processing: Processing, about: About) -> Program:
    """`policy.program` with the graph steps of `processing` inside its graphs.

    Inputs that are observation features take robot units and uint8 (1, T, H, W, 3) pictures at the camera's recorded
    size; the output `program.chunk` is in robot units. Draws, state and what one graph hands to another stay as the
    policy made them. Errors: InputError when statistics are missing or a step does not give what the policy wants.
    """
    processing.require_statistics("export")
    policy.eval()
    graph_steps = split(processing)[1]
    given = graph_inputs(policy, about)
    sample = {name: _example(f, len(policy.windows().act.get(name, (0,)))) for name, f in given.items()}
    made = _features(graph_steps, given)
    _require_same(policy.inputs, made)
    with torch.no_grad():
        program = policy.program({name: graph_steps.apply(sample)[name] for name in policy.inputs})
    chunk = _chunk_name(program)
    action = policy_action(policy).name
    graphs = tuple(_wrapped(graph, graph_steps, sample, program.chunk, chunk, action) for graph in program.graphs)
    return replace(program, graphs=graphs, chunk=chunk)


def split(processing: Processing) -> tuple[Processing, Processing]:
    """The steps outside the graphs, and those inside: arrays only, last before and first after the network.

    A graph step that has a host step between itself and the network runs outside too. Steps that keep a place in a
    file and move nothing are left out.
    """
    pre, post = (
        [step for step in steps if not isinstance(step, (Batch, Device)) and not _renames_nothing(step)]
        for steps in (processing.pre, processing.post)
    )
    last = max((i + 1 for i, step in enumerate(pre) if step.where == "host"), default=0)
    first = next((i for i, step in enumerate(post) if step.where == "host"), len(post))
    return (
        Processing(tuple(pre[:last]), tuple(post[first:])),
        Processing(tuple(pre[last:]), tuple(post[:first])),
    )


class InRobotUnits(nn.Module):
    """A graph between the graph steps of a processing; a module of positional tensors, as exporters trace it.

    given: observation features among the inputs, which the steps are applied to. chunk: the output that is brought to
    robot units, "" when this graph has none; it replaces its own, or is added after all others.
    """

    def __init__(
        self,
        graph: Graph,
        steps: Processing,
        observed: Sequence[str],
        action: str,
        chunk: str = "",
        added: bool = False,
    ) -> None:
        super().__init__()
        self.inner = graph.module
        self.steps, self.names, self.outputs = steps, graph.inputs, graph.outputs
        self.observed, self.action, self.chunk, self.added = tuple(observed), action, chunk, added

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.names, arrays, strict=True))
        raw = {name: given[name] for name in self.observed}
        ready = {**given, **self.steps.apply(raw)}
        outputs = self.inner(*(ready[name] for name in self.names))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        if not self.chunk:
            return outputs
        at = self.outputs.index(self.chunk)
        converted = self.steps.invert_actions(outputs[at], raw, name=self.action)
        return (*outputs, converted) if self.added else (*outputs[:at], converted, *outputs[at + 1 :])


def graph_inputs(policy: PolicyModule, about: About) -> dict[str, Feature]:
    """The policy's observation features as its graphs take them: pictures uint8 HWC at the camera's recorded size."""
    sizes = {
        name: tuple(about.camera_sizes.get(name, f.shape[:2])) for name, f in policy.inputs.items() if f.kind == "image"
    }
    return {
        name: replace(f, shape=(*sizes[name], f.shape[2]), dtype="uint8") if name in sizes else f
        for name, f in policy.inputs.items()
    }


def robot_inputs(policy: PolicyModule, processing: Processing, about: About, program: Program) -> dict[str, Feature]:
    """What a robot gives: the features that some graph takes, under the names before renaming, without what the host
    steps make."""
    names = {new: old for old, new in processing.renamed.items()}
    steps = split(processing)[0]
    taken = {name for graph in program.graphs for name in graph.inputs}
    given = {
        names.get(name, name): replace(f, name=names.get(name, name))
        for name, f in graph_inputs(policy, about).items()
        if name in taken
    }
    for name in list(given):
        without = {k: v for k, v in given.items() if k != name}
        if name in _features(steps, without):  # a step makes it: of a text, of the config
            given = without
    return given


def policy_action(policy: PolicyModule) -> Feature:
    """The one action vector of a policy. InputError when there is none or more than one."""
    found = [f for f in policy.outputs.values() if f.kind == "action"]
    if len(found) != 1:
        raise InputError(f"the policy has {len(found)} action features, a robot takes one", where="export")
    return found[0]


class EagerChunk:
    """What a program must reproduce: `predict` on whole samples, processing around it, state and draws given.

    Independent of `Program`: nothing here is traced or wired by names of graphs.
    """

    def __init__(self, policy: PolicyModule, processing: Processing) -> None:
        self.policy = policy
        self.host, self.inside = split(processing)
        self.action = policy_action(policy).name
        self.reset()

    def reset(self) -> None:
        """Back to the state before an episode's first prediction."""
        self.state = self.policy.start(1)

    def __call__(self, window: Mapping[str, Any], draws: Draws, task: str = "") -> NDArray[np.float32]:
        """The chunk (1, Ta, A) in robot units for raw windows (1, T, *shape)."""
        sample = self.host.apply({**window, "task": [task]})
        tensors = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in sample.items() if isinstance(v, np.ndarray)}
        with torch.no_grad():
            ready = self.inside.apply(tensors)
            chunk, self.state = self.policy.predict(
                {n: ready[n] for n in self.policy.inputs if n in ready}, draws, self.state
            )
            chunk = self.inside.invert_actions(chunk, tensors, name=self.action)
        out = chunk.numpy()
        return np.asarray(self.host.invert_actions(out, window, name=self.action), dtype=np.float32)


def _wrapped(
    graph: Graph, steps: Processing, sample: Mapping[str, Tensor], chunk: str, renamed: str, action: str
) -> Graph:
    observed = [name for name in graph.inputs if name in sample]
    mine = chunk if chunk in graph.outputs else ""
    module = InRobotUnits(graph, steps, observed, action, mine, added=bool(mine) and renamed != chunk)
    example = tuple(sample.get(name, value) for name, value in zip(graph.inputs, graph.example, strict=True))
    outputs = (*graph.outputs, renamed) if module.added else graph.outputs
    return replace(graph, module=module.eval(), example=example, outputs=outputs)


def _chunk_name(program: Program) -> str:
    """The chunk's name outside; another one when the policy's own, unconverted, is used again by its graphs."""
    again = {out for call in program.calls for out in call.carry} | set(program.state)
    again |= {name for graph in program.graphs for name in graph.inputs}
    return program.chunk + ROBOT_UNITS if program.chunk in again else program.chunk


def _renames_nothing(step: ProcessorStep) -> bool:
    return isinstance(step, Rename) and not step.config.rename_map


def _features(steps: Processing, given: Features) -> Features:
    for step in steps.pre:
        given = step.features(given)
    return given


def _require_same(wanted: Features, made: Features) -> None:
    for name, feature in wanted.items():
        if name not in made:
            raise InputError(f"no processing step gives '{name}', which the policy wants", where="export")
        if made[name].shape != feature.shape:
            raise InputError(
                f"'{name}' leaves the processing with shape {list(made[name].shape)}, the policy wants "
                f"{list(feature.shape)}",
                where="export",
            )


def _example(feature: Feature, steps: int) -> Tensor:
    """A window (1, T, *shape) to trace with: noise, so that nothing is constant by accident."""
    noise = torch.Generator().manual_seed(0)
    shape = (1, *feature.shape) if feature.kind == "language" else (1, steps, *feature.shape)
    if feature.dtype == "uint8":
        return torch.randint(256, shape, generator=noise, dtype=torch.uint8)
    if feature.dtype in ("bool", "int64", "int32"):
        return torch.ones(shape, dtype=getattr(torch, feature.dtype))
    return torch.randn(shape, generator=noise).to(getattr(torch, feature.dtype))
