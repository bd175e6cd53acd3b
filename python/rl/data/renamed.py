"""A reader under other names: sets call things `state` that policies know as `observation.state`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api import InputError, Kind
from rl.api.protocols import DatasetReader

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("observation.images.", "image"),
    ("observation.image", "image"),
    ("observation.environment_state", "environment_state"),
    ("observation.state", "state"),
    ("action", "action"),
)


class RenamedReader:
    """`reader` with features renamed by `names`: new name -> the set's own.

    A feature keeps its kind unless that is `free` and the new name says one (`observation.state`, `action`,
    `observation.environment_state`). Errors: InputError when an own name is not in the set, or a new one already is.
    """

    def __init__(self, reader: DatasetReader, names: Mapping[str, str]) -> None:
        have = reader.info.features
        for new, own in names.items():
            if own not in have:
                raise InputError(
                    f"there is no feature '{own}' to call '{new}'", where="dataset", todo=f"it has {', '.join(have)}"
                )
            if new in have and new not in names.values():
                raise InputError(f"'{own}' cannot be called '{new}': the set has one", where="dataset")
        if len(set(names.values())) != len(names):
            raise InputError("one feature is given two names", where="dataset")
        self.reader = reader
        self._own = dict(names)
        back = {own: new for new, own in names.items()}
        features = {}
        for own, feature in have.items():
            new = back.get(own, own)
            features[new] = replace(feature, name=new, kind=_kind(new, feature.kind) if own in back else feature.kind)
        statistics = reader.info.statistics
        if statistics is not None:
            statistics = {back.get(own, own): value for own, value in statistics.items()}
        self.info = replace(reader.info, features=features, statistics=statistics)

    def rows(self, indices: NDArray[np.int64], columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        """As the reader's, under the new names."""
        values = self.reader.rows(indices, [self._own.get(c, c) for c in columns])
        return {c: values[self._own.get(c, c)] for c in columns}

    def frames(self, camera: str, indices: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """As the reader's, under the new name."""
        return self.reader.frames(self._own.get(camera, camera), indices, size)

    def check_frames(self, cameras: Sequence[str], episodes: Sequence[int]) -> Sequence[str]:
        """As the reader's when it can check."""
        check = getattr(self.reader, "check_frames", None)
        return check([self._own.get(c, c) for c in cameras], episodes) if check else ()


def _kind(name: str, kind: Kind) -> Kind:
    if kind != "free":
        return kind
    return next((found for start, found in _KINDS if name.startswith(start)), kind)
