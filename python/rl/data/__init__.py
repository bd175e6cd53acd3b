"""Windows, statistics, order and loading over any data set reader. Names are loaded when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.data.loader import Batches
    from rl.data.opening import dataset_format, locate, open_dataset
    from rl.data.renamed import RenamedReader
    from rl.data.windows import WindowView

_HOMES = {
    "Batches": "rl.data.loader",
    "RenamedReader": "rl.data.renamed",
    "WindowView": "rl.data.windows",
    "dataset_format": "rl.data.opening",
    "locate": "rl.data.opening",
    "open_dataset": "rl.data.opening",
}

__all__ = ["Batches", "RenamedReader", "WindowView", "dataset_format", "locate", "open_dataset"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rl.data' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
