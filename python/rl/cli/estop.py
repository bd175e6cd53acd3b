"""`rl estop`: an emergency stop to every guardian on this machine, from any terminal."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved

PREFIX = "@rl-estop-"  # as /proc/net/unix shows an abstract socket


@dataclass(frozen=True, kw_only=True)
class EstopConfig:
    """What `rl estop` does."""

    dry_run: Annotated[bool, doc("only list the guardians that would be stopped")] = False


SPEC = CommandSpec(
    name="estop",
    tree=EstopConfig,
    summary="Stop every arm that runs on this machine: they brake and hold their torque; what ran has ended.",
)


def run(resolved: Resolved) -> int:
    """Send it; exit code 1 when there was nobody to stop."""
    found = listeners(Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace"))
    for name in found:
        who = f"the guardian below process {name[len(PREFIX) :]}"
        if resolved.config.dry_run:
            print(f"would stop {who}")
        else:
            print(f"stopped {who}" if send(name) else f"{who} has ended already")
    if not found:
        print("no arm is running here")
    return 0 if found or resolved.config.dry_run else 1


def listeners(table: str) -> list[str]:
    """The guardians' sockets in the system's table of them."""
    names = (line.rpartition(" ")[2] for line in table.splitlines())
    return sorted({name for name in names if name.startswith(PREFIX) and name[len(PREFIX) :].isdigit()})


def send(name: str) -> bool:
    """One datagram. False when nobody listens any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"stop", "\0" + name[1:])
        except OSError:
            return False
    return True
