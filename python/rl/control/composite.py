"""Several robots as one, by arithmetic on the contract: prefixed names, shifted slices, joined states."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rl.api.errors import InputError, RlError
from rl.api.features import Feature
from rl.api.protocols import Attaches, Axis, Calibrated, HasCameras, Intent, Rests, Snapshot

if TYPE_CHECKING:
    from rl.api.protocols import Array


def joined(name: str, kind: Literal["state", "action"], parts: Mapping[str, Feature]) -> Feature:
    """One vector of the parts' vectors, element names prefixed with the part's: left_shoulder_pan.pos."""
    length = sum(feature.shape[0] for feature in parts.values())
    names = tuple(f"{key}_{element}" for key, feature in parts.items() for element in feature.names)
    units = tuple(unit for feature in parts.values() for unit in feature.units)
    return Feature(name, kind, (length,), unit=units, names=names if len(names) == length else ())


def spans(lengths: Sequence[int]) -> list[slice]:
    """The place of each part in the joined vector."""
    ends = np.cumsum([0, *lengths]).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


class Joined:
    """What a composed robot and a composed teleoperator share."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        if not parts:
            raise InputError("a composition needs at least one part")
        self.parts = dict(parts)
        for key, part in self.parts.items():
            if hasattr(part, "prefix"):  # it speaks of its joints by their whole names
                part.prefix = f"{key}_"
        self.action = joined("action", "action", {key: part.action for key, part in parts.items()})
        self.spans = spans([part.action.shape[0] for part in parts.values()])

    @property
    def simulated(self) -> bool:
        """True when no part is a real device."""
        return all(getattr(part, "simulated", False) for part in self.parts.values())

    @property
    def robot_type(self) -> str:
        """What data sets call the composition: bi_NAME for two of a kind, as LeRobot does, else the parts' names."""
        kinds = [str(getattr(part, "robot_type", type(part).__name__.lower())) for part in self.parts.values()]
        return f"bi_{kinds[0]}" if len(kinds) == 2 and kinds[0] == kinds[1] else "+".join(kinds)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"{key}: {note}" for key, part in self.parts.items() for note in getattr(part, "notes", ()))

    def connect(self) -> None:
        """All parts, or none: the first that fails closes those that are open."""
        try:
            for part in self.parts.values():
                part.connect()
        except BaseException:
            self.close()
            raise

    def core(self) -> list[tuple[slice, Any]]:
        drives = []
        for span, part in zip(self.spans, self.parts.values(), strict=True):
            own = part.core() if hasattr(part, "core") else []
            drives += [(slice(s.start + span.start, s.stop + span.start), bus) for s, bus in own]
        return drives

    def fingerprint(self) -> str:
        """The parts' fingerprints, in order; '' when one has none."""
        each = [part.fingerprint() if isinstance(part, Calibrated) else "" for part in self.parts.values()]
        return "-".join(each) if all(each) else ""

    def close(self) -> None:
        for part in self.parts.values():
            part.close()


