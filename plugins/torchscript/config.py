"""Options of the TorchScript exporter and runtime."""

from dataclasses import dataclass
from typing import Annotated

from rl.config import doc


@dataclass(frozen=True, kw_only=True)
class TorchScriptExportConfig:
    """Frozen TorchScript graphs."""


@dataclass(frozen=True, kw_only=True)
class TorchScriptRuntimeConfig:
    """TorchScript graphs in torch, without the policy's code."""

    device: Annotated[str, doc("cpu, cuda, cuda:1")] = "cpu"
    threads: Annotated[int, doc("threads inside one operator; 0: torch's own choice", ge=0, le=1024)] = 0
