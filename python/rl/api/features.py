"""The one vocabulary: what a named array of a data set, robot, policy or graph holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "state", "action", "image", "environment_state", "language", "reward", "done", "success", "index", "free"
]


@dataclass(frozen=True)
class Feature:
    """What one named array holds.

    `shape` is that of one time step: (6,) for six joints, (480, 640, 3) for an image (HWC here, whatever the file
    holds). `names` are the elements' names; `unit` is one for all or one for each (an arm in degrees, its gripper in
    percent); "unstated" when nothing says it. Errors: ValueError when the names or units do not fit the shape.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str | tuple[str, ...] = "none"
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what in ("names", "unit"):
            given = getattr(self, what)
            if isinstance(given, tuple) and given and (len(self.shape) != 1 or len(given) != self.shape[0]):
                raise ValueError(f"{self.name}: {len(given)} {what} for shape {self.shape}")

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each element of a vector."""
        if isinstance(self.unit, tuple):
            return self.unit
        return (self.unit,) * (self.shape[0] if len(self.shape) == 1 else 1)


Features = Mapping[str, Feature]
Offsets = Mapping[str, tuple[int, ...]]  # feature name -> steps relative to now, ascending
