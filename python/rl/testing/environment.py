"""The conformance kit for environments: `check_environment` in a test of the plugin's own distribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rl.api import Feature
from rl.testing import listing
from rl.testing.conformance import Subject, check_rules, require, rule
from rl.testing.machines import ended

STEPS = 20  # looked at one by one


class EnvironmentSubject(Subject):
    @contextmanager
    def made(self) -> Iterator[Any]:
        scene = self.implementation(self.config())
        try:
            yield scene
        finally:
            scene.close()


def _actions(action: Feature, count: int, seed: int) -> Any:
    import numpy as np

    return np.random.default_rng(seed).uniform(-1, 1, (count, *action.shape)).astype(np.float32)


def _fits(what: str, observation: Mapping[str, Any], features: Mapping[str, Feature]) -> None:
    import numpy as np

    absent = sorted(set(features) - set(observation))
    require(not absent, f"{what} lacks {', '.join(absent)}", "all of `observation`")
    for name, feature in features.items():
        value = np.asarray(observation[name])
        fits = value.shape == feature.shape and str(value.dtype) == feature.dtype
        todo = f"{feature.shape} {feature.dtype}, as its feature says"
        require(fits, f"{what}: {name} is {value.shape} {value.dtype}", todo)
        finite = value.dtype.kind != "f" or bool(np.isfinite(value).all())
        require(finite, f"{what}: {name} is not finite", "end the episode before the simulation breaks")


def _episode(scene: Any, seed: int, actions: Any) -> list[tuple[dict[str, Any], float]]:
    import numpy as np

    def copied(found: Mapping[str, Any]) -> dict[str, Any]:
        return {name: np.array(value, copy=True) for name, value in found.items()}

    seen = [(copied(scene.reset(seed)), 0.0)]
    for action in actions:
        after = scene.step(action)
        seen.append((copied(after.observation), float(after.reward)))
        if after.terminated or after.truncated:
            break
    return seen


@rule("its features, rate and horizon are known", gate=True)
def declares(subject: EnvironmentSubject) -> None:
    with subject.made() as scene:
        require(len(scene.observation) > 0, "'observation' is empty", "features by name")
        odd = [name for name, f in scene.observation.items() if not isinstance(f, Feature) or f.name != name]
        require(not odd, f"'observation' holds {', '.join(odd)} under another name", "{feature.name: feature}")
        is_action = isinstance(scene.action, Feature) and scene.action.kind == "action"
        require(is_action, "'action' is no Feature of kind action", 'Feature("action", "action", (A,))')
        require(scene.fps > 0, f"fps is {scene.fps}", "steps per second")
        require(scene.horizon >= 1, f"horizon is {scene.horizon}", "most steps of an episode")


@rule("observations fit their features and are finite, rewards too", gate=True)
def observes(subject: EnvironmentSubject) -> None:
    import numpy as np

    with subject.made() as scene:
        _fits("reset()", scene.reset(0), scene.observation)
        for action in _actions(scene.action, min(STEPS, scene.horizon), 0):
            after = scene.step(action)
            _fits("step().observation", after.observation, scene.observation)
            require(bool(np.isfinite(after.reward)), f"step().reward is {after.reward}", "a finite number")
            if after.terminated or after.truncated:
                break


@rule("the same seed gives the same episode")
def repeats(subject: EnvironmentSubject) -> None:
    import numpy as np

    with subject.made() as scene, subject.made() as other:
        actions = _actions(scene.action, min(STEPS, scene.horizon), 1)
        first = _episode(scene, 5, actions)
        _episode(scene, 6, actions)
        for who, again in (
            ("the same instance", _episode(scene, 5, actions)),
            ("another instance", _episode(other, 5, actions)),
        ):
            require(
                len(first) == len(again), f"{who} ends another time at the same seed", "draw from reset's seed alone"
            )
            for step, ((a, reward), (b, reward_again)) in enumerate(zip(first, again, strict=True)):
                same = reward == reward_again and all(np.array_equal(a[name], b[name]) for name in a)
                what = f"{who} gives another episode at the same seed, from step {step}"
                require(same, what, "reset everything, draw from reset's seed alone")


@rule("the horizon is respected")
def ends(subject: EnvironmentSubject) -> None:
    with subject.made() as scene:
        scene.reset(2)
        for step, action in enumerate(_actions(scene.action, min(scene.horizon, 5000), 2), start=1):
            after = scene.step(action)
            if after.terminated or after.truncated:
                early = after.terminated or step == scene.horizon
                require(
                    early, f"truncated after {step} steps, the horizon is {scene.horizon}", "truncate at the horizon"
                )
                return
        require(
            scene.horizon > 5000, f"no end after {scene.horizon} steps", "truncated=True in the horizon's last step"
        )


@rule("it draws a picture")
def renders(subject: EnvironmentSubject) -> None:
    with subject.made() as scene:
        scene.reset(0)
        picture = scene.render()
        fits = getattr(picture, "ndim", 0) == 3 and picture.shape[2] == 3 and str(picture.dtype) == "uint8"
        require(fits, f"render() gives {getattr(picture, 'shape', None)}", "(H, W, 3) uint8 RGB")


@rule("close may be called twice")
def closes(subject: EnvironmentSubject) -> None:
    scene = subject.implementation(subject.config())
    scene.reset(0)
    ended("close()", scene.close)
    ended("the second close()", scene.close)


RULES = (*listing.RULES, declares, observes, repeats, ends, renders, closes)


def subject(name: str, options: dict[str, Any]) -> EnvironmentSubject:
    """The environment with the options given."""
    return EnvironmentSubject("environment", name, options)


def check_environment(name: str, **options: Any) -> None:
    """Raises Violation, one line, for the first rule of the contract that the environment breaks. options: its own."""
    check_rules(EnvironmentSubject("environment", name, options), RULES)


__all__ = ["RULES", "EnvironmentSubject", "check_environment", "subject"]
