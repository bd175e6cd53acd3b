"""What a policy has seen: the same windows over time that it was trained on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]


class History:
    """Rows of the past by their offsets from now, in policy periods; before the first row, the first is repeated.

    offsets: feature -> ascending steps up to 0; an absent feature is (0,). period: ns between two steps. Observations
    that come with a time are looked up by it (nearest to now + offset * period), so that a loop at another rate, or
    one that missed a turn, sees the same past; those without are counted. timeless: features without the T axis.
    """

    def __init__(
        self, offsets: Mapping[str, tuple[int, ...]], period: int, timeless: frozenset[str] = frozenset()
    ) -> None:
        self.offsets, self.period, self.timeless = dict(offsets), period, timeless
        self.deepest = -min((min(steps) for steps in self.offsets.values()), default=0)
        self._rows: deque[tuple[int, Mapping[str, Any]]] = deque()

    def clear(self) -> None:
        self._rows.clear()

    def add(self, observation: Mapping[str, Any], at: int | None = None) -> None:
        """Remembers one observation. at: ns, rising; None: one period after the last."""
        last = self._rows[-1][0] if self._rows else None
        now = at if at is not None else (0 if last is None else last + self.period)
        if last is not None and now <= last:
            self._rows.pop()  # the same instant again, or a clock that went back: the newer word counts
        self._rows.append((now, observation))
        horizon = now - (self.deepest + 1) * self.period
        while len(self._rows) > 1 and self._rows[1][0] <= horizon:
            self._rows.popleft()

    def window(self) -> Arrays:
        """Every feature of the newest observation as (1, T, *shape), oldest row first; timeless ones (1, *shape)."""
        import numpy as np

        newest = self._rows[-1][1]
        steps = {name: (0,) if name in self.timeless else self.offsets.get(name, (0,)) for name in newest}
        rows = {name: np.stack([self._at(name, step) for step in steps[name]]) for name in newest}
        return {name: value if name in self.timeless else value[None] for name, value in rows.items()}

    def _at(self, name: str, step: int) -> NDArray[np.generic]:
        wanted = self._rows[-1][0] + step * self.period
        row: NDArray[np.generic] = min(self._rows, key=lambda row: abs(row[0] - wanted))[1][name]
        return row
