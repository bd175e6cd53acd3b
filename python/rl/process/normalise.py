"""Scaling by the statistics of a data set, and the way back."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from rl.api import Feature, Features, InputError
from rl.process.features import read_features, write_features
from rl.process.modes import MODES, lerobot_modes, modes_by_kind
from rl.process.options import NormaliseOptions

Statistics = Mapping[
    str, Mapping[str, Any]
]  # feature -> mean, std, min ... -> array of the feature's length or (3, 1, 1)
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


class Normalise:
    """Every known feature of a sample scaled by the mode of its kind.

    modes: kind -> mean_std | min_max | quantiles | quantile10 | identity; an absent kind is identity.
    features: what is touched, by name. statistics: feature -> statistic -> array; all are kept and saved, also those
    of names that are no features. Values keep their dtype, statistics are converted to it. Shapes: (..., A) for
    vectors, (..., 3, H, W) for images with statistics (3,) or (3, 1, 1).

    A feature without statistics passes unchanged: `unscaled` names such, and building for training or deployment
    refuses them. Errors: InputError when the statistics of a feature lack what its mode needs, do not fit its shape,
    or when values are not floating. Source: LeRobot 0.6 `normalizer_processor`.
    """

    name = "normalizer_processor"
    where: Literal["host", "graph"] = "graph"

    def __init__(self, modes: Mapping[str, str], features: Features, statistics: Statistics, eps: float = 1e-8) -> None:
        self.modes = modes_by_kind(modes)
        self.known = dict(features)
        self.eps = eps
        self.only: tuple[str, ...] | None = None
        self.statistics: dict[str, dict[str, NDArray[np.float32]]] = {}
        self.pairs: dict[str, Pair] = {}
        self._take(statistics)

    @property
    def config(self) -> NormaliseOptions:
        """What a processor file keeps beside the statistics."""
        return NormaliseOptions(
            eps=self.eps,
            features=write_features(self.known),
            norm_map=lerobot_modes(self.modes),
            normalize_observation_keys=self.only,
        )

    def unscaled(self) -> list[str]:
        """Features whose kind has a mode but that have no statistics."""
        return [name for name, feature in self._scaled() if name not in self.statistics]

    def features(self, given: Features) -> Features:
        return given

    def apply(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Raw values to the network's."""
        return self._each(sample, self._forward)

    def invert(self, sample: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The network's values to raw ones."""
        return self._each(sample, self._backward)

    def state(self) -> dict[str, NDArray[np.float32]]:
        return {f"{name}.{key}": a for name, entry in self.statistics.items() for key, a in entry.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        found: dict[str, dict[str, Any]] = {}
        for key, array in state.items():
            name, dot, statistic = key.rpartition(".")
            if not dot or not name:
                raise InputError(f"'{key}' is not FEATURE.STATISTIC", where=self.name)
            found.setdefault(name, {})[statistic] = array
        self._take(found)

    # --- the arithmetic

    def _forward(self, feature: Feature, x: Any) -> Any:
        xp, (first, second) = array_namespace(x), self._constants(feature, x)
        if self.modes[feature.kind] == "mean_std":
            return (x - first) / (second + self.eps)
        return 2 * (x - first) / self._range(xp, first, second) - 1

    def _backward(self, feature: Feature, y: Any) -> Any:
        xp, (first, second) = array_namespace(y), self._constants(feature, y)
        if self.modes[feature.kind] == "mean_std":
            return y * second + first
        return (y + 1) / 2 * self._range(xp, first, second) + first

    def _range(self, xp: Any, low: Any, high: Any) -> Any:
        """high - low, and eps where that is exactly zero; a tiny range is used as it is."""
        span = high - low
        return xp.where(span == 0, xp.full_like(span, self.eps), span)

    # --- which features, which statistics

    def _each(self, sample: Mapping[str, Any], rule: Callable[[Feature, Any], Any]) -> dict[str, Any]:
        out = dict(sample)
        for name, feature in self._scaled():
            if name in self.pairs and out.get(name) is not None:
                out[name] = rule(feature, out[name])
        return out

    def _scaled(self) -> Iterator[tuple[str, Feature]]:
        """Known features whose kind has a mode other than identity."""
        for name, feature in self.known.items():
            if self.only is not None and feature.kind != "action" and name not in self.only:
                continue
            if self.modes.get(feature.kind, "identity") != "identity":
                yield name, feature

    def _constants(self, feature: Feature, x: Any) -> tuple[Any, Any]:
        xp = array_namespace(x)
        if not xp.isdtype(x.dtype, "real floating"):
            raise InputError(f"'{feature.name}' is {x.dtype}, not floating", where="normalise")
        first, second = (xp.asarray(s, dtype=x.dtype, device=device(x)) for s in self.pairs[feature.name])
        return first, second

    def _take(self, statistics: Statistics) -> None:
        self.statistics = {
            name: {key: np.asarray(array, dtype=np.float32) for key, array in entry.items()}
            for name, entry in statistics.items()
        }
        self.pairs = {n: self._pair(f) for n, f in self._scaled() if n in self.statistics}

    def _pair(self, feature: Feature) -> Pair:
        """The two statistics of a feature's mode, in a shape that broadcasts against its values."""
        given, wanted = self.statistics[feature.name], MODES[self.modes[feature.kind]]
        missing = [key for key in wanted if key not in given]
        if missing:
            mode = self.modes[feature.kind]
            raise InputError(
                f"the statistics of '{feature.name}' lack {' and '.join(missing)}", where=f"normalise {mode}"
            )
        first, second = (self._shaped(feature, key, given[key]) for key in wanted)
        return first, second

    def _shaped(self, feature: Feature, key: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
        channels = feature.shape[-1] if feature.shape else 1
        if feature.kind == "image" and array.shape in ((channels,), (channels, 1, 1)):
            return array.reshape(channels, 1, 1)
        if feature.kind != "image" and array.shape in (feature.shape, (1,) * len(feature.shape)):
            return array
        raise InputError(
            f"the statistic {key} of '{feature.name}' has shape {array.shape}, its values {feature.shape}",
            where="normalise",
        )


class Unnormalise(Normalise):
    """The way back alone: the step of a post-processor, whose `invert` makes robot units."""

    name = "unnormalizer_processor"


class NormaliseStep(Normalise):
    """`Normalise` as a processor file describes it; its statistics come with `load`."""

    def __init__(self, config: NormaliseOptions) -> None:
        where = self.name
        super().__init__(modes_by_kind(config.norm_map, where), read_features(config.features, where), {}, config.eps)
        self.only = config.normalize_observation_keys


class UnnormaliseStep(NormaliseStep, Unnormalise):
    """`Unnormalise` as a processor file describes it."""


class OldNormalise(Normalise):
    """The rule of LeRobot 0.3.3, where eps is added to every range. For checkpoints with statistics in the weights."""

    def _range(self, xp: Any, low: Any, high: Any) -> Any:
        return high - low + self.eps

    def _backward(self, feature: Feature, y: Any) -> Any:
        if self.modes[feature.kind] == "mean_std":
            return super()._backward(feature, y)
        low, high = self._constants(feature, y)
        return (y + 1) / 2 * (high - low) + low


def statistics_sha256(statistics: Statistics) -> str:
    """A fingerprint of statistics that does not depend on order or float width beyond float32."""
    digest = hashlib.sha256()
    for name in sorted(statistics):
        for key in sorted(statistics[name]):
            array = np.ascontiguousarray(statistics[name][key], dtype="<f4")
            digest.update(f"{name}.{key}{array.reshape(-1).shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
