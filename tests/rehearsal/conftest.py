"""The toys as an installed distribution: their folder on the path, found through entry points like any stranger."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TOYS = Path(__file__).resolve().parents[1] / "fixtures" / "toys"


@pytest.fixture(scope="module")
def toys() -> Iterator[Any]:
    """The module `rehearsed`, with the toys among the plugins."""
    from rl.registry import registry

    sys.path.insert(0, str(TOYS))
    registry.cache_clear()
    yield importlib.import_module("rehearsed")
    sys.path.remove(str(TOYS))
    registry.cache_clear()


@pytest.fixture(scope="module")
def rehearsal(toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """name -> the trained toy and its ONNX bundle, each made once."""
    from rl.export import export_policy

    made: dict[str, tuple[Any, Path]] = {}

    def get(name: str) -> tuple[Any, Path]:
        if name not in made:
            toy = toys.rehearse(name)
            out = tmp_path_factory.mktemp("bundles") / name
            export_policy(toy.policy, name, toy.processing, toy.about, "onnx", out, samples=4)
            made[name] = toy, out
        return made[name]

    return get
