"""A registry that holds what a test plants in it."""

import sys
from pathlib import Path

import pytest

from rl.api import Need
from rl.registry import KINDS, Registry, Source
from tests.fixtures.planting import forget_registry, replace_registry

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
EXTRA = {
    "policy": {"paper": "", "suits": "tests"},
    "robot": {"joints": ()},
    "teleoperator": {"drives": ()},
    "format": {"sniff": "violators.formats:sniff", "writes": True},
    "environment": {"tasks": ()},
    "exporter": {"graph": "toy"},
    "runtime": {"graphs": ("toy",)},
}
TORCH = (Need(module="torch", install="rl-toolkit[train]"),)


@pytest.fixture
def plant(monkeypatch):
    """plant(kind, "module:Class", **spec) puts a plugin called `planted` into the process's registry."""
    if str(FIXTURES) not in sys.path:
        monkeypatch.syspath_prepend(str(FIXTURES))
    registry = Registry()
    replace_registry(monkeypatch, registry)

    def put(kind, target, name="planted", **changed):
        given = {
            "name": name,
            "summary": "planted by a test",
            "target": target,
            "config": "violators.options:Options",
            "needs": TORCH,
            **EXTRA.get(kind, {}),
            **changed,
        }
        source = Source(f"{name}-{kind}", "planted 1.0")
        registry.claims[kind, name] = [(KINDS[kind][1](**given), source)]
        registry.loaded[source] = 0.1
        return registry

    yield put
    forget_registry()
