"""Steps that move no number: renaming, and two that only keep their place in a processor file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rl.api import Features, InputError
from rl.process.options import BatchOptions, DeviceOptions, RenameOptions


class _Stateless:
    name = ""
    where: Literal["host", "graph"] = "host"

    def features(self, given: Features) -> Features:
        return given

    def apply(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        return dict(sample)

    def invert(self, sample: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return dict(sample)

    def state(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        if state:
            raise InputError(f"has no state, the file holds {', '.join(sorted(state))}", where=self.name)


class Rename(_Stateless):
    """Features under the names that the policy knows; their padding masks go with them.

    Errors: InputError when a new name is already taken by another feature of the sample.
    """

    name = "rename_observations_processor"

    def __init__(self, config: RenameOptions) -> None:
        self.config = config

    def features(self, given: Features) -> Features:
        renamed = self._renamed(given)
        return {name: replace(feature, name=name) for name, feature in renamed.items()}

    def apply(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        return self._renamed(sample)

    def invert(self, sample: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Actions keep their name: only observations are renamed."""
        return dict(sample)

    def _renamed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in given.items():
            base = name.removesuffix("_is_pad")
            new = self.config.rename_map.get(base, base) + name[len(base) :]
            if new in out or (
                new != name and new in given and new.removesuffix("_is_pad") not in self.config.rename_map
            ):
                raise InputError(f"'{name}' is renamed to '{new}', which is there already", where="rename_map")
            out[new] = value
        return out


class Batch(_Stateless):
    """Keeps the place of LeRobot's batch step: samples here always have their batch axis."""

    name = "to_batch_processor"

    def __init__(self, config: BatchOptions) -> None:
        self.config = config


class Device(_Stateless):
    """Keeps the place of LeRobot's device step: arrays are moved by whoever owns the device."""

    name = "device_processor"

    def __init__(self, config: DeviceOptions) -> None:
        self.config = config
