"""The whole way from a sample to a policy and from its chunk to robot units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rl.api import Features, InputError
from rl.api.protocols import ProcessorStep
from rl.process.images import Images
from rl.process.names import Batch, Device, Rename
from rl.process.normalise import Normalise, Statistics, Unnormalise
from rl.process.options import BatchOptions, DeviceOptions, RenameOptions

#: mean and deviation of ImageNet's pictures, RGB in 0..1: what pretrained backbones were trained with
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Processing:
    """Ordered steps. `pre` are applied to samples; `post` are inverted, in order, to bring a chunk to robot units."""

    pre: tuple[ProcessorStep, ...]
    post: tuple[ProcessorStep, ...]

    def apply(self, sample: Mapping[str, Any]) -> Mapping[str, Any]:
        """A raw sample (vectors in robot units, pictures uint8 HWC, each (B, T, ...)) as the policy takes it."""
        for step in self.pre:
            sample = step.apply(sample)
        return sample

    def invert_actions(self, chunk: Any, context: Mapping[str, Any] | None = None, name: str = "action") -> Any:
        """A predicted chunk (..., A) in robot units. `context`: the raw observation that it came from."""
        sample: Mapping[str, Any] = {name: chunk}
        for step in self.post:
            sample = step.invert(sample, context or {})
        return sample[name]

    @property
    def host(self) -> "Processing":
        """The steps that run in Python before and after a graph."""
        return self._where("host")

    @property
    def graph(self) -> "Processing":
        """The steps that an exported graph holds."""
        return self._where("graph")

    @property
    def renamed(self) -> dict[str, str]:
        """Name given by data set or robot -> name of the policy."""
        return {k: v for step in self.pre if isinstance(step, Rename) for k, v in step.config.rename_map.items()}

    @property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """Every statistic that the steps hold: feature -> statistic -> array."""
        found: dict[str, dict[str, Any]] = {}
        for step in self._normalisers():
            for name, entry in step.statistics.items():
                found.setdefault(name, {}).update(entry)
        return found

    def unscaled(self) -> list[str]:
        """Features that have a normalisation mode but no statistics: they pass unchanged."""
        return list(dict.fromkeys(name for step in self._normalisers() for name in step.unscaled()))

    def require_statistics(self, where: str = "normalisation") -> None:
        """For training and deployment: InputError naming the features that would pass unchanged."""
        bare = self.unscaled()
        if bare:
            raise InputError(
                f"there are no statistics for {', '.join(bare)}",
                where=where,
                todo="map their types to IDENTITY, or add the statistics to the data set",
            )

    def keeping_sizes(self) -> "Processing":
        """The same without resizing: pictures reach the policy at the size that they have."""
        pre = tuple(Images(step.known, {}) if isinstance(step, Images) else step for step in self.pre)
        return replace(self, pre=pre)

    def _normalisers(self) -> Iterator[Normalise]:
        return (step for step in (*self.pre, *self.post) if isinstance(step, Normalise))

    def _where(self, place: str) -> "Processing":
        return Processing(*(tuple(s for s in steps if s.where == place) for steps in (self.pre, self.post)))


def build_processing(
    normalise: Mapping[str, str],
    inputs: Features,
    outputs: Features,
    statistics: Statistics,
    *,
    imagenet: bool,
    rename: Mapping[str, str] | None = None,
) -> Processing:
    """The steps for training on a data set.

    normalise: kind -> mode. inputs, outputs: the policy's features; pictures are resized to the size that they say.
    statistics: the data set's, under the policy's names or under those that `rename` maps. imagenet: cameras get
    ImageNet's mean and deviation in place of the data set's.
    Errors: InputError naming a feature that has a mode but no statistics, or statistics that cannot be used.
    """
    rename = dict(rename or {})
    given = {rename.get(name, name): dict(entry) for name, entry in statistics.items()}
    for name, feature in inputs.items():
        if imagenet and feature.kind == "image":
            given.setdefault(name, {}).update(
                {k: np.array(v, np.float32).reshape(3, 1, 1) for k, v in IMAGENET.items()}
            )
    processing = Processing(
        pre=(*opening_steps(rename), images_of(inputs), Normalise(normalise, {**inputs, **outputs}, given)),
        post=(Unnormalise(normalise, outputs, given), Device(DeviceOptions())),
    )
    processing.require_statistics("normalisation")
    _require_finite(processing)
    return processing


def opening_steps(rename: Mapping[str, str]) -> tuple[ProcessorStep, ...]:
    """The three steps that every saved pre-processor begins with; LeRobot's tools address them by name."""
    return (
        Rename(RenameOptions(rename_map=dict(rename))),
        Batch(BatchOptions()),
        Device(DeviceOptions()),
    )


def images_of(inputs: Features) -> Images:
    """The step that brings the pictures of a policy to its sizes."""
    return Images(inputs, {n: (f.shape[0], f.shape[1]) for n, f in inputs.items() if f.kind == "image"})


def with_images(steps: Sequence[ProcessorStep], inputs: Features) -> tuple[ProcessorStep, ...]:
    """`steps` with the pictures' conversion before the first normalisation: processor files do not name it."""
    at = next((i for i, step in enumerate(steps) if isinstance(step, Normalise)), len(steps))
    return (*steps[:at], images_of(inputs), *steps[at:])


def _require_finite(processing: Processing) -> None:
    for step in (*processing.pre, *processing.post):
        for name, pair in step.pairs.items() if isinstance(step, Normalise) else ():
            if not all(np.isfinite(array).all() for array in pair):
                raise InputError(f"the statistics of '{name}' are not finite", where="normalisation")
