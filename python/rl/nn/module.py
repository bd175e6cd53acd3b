"""The torch module that a policy extends: config, features, and the contract's defaults."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rl.api import Feature, Features, InputError
from rl.api.protocols import Call, Draws, Graph, Loss, Objective, Prefix, Program, Recipe, Windows
from rl.nn.draws import InputDraws, NotingDraws

if TYPE_CHECKING:
    from rl.api.protocols import Batch


class PolicyModule(nn.Module):
    """Window to chunk. A policy gives `windows`, `recipe`, `loss` and `predict`; the rest has a default.

    inputs, outputs: features by name, in order. Errors: InputError when the features cannot be used.
    """

    def __init__(self, config: Any, inputs: Features, outputs: Features) -> None:
        super().__init__()
        self.config = config
        self.inputs = dict(inputs)
        self.outputs = dict(outputs)

    # --- features

    def named(self, kind: str) -> list[Feature]:
        """Input and output features of one kind, in order."""
        return [f for f in {**self.inputs, **self.outputs}.values() if f.kind == kind]

    def only(self, kind: str) -> Feature:
        """The one feature of a kind. InputError when there is none or more than one."""
        found = self.named(kind)
        if len(found) != 1:
            names = ", ".join(f.name for f in found) or "none"
            raise InputError(f"wants one feature of kind {kind}, there are: {names}", where=type(self).__name__)
        return found[0]

    # --- the contract; a policy overrides the first four

    def windows(self) -> Windows:
        raise self._lacks("windows")

    def recipe(self) -> Recipe:
        raise self._lacks("recipe")

    def loss(self, batch: Batch, draws: Draws, objective: str = "policy") -> Loss:
        raise self._lacks("loss")

    def predict(
        self, observation: Batch, draws: Draws, state: Batch, prefix: Prefix | None = None
    ) -> tuple[Tensor, Batch]:
        raise self._lacks("predict")

    def objectives(self) -> Sequence[Objective]:
        """One: everything, at every step."""
        return (Objective(),)

    def after_step(self, step: int) -> None:
        """Nothing."""

    def start(self, batch_size: int) -> Batch:
        """No state."""
        return {}

    def prepare(self) -> None:
        """Fetch what training from scratch starts from (pretrained parts). Not called when a checkpoint is loaded.

        Errors: MissingPart when it cannot be had. Default: nothing.
        """

    def program(self, sample: Batch) -> Program:
        """`predict` as one graph called "chunk".

        sample: the observation as `predict` takes it, batch of one. Inputs of the graph are the observation's
        features, then the state, then the draws, under their names; outputs are `action` and `next.NAME` for each
        state. Draws asked for n times are one input with n rows.
        """
        return whole_program(self, sample)

    def _lacks(self, method: str) -> TypeError:
        return TypeError(f"{type(self).__name__} has no {method}")


class ChunkGraph(nn.Module):
    """A policy's `predict` with positional tensors: what an exporter traces."""

    def __init__(self, policy: Any, observed: Sequence[str], state: Sequence[str], draws: Sequence[str]) -> None:
        super().__init__()
        self.policy = policy
        self.names = (tuple(observed), tuple(state), tuple(draws))

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        observed, state, draws = self.names
        given = dict(zip((*observed, *state, *draws), arrays, strict=True))
        drawn = InputDraws({name: given[name] for name in draws})
        chunk, after = self.policy.predict(
            {name: given[name] for name in observed}, drawn, {name: given[name] for name in state}
        )
        return (chunk, *(after[name] for name in state))


def whole_program(policy: Any, sample: Batch) -> Program:
    """The program of a policy whose inference is one call; see `PolicyModule.program`."""
    if policy.training:  # a copy: whoever trains goes on training
        policy = copy.deepcopy(policy).eval()
    rows = len(next(iter(sample.values())))
    state: Mapping[str, Tensor] = policy.start(rows)
    noted = NotingDraws(torch.Generator().manual_seed(0), next(iter(sample.values())).device)
    with torch.no_grad():
        policy.predict(sample, noted, state)  # also fills what a policy caches by shape, outside any tracing
    draws = noted.values()
    graph = Graph(
        name="chunk",
        module=ChunkGraph(policy, tuple(sample), tuple(state), tuple(draws)).eval(),
        inputs=(*sample, *state, *draws),
        outputs=("action", *(f"next.{name}" for name in state)),
        example=(*sample.values(), *state.values(), *draws.values()),
    )
    return Program(
        graphs=(graph,),
        calls=(Call("chunk"),),
        chunk="action",
        state={f"next.{name}": name for name in state},
        start={name: value.cpu().numpy() for name, value in state.items()},
        draws=noted.described(),
    )
