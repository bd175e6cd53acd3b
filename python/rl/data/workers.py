"""One data worker: a spawned process that turns positions into batches, and the shared memory they come back in."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api import RlError

_ALIGN = 64
_LARGEST = 4 << 30  # bytes of shared memory for one worker; what does not fit travels through the pipe
_PATIENCE = 2.0  # seconds that a worker is given to end by itself

Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


class Worker:
    """The parent's end. One batch is asked for by `ask` and fetched by `take`, in order.

    view: pickled to the process. spec: arrays of a batch, to size the slots. slots: how many batches may lie ready.
    """

    def __init__(self, view: Any, spec: Layout, *, slots: int, name: str) -> None:
        size = sum(_padded(int(np.prod(shape)) * dtype.itemsize) for shape, dtype in spec.values())
        slots_held = slots if 0 < size * slots <= _LARGEST and hasattr(os, "memfd_create") else 0
        self._size = size if slots_held else 0
        self._slots = max(1, slots_held)
        self._memory: mmap.mmap | None = None
        self._asked = self._taken = 0
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        descriptor = -1
        try:
            handle = None
            if self._size:
                descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
                os.ftruncate(descriptor, self._size * self._slots)
                self._memory = mmap.mmap(descriptor, self._size * self._slots)
                handle = _Descriptor(descriptor)
            arguments = (far, handle, self._size, self._slots, view)
            self._process = context.Process(target=_serve, args=arguments, name=name, daemon=True)
            _start_without_interrupts(self._process)
        finally:
            far.close()
            if descriptor >= 0:
                os.close(descriptor)

    def ask(self, step: int, positions: NDArray[np.int64]) -> None:
        """Have the batch of `step` made; it goes to the next slot."""
        try:
            self._pipe.send((step, self._asked % self._slots, positions))
        except OSError as error:
            raise self._death() from error
        self._asked += 1

    def take(self) -> tuple[int, dict[str, Any]]:
        """The oldest batch asked for, copied out of its slot. Raises what the worker raised."""
        try:
            step, failure, layout, rest = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        self._taken += 1
        if failure is not None:
            raise failure
        batch = dict(rest)
        for name, (shape, dtype, at) in layout.items():
            count = int(np.prod(shape))
            # copied: the caller may keep it, the slot is written again
            batch[name] = np.frombuffer(self._memory, dtype, count, at).reshape(shape).copy()  # type: ignore[arg-type]
        return step, batch

    def _death(self) -> RlError:
        self._process.join(_PATIENCE)
        return RlError(
            f"data worker {self._process.name} ended with code {self._process.exitcode}",
            where="loader",
            todo="out of memory? use fewer workers, a smaller batch or --dataset.image_size",
        )

    def hang_up(self) -> None:
        """Tell the process to end: it does when the pipe closes."""
        self._pipe.close()

    def close(self) -> None:
        """Wait for the process, end it when it does not, and free the memory."""
        self.hang_up()
        self._process.join(_PATIENCE)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(_PATIENCE)
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if not self._process.is_alive():
            self._process.close()


class _Descriptor:
    """A file descriptor that is duplicated into a child while its Process is being spawned."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return (_detach, (reduction.DupFd(self.number),))


def _detach(handle: Any) -> int:
    return int(handle.detach())


def _start_without_interrupts(process: Any) -> None:
    """The child starts with SIGINT blocked: a Ctrl-C during its imports must not end it with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        process.start()
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, descriptor: int | None, size: int, slots: int, view: Any) -> None:
    """The worker's whole life: until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it hangs up
    memory = None
    if descriptor is not None:
        memory = mmap.mmap(descriptor, size * slots)
        os.close(descriptor)
    while True:
        try:
            step, slot, positions = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            layout, rest = _place(view.batch(positions), memory, slot * size, size)
            answer: tuple[Any, ...] = (step, None, layout, rest)
        except RlError as error:
            answer = (step, error, {}, {})
        except Exception as error:  # noqa: BLE001  whatever it is belongs to the parent
            what = " ".join(f"{type(error).__name__}: {error}".split())
            answer = (step, RlError(what, where="data worker"), {}, {})
        try:
            pipe.send(answer)
        except OSError:
            return


def _place(batch: dict[str, Any], memory: Any, at: int, size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays into the slot as far as they fit; the layout of those and whatever else there is."""
    layout: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    end = at + size
    for name, value in batch.items():
        fits = memory is not None and isinstance(value, np.ndarray) and value.dtype != object
        if not fits or at + value.nbytes > end:
            rest[name] = value
            continue
        np.frombuffer(memory, value.dtype, value.size, at).reshape(value.shape)[...] = value
        layout[name] = (value.shape, value.dtype, at)
        at += _padded(value.nbytes)
    return layout, rest


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
