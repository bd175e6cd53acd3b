"""The guardians that run on this machine, found by the sockets on which they take an emergency stop."""

import socket
from pathlib import Path

PREFIX = "@rl-estop-"  # as the system's table shows an abstract socket; the number of its process follows


def table() -> str:
    """The system's table of local sockets."""
    return Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")


def listeners(sockets: str) -> list[str]:
    """The guardians' sockets in such a table."""
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
