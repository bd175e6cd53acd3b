"""Whoever moves an arm on this machine, found by the sockets on which it takes an emergency stop.

A guardian's second hand has one; a session whose loop runs in its own process listens here.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "@rl-estop-"  # as the system's table shows an abstract socket; the number of its process follows


def table() -> str:
    """The system's table of local sockets."""
    return Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")


def listeners(sockets: str) -> list[str]:
    """The e-stop sockets in such a table."""
    names = (line.rpartition(" ")[2] for line in sockets.splitlines())
    return sorted({name for name in names if name.startswith(PREFIX) and name[len(PREFIX) :].isdigit()})


def send_estop(name: str) -> bool:
    """One datagram. False when nobody listens any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"stop", "\0" + name[1:])
        except OSError:
            return False
    return True


class _Ear:
    """The one socket of this process: every session in it is stopped by a datagram, whoever sends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: list[Callable[[], None]] = []
        self._socket: socket.socket | None = None

    def add(self, stop: Callable[[], None]) -> None:
        with self._lock:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.bind(f"\0{PREFIX[1:]}{os.getpid()}")
                threading.Thread(target=self._listen, args=(self._socket,), name="rl-estop", daemon=True).start()
            self._stops.append(stop)

    def remove(self, stop: Callable[[], None]) -> None:
        with self._lock:
            self._stops.remove(stop)
            if not self._stops and self._socket is not None:
                self._socket.shutdown(socket.SHUT_RD)  # ends the wait of the thread
                self._socket.close()
                self._socket = None

    def _listen(self, own: socket.socket) -> None:
        while own is self._socket:
            try:
                own.recv(64)
            except OSError:
                return
            with self._lock:
                stops = list(self._stops) if own is self._socket else []
            for stop in stops:
                stop()


_ear = _Ear()


@contextmanager
def stoppable(stop: Callable[[], None]) -> Iterator[None]:
    """While this lasts `rl estop` calls `stop`, from a thread. Errors: OSError when no socket can be had."""
    _ear.add(stop)
    try:
        yield
    finally:
        _ear.remove(stop)
