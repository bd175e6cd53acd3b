"""Options of the eager runtime."""

from dataclasses import dataclass
from typing import Annotated

from rl.config import doc


@dataclass(frozen=True, kw_only=True)
class EagerRuntimeConfig:
    """A checkpoint as it is, in torch, without an export."""

    device: Annotated[str, doc("cpu, cuda, cuda:1, mps")] = "cpu"
    threads: Annotated[int, doc("threads inside one operator; 0: torch's own choice", ge=0, le=1024)] = 0
