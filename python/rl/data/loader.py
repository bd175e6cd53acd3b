"""Batches for ever, made ahead by worker processes; the batch of a step is the same however many make it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rl.api import InputError, RlError
from rl.data.sampler import Order
from rl.data.workers import Worker


class View(Protocol):
    """What batches are made from; see `rl.data.windows.WindowView`."""

    positions: NDArray[np.int64]

    def batch(self, positions: NDArray[np.int64]) -> dict[str, Any]: ...
    def spec(self, batch_size: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]: ...


class Batches:
    """Iterator of (step, batch) without end, from `start_step` on.

    The order is a function of (seed, epoch) alone: step k of rank r among `world` gives the same windows whatever the
    number of workers and whether the run was resumed. workers: processes that decode ahead, 0 = here; prefetch:
    batches that each keeps ready. Arrays of a batch belong to the caller. `waited`: seconds that the last `next`
    blocked. Errors of a worker are raised here at the step they belong to, InputErrors as such; a worker that dies is
    an RlError. Workers end with `close`, with this process, and when it is killed.
    """

    def __init__(
        self,
        view: View,
        batch_size: int,
        *,
        seed: int,
        workers: int = 0,
        prefetch: int = 2,
        start_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1 or workers < 0 or prefetch < 1 or not 0 <= rank < world:
            raise InputError(
                f"batch size {batch_size}, workers {workers}, prefetch {prefetch}, rank {rank} of {world} do not fit",
                where="loader",
            )
        self.view, self.batch_size, self.rank, self.world = view, batch_size, rank, world
        self.order = Order(len(view.positions), seed)
        self.step = start_step  # of the batch that comes next
        self.waited = 0.0
        self._asked = start_step
        self._ahead = workers * prefetch
        self._workers: list[Worker] = []
        self._pending: deque[Worker] = deque()
        try:
            for number in range(workers):
                self._workers.append(Worker(view, view.spec(batch_size), slots=prefetch, name=f"rl-data-{number}"))
        except BaseException:
            self.close()
            raise

    @property
    def epoch(self) -> float:
        """How often the data has been seen before the batch that comes next."""
        return self.step * self.batch_size * self.world / self.order.count

    def positions(self, step: int) -> NDArray[np.int64]:
        """Rows (batch_size,) that are the starts of the windows of `step`."""
        return self.view.positions[self.order.batch(step, self.batch_size, self.rank, self.world)]

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return self

    def __next__(self) -> tuple[int, dict[str, Any]]:
        begin = time.perf_counter()
        batch = self._from_worker() if self._workers else self.view.batch(self.positions(self.step))
        self.waited = time.perf_counter() - begin
        step, self.step = self.step, self.step + 1
        return step, batch

    def _from_worker(self) -> dict[str, Any]:
        while len(self._pending) < self._ahead:
            worker = self._workers[self._asked % len(self._workers)]
            worker.ask(self._asked, self.positions(self._asked))
            self._pending.append(worker)
            self._asked += 1
        worker = self._pending.popleft()
        step, batch = worker.take()
        if step != self.step:
            raise RlError(f"worker gave step {step} for step {self.step}", where="loader")
        return batch

    def close(self) -> None:
        """End the workers. May be called twice."""
        self._pending.clear()
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.hang_up()
        for worker in workers:
            worker.close()

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_workers", None):
            self.close()
