"""TorchScript graphs in torch: arrays in, arrays out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import GraphFile
from rl.plugins.torchscript.config import TorchScriptRuntimeConfig

if TYPE_CHECKING:
    from rl.api.protocols import Arrays


class TorchScriptRuntime:
    """One module a graph; outputs are found by the names that the bundle's manifest gives them.

    Errors: InputError naming the file that torch refuses, MissingPart when the device is not there.
    """

    def __init__(self, config: TorchScriptRuntimeConfig, folder: Path, files: Sequence[GraphFile]) -> None:
        self.device = checked_device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        self._modules = {file.graph: self._load(folder / file.path) for file in files}

    def run(self, graph: str, inputs: Arrays) -> Mapping[str, Any]:
        names, module = self._modules[graph]
        given = {name: torch.from_numpy(value).to(self.device) for name, value in inputs.items()}
        try:
            with torch.inference_mode():
                made = module(*given.values())
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise RlError(f"graph '{graph}' failed: {last}", where="torchscript") from None
        values = made if isinstance(made, tuple) else (made,)
        return dict(zip(names, (value.cpu().numpy() for value in values), strict=True))

    def close(self) -> None:
        """Frees the modules."""
        self._modules.clear()

    def _load(self, path: Path) -> tuple[tuple[str, ...], Any]:
        extra: dict[str, Any] = {"outputs": ""}  # torch puts bytes in the place of the text
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = torch.jit.load(  # type: ignore[no-untyped-call]
                    path, map_location=self.device, _extra_files=extra
                )
        except (RuntimeError, ValueError) as error:
            cause = str(error).strip().splitlines()
            raise InputError(f"is not TorchScript: {cause[0] if cause else 'unreadable'}", where=str(path)) from None
        text = extra["outputs"]
        names = (text.decode() if isinstance(text, bytes) else text).split("\n")
        return tuple(names), module


def checked_device(name: str) -> torch.device:
    """A device that is really there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"there is no device '{name}'", where="runtime", todo="use cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MissingPart("there is no CUDA device", where="runtime", todo="use --device cpu")
    return device
