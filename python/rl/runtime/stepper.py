"""One action a control step out of chunks: a queue of the first actions of each, or their temporal ensemble."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rl.api.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Observation = Mapping[str, Any]


class Stepper:
    """Plays a policy step by step, as its authors' `select_action` does: for checks, simulation and comparison.

    The arm itself is driven by whole chunks with due times (`rl._core.ActionQueue`), not by this.

    infer: observation -> chunk (Ta, A). execute: actions used of each chunk, 1..Ta. ensemble: coefficient of ACT's
    temporal ensembling (arXiv 2304.13705, algorithm 2), which predicts at every step; None: a queue. observe: is
    shown the observations of steps that do not predict, for policies that look back.
    """

    def __init__(
        self,
        infer: Callable[[Observation], Array],
        execute: int,
        ensemble: float | None = None,
        observe: Callable[[Observation], None] | None = None,
    ) -> None:
        if execute < 1:
            raise InputError(f"{execute} actions of each chunk cannot be executed", todo="use 1 or more")
        if ensemble is not None and execute != 1:
            raise InputError(f"temporal ensembling predicts at every step, but execute is {execute}", todo="use 1")
        self.infer, self.execute, self.ensemble, self.observe = infer, execute, ensemble, observe
        self._queue: deque[Array] = deque()
        self._ensembler: Any = None

    def reset(self) -> None:
        """A new episode: nothing of the last one is played on."""
        self._queue.clear()
        if self._ensembler is not None:
            self._ensembler.reset()

    def step(self, observation: Observation) -> tuple[Array, bool]:
        """The action (A,) of this step, and whether the policy was asked for it."""
        if self.ensemble is not None:
            return self._blend(self.infer(observation), self.ensemble), True
        queried = not self._queue
        if queried:
            chunk = self.infer(observation)
            if len(chunk) < self.execute:
                raise InputError(f"a chunk has {len(chunk)} actions, fewer than the {self.execute} to be executed")
            self._queue.extend(chunk[: self.execute])
        elif self.observe is not None:
            self.observe(observation)
        return self._queue.popleft(), queried

    def _blend(self, chunk: Array, coefficient: float) -> Array:
        if self._ensembler is None:
            from rl import _core

            self._ensembler = _core.TemporalEnsembler(len(chunk), coefficient)
        action: Array = self._ensembler.update(chunk)
        return action
