"""One data worker: a process that turns positions into batches, and the shared memory they come back in.

Not multiprocessing's spawn: that runs the caller's script again in the child, and a Ctrl-C would reach it.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl.api.errors import RlError, cause_of

_ALIGN = 64
_LARGEST = 4 << 30  # bytes of shared memory for one worker; what does not fit travels through the pipe
_PATIENCE = 2.0  # seconds that a worker is given to end by itself
_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from rl.data.workers import serve
serve(*map(int, sys.argv[2:]))
"""

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
        self.name = name
        near, far = socket.socketpair()
        self._pipe = Connection(near.detach())
        descriptor = -1
        try:
            if self._size:
                descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
                os.ftruncate(descriptor, self._size * self._slots)
                self._memory = mmap.mmap(descriptor, self._size * self._slots)
            self._process = self._start(far.fileno(), descriptor)
        finally:
            far.close()
            if descriptor >= 0:
                os.close(descriptor)
        try:
            self._pipe.send_bytes(pickle.dumps(view))
        except OSError as error:
            self.close()
            raise self._death() from error

    def _start(self, pipe: int, memory: int) -> subprocess.Popen[bytes]:
        """A session of its own: the terminal's Ctrl-C is the parent's to handle, which then hangs up."""
        numbers = [str(n) for n in (pipe, memory, self._size, self._slots)]
        return subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), *numbers],
            stdin=subprocess.DEVNULL,
            pass_fds=[pipe] if memory < 0 else [pipe, memory],
            start_new_session=True,
        )

    @property
    def process_id(self) -> int:
        """Of the worker's process."""
        return self._process.pid

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
        code = self._ended(_PATIENCE)
        return RlError(
            f"data worker {self.name} ended with code {code}",
            where="loader",
            todo="out of memory? use fewer workers, a smaller batch or --dataset.image_size",
        )

    def _ended(self, patience: float) -> int | None:
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return None

    def hang_up(self) -> None:
        """Tell the process to end: it does when the pipe closes."""
        self._pipe.close()

    def close(self) -> None:
        """Wait for the process, end it when it does not, and free the memory."""
        self.hang_up()
        for end in (self._process.terminate, self._process.kill):
            if self._ended(_PATIENCE) is None:
                end()
        self._process.wait()
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def serve(pipe_number: int, descriptor: int, size: int, slots: int) -> None:
    """The worker's whole life: until the parent closes the pipe or dies."""
    pipe = Connection(pipe_number)
    memory = None
    if descriptor >= 0:
        memory = mmap.mmap(descriptor, size * slots)
        os.close(descriptor)
    view: Any = None
    given = b""
    while True:
        try:
            given = given or pipe.recv_bytes()
            step, slot, positions = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            view = pickle.loads(given) if view is None else view  # noqa: S301  from the parent, over our own pipe
            layout, rest = _place(view.batch(positions), memory, slot * size, size)
            answer: tuple[Any, ...] = (step, None, layout, rest)
        except RlError as error:
            answer = (step, error, {}, {})
        except Exception as error:  # noqa: BLE001  whatever it is belongs to the parent
            answer = (step, RlError(cause_of(error), where="data worker"), {}, {})
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