class Composite(Joined):
    """A robot made of robots."""

    def __init__(self, parts: Mapping[str, Any], cameras: Mapping[str, Any] | None = None) -> None:
        super().__init__(parts)
        self.state = joined("observation.state", "state", {key: part.state for key, part in parts.items()})
        self.state_spans = spans([part.state.shape[0] for part in parts.values()])
        self._cameras = dict(cameras or {})

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self._axes("axes")

    @property
    def leader_axes(self) -> tuple[Axis, ...]:
        return self._axes("leader_axes")

    def snapshot(self) -> Snapshot:
        each = [part.snapshot() for part in self.parts.values()]
        named = zip(self.parts.items(), each, strict=True)
        faults = tuple(
            fault if hasattr(part, "prefix") else f"{key}_{fault}" for (key, part), s in named for fault in s.faults
        )
        newest = max(s.captured for s in each)  # the ages say how much older the other parts are
        age = np.concatenate([s.age + (newest - s.captured) / 1e9 for s in each]).astype(np.float32)
        return Snapshot(np.concatenate([s.values for s in each]), newest, age, faults)

    def command(self, values: Array, at: int) -> Array:
        sent = [part.command(values[span], at) for span, part in zip(self.spans, self.parts.values(), strict=True)]
        return np.concatenate(sent)

    def stop(self, policy: Literal["hold", "rest", "off"]) -> None:
        """Every part is tried before the first failure is reported."""
        failures = []
        for key, part in self.parts.items():
            try:
                part.stop(policy)
            except RlError as error:
                failures.append(f"{key}: {error}")
        if failures:
            raise RlError("; ".join(failures), where="stop")

    def rest_pose(self) -> Array | None:
        """The parts' rest poses; None when one has none."""
        poses = [part.rest_pose() if isinstance(part, Rests) else None for part in self.parts.values()]
        return None if any(pose is None for pose in poses) else np.concatenate([p for p in poses if p is not None])

    def cameras(self) -> dict[str, Any]:
        """The parts' cameras with the part's prefix, and those of the whole robot."""
        found = dict(self._cameras)
        for key, part in self.parts.items():
            if isinstance(part, HasCameras):
                found |= {f"{key}_{role}": camera for role, camera in part.cameras().items()}
        return found

    def _axes(self, which: str) -> tuple[Axis, ...]:
        named = ((key, axis) for key, part in self.parts.items() for axis in getattr(part, which, part.axes))
        return tuple(replace(axis, name=f"{key}_{axis.name}") for key, axis in named)


class CompositeTeleoperator(Joined):
    """A teleoperator made of teleoperators."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        super().__init__(parts)

    def read(self) -> Intent:
        each = [part.read() for part in self.parts.values()]
        events = frozenset().union(*(intent.events for intent in each))
        return Intent(np.concatenate([i.values for i in each]), min(i.captured for i in each), events)

    def attach(self, axes: Sequence[Axis], estop: Callable[[], None]) -> None:
        """Every part that asks for it gets its own part of the limits."""
        for span, part in zip(self.spans, self.parts.values(), strict=True):
            if isinstance(part, Attaches):
                part.attach(axes[span], estop)

    def forget(self) -> None:
        for part in self.parts.values():
            if isinstance(part, Attaches):
                part.forget()

    def follow(self, snapshot: Snapshot) -> None:
        """Each part sees its own elements; all of them where the state is not laid out as the action is."""
        fits = len(snapshot.values) == self.action.shape[0]
        for span, (key, part) in zip(self.spans, self.parts.items(), strict=True):
            own = tuple(f.removeprefix(f"{key}_") for f in snapshot.faults if f.startswith(f"{key}_"))
            seen = Snapshot(snapshot.values[span], snapshot.captured, snapshot.age[span], own) if fits else snapshot
            part.follow(seen)


def build_robot(selected: Any) -> Any:
    """The robot that was chosen. A config whose `parts()` names several gives a Composite of them."""
    return _build("robot", selected, lambda parts: Composite(parts, getattr(selected.config, "cameras", {})))


def build_teleoperator(selected: Any) -> Any:
    """The teleoperator that was chosen, composed like a robot."""
    return _build("teleoperator", selected, CompositeTeleoperator)


def _build(kind: str, selected: Any, compose: Any) -> Any:
    from rl.registry import registry

    if selected is None:
        option = "robot" if kind == "robot" else "teleop"
        known = ", ".join(registry().names(kind)) or "none is installed"
        raise InputError(f"no {kind} is chosen", todo=f"add --{option} NAME; known: {known}")
    implementation = registry().implementation(kind, selected.name)
    parts = selected.config.parts() if hasattr(selected.config, "parts") else {}
    if not parts:
        return implementation(selected.config)
    return compose({key: implementation(config) for key, config in parts.items()})
