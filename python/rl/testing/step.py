"""The conformance kit for processing steps: `check_step` in a test of the plugin's own distribution."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from rl.api import Feature, Features
from rl.testing import listing
from rl.testing.conformance import LeftOut, Subject, Violation, check_rules, quiet_constructor, require, rule

ROWS, STEPS = 2, 3
CLOSE = 1e-4


class StepSubject(Subject):
    """A step with the features and the state (statistics, tables) that it is tried with."""

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        features: Features | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__("step", name, options)
        self.features = dict(features or _usual())
        self.state = state

    def make(self) -> Any:
        step = self.implementation(self.config())
        if self.state is not None:
            step.load(self.state)
        return step

    @cached_property
    def step(self) -> Any:
        return self.make()

    def sample(self) -> dict[str, Any]:
        """Raw values (B, T, *shape), language as text."""
        import numpy as np

        draw, found = np.random.default_rng(0), {}
        for name, feature in self.features.items():
            shape = (ROWS, STEPS, *feature.shape)
            if feature.dtype == "uint8":
                found[name] = draw.integers(0, 256, shape, dtype=np.uint8)
            else:
                found[name] = draw.uniform(-50, 50, shape).astype(feature.dtype)
        return {**found, "task": ["wave"] * ROWS}


def _usual() -> Features:
    parts = (
        Feature("observation.state", "state", (6,), unit="deg"),
        Feature("observation.images.front", "image", (16, 24, 3), "uint8"),
        Feature("action", "action", (6,), unit="deg"),
    )
    return {feature.name: feature for feature in parts}


def _arrays(sample: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if hasattr(value, "shape")}


@rule("is made quietly, and says where it runs", gate=True)
def declares(subject: StepSubject) -> None:
    step = quiet_constructor(subject.make)
    where = getattr(step, "where", None)
    require(where in ("host", "graph"), f"'where' is {where!r}", "'host', or 'graph' for arrays only")


@rule("features predicts what apply gives, and apply leaves its input alone", gate=True)
def predicts_features(subject: StepSubject) -> None:
    import numpy as np

    given = subject.sample()
    held = {name: np.array(value, copy=True) for name, value in _arrays(given).items()}
    told, got = subject.step.features(dict(subject.features)), subject.step.apply(given)
    changed = [name for name, value in held.items() if not np.array_equal(value, given[name])]
    require(not changed, f"apply changes its input {', '.join(changed)}", "return a new mapping with new arrays")
    made = set(_arrays(got)) - set(held)
    absent, extra = sorted(set(told) - set(got)), sorted(made - set(told))
    require(not absent, f"features() promises {', '.join(absent)}, apply does not give it", "the same names in both")
    require(not extra, f"apply gives {', '.join(extra)}, features() does not say so", "the same names in both")
    for name, feature in told.items():
        require(feature.name == name, f"features() has {feature.name} under {name}", "rename the feature too")
        shape = tuple(got[name].shape)
        wanted = feature.shape
        if feature.kind == "image" and shape[-1] != wanted[-1]:
            wanted = (wanted[2], *wanted[:2])
        fits = shape[-len(wanted) :] == wanted if wanted else True
        require(
            fits, f"{name} has shape {shape} after apply, features() says {feature.shape}", "the same shape in both"
        )


@rule("actions come back: invert(apply(x)) is x")
def inverts(subject: StepSubject) -> None:
    import numpy as np

    given = subject.sample()
    names = [name for name, feature in subject.features.items() if feature.kind == "action"]
    context = {name: value for name, value in given.items() if name not in names}
    applied = subject.step.apply(given)
    chunk = {name: applied[name] for name in names if name in applied}
    if not chunk:
        raise LeftOut("it is tried without actions, or renames them")
    back = subject.step.invert(chunk, context)
    for name in chunk:
        require(name in back, f"invert gives no {name}", "the way back for actions")
        require(back[name].shape == given[name].shape, f"invert gives {name} of shape {tuple(back[name].shape)}")
        off = float(np.abs(np.asarray(back[name], np.float64) - given[name]).max())
        require(off <= CLOSE * 50, f"invert(apply({name})) is off by {off:.3g}", "undo exactly what apply does")


@rule("its state survives saving and loading")
def state_survives(subject: StepSubject) -> None:
    import numpy as np
    from safetensors.numpy import load, save

    state = subject.step.state()
    bad = [name for name, value in state.items() if not isinstance(value, np.ndarray)]
    require(not bad, f"state() holds {', '.join(bad)}, which are no arrays", "numpy arrays by name")
    other = subject.implementation(subject.config())
    other.load(load(save({name: np.ascontiguousarray(value) for name, value in state.items()})))
    again = other.state()
    same = set(again) == set(state) and all(np.array_equal(again[name], state[name]) for name in state)
    require(same, "state() differs after load(state())", "keep all of it")
    first, second = _arrays(subject.step.apply(subject.sample())), _arrays(other.apply(subject.sample()))
    differ = [name for name in first if not np.array_equal(first[name], second[name])]
    require(
        not differ, f"loaded from its state, apply gives another {', '.join(differ)}", "all that apply needs in state()"
    )


@rule("a step of the graph gives the same on torch tensors")
def same_on_tensors(subject: StepSubject) -> None:
    import numpy as np

    if subject.step.where != "graph":
        raise LeftOut("it runs on the host")
    try:
        import torch
    except ModuleNotFoundError:
        raise LeftOut("torch is not installed") from None
    given = _arrays(subject.sample())
    first = subject.step.apply(given)
    second = subject.step.apply({name: torch.from_numpy(value) for name, value in given.items()})
    for name, value in first.items():
        tensor = isinstance(second.get(name), torch.Tensor)
        require(tensor, f"{name} is no tensor after apply on tensors", "array_api_compat.array_namespace(x)")
        off = np.abs(second[name].numpy().astype(np.float64) - np.asarray(value, np.float64)).max(initial=0)
        require(float(off) <= CLOSE, f"{name} is off by {float(off):.3g} on tensors", "the same arithmetic in both")


RULES = (*listing.RULES, declares, predicts_features, inverts, state_survives, same_on_tensors)


def subject(name: str, options: dict[str, Any]) -> StepSubject:
    """The step with an arm's usual features."""
    return StepSubject(name, options)


def check_step(
    name: str, given: Features | None = None, /, *, state: Mapping[str, Any] | None = None, **options: Any
) -> None:
    """Raises Violation, one line, for the first rule of the contract that the step breaks.

    given: features to try it with, an arm's by default. state: what it loads first (statistics). options: its own.
    """
    check_rules(StepSubject(name, options, given, state), RULES)


__all__ = ["RULES", "StepSubject", "Violation", "check_step", "subject"]
