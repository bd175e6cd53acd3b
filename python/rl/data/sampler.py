"""The order in which window starts are visited: a pure function of seed and epoch, so any step can be asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rl.api import InputError


class Order:
    """Endless stream of positions: epoch after epoch, each a permutation drawn from (seed, epoch).

    count: window starts. Step k of rank r takes elements [(k * world + r) * batch, ... + batch) of the stream, so the
    ranks share each global batch without overlap, and a batch may span two epochs. Errors: InputError when there is
    nothing to visit.
    """

    def __init__(self, count: int, seed: int) -> None:
        if count < 1:
            raise InputError("there is no window to learn from", where="data")
        self.count, self.seed = count, seed
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """(count,) permutation of that epoch."""
        if epoch not in self._epochs:
            if len(self._epochs) > 1:  # a batch needs two at most; each may be large
                self._epochs.pop(min(self._epochs))
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed & (2**64 - 1), epoch])))
            self._epochs[epoch] = random.permutation(self.count).astype(np.int64)
        return self._epochs[epoch]

    def batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """(size,) elements for `step` of `rank` among `world` equal ranks."""
        at = (step * world + rank) * size + np.arange(size, dtype=np.int64)
        epochs, within = np.divmod(at, self.count)
        picked = np.empty(size, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            picked[here] = self.epoch(int(epoch))[within[here]]
        return picked
