"""Runs a checkpoint's program in torch, without a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rl.api import InputError, MissingPart
from rl.api.protocols import GraphFile
from rl.nn import checkpoint as checkpoints
from rl.nn.description import describe
from rl.nn.program import deployable, split
from rl.plugins.eager.config import EagerRuntimeConfig

if TYPE_CHECKING:
    from rl.api.protocols import Arrays


class EagerRuntime:
    """The graphs of a checkpoint, called as they are. `describe` gives the manifest that an export would have.

    folder: a run, a checkpoint or a model folder. Errors: InputError when it holds no usable checkpoint.
    """

    def __init__(self, config: EagerRuntimeConfig, folder: Path, files: Sequence[GraphFile] = ()) -> None:
        self.device = _device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.checkpoint = checkpoints.describe(checkpoints.find(folder))
        policy = checkpoints.load_policy(self.checkpoint)
        processing = checkpoints.load_processing(self.checkpoint)
        self.program = deployable(policy, processing, self.checkpoint.about)
        name, about = self.checkpoint.policy, self.checkpoint.about
        self._described = describe(name, policy, processing, about, self.program, "eager")
        self._host = split(processing)[0]
        self._graphs = {graph.name: graph for graph in self.program.graphs}
        for graph in self._graphs.values():
            graph.module.to(self.device)

    def run(self, graph: str, inputs: Arrays) -> Mapping[str, Any]:
        chosen = self._graphs[graph]
        arrays = [torch.from_numpy(inputs[name]).to(self.device) for name in chosen.inputs]
        with torch.inference_mode():
            made = chosen.module(*arrays)
        return dict(zip(chosen.outputs, (value.cpu().numpy() for value in made), strict=True))

    def describe(self) -> tuple[Mapping[str, Any], Arrays, Any]:
        return self._described, dict(self.program.start), self._host

    def close(self) -> None:
        """Frees the modules."""
        self._graphs.clear()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"there is no device '{name}'", where="runtime", todo="use cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MissingPart("there is no CUDA device", where="runtime", todo="use --device cpu")
    return device
