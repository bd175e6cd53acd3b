"""What an export measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Error:
    """Largest errors of one output over all inputs tried."""

    max_abs: float  # in the output's unit
    max_rel: float  # of max(scale, |expected|)
    worst: str  # the input that gave max_rel


@dataclass(frozen=True)
class Report:
    """A bundle that was written, and how far it is from eager PyTorch."""

    folder: Path
    policy: str
    kind: str
    outputs: dict[str, Error]
    unit: str  # of the action
    tolerance: float
    inputs: int
    real: int  # of them from a data set
    source: str  # of the real ones: a data set, or why there are none
    eager_ms: float  # shortest of one chunk, as torch runs it
    exported_ms: float  # as the runtime runs the written graphs
    bytes: int
    seconds: float
