"""`rl estop`: an emergency stop to whatever moves an arm on this machine, from any terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved


@dataclass(frozen=True, kw_only=True)
class EstopConfig:
    """What `rl estop` does."""

    dry_run: Annotated[bool, doc("only list what would be stopped")] = False


SPEC = CommandSpec(
    name="estop",
    tree=EstopConfig,
    summary="Stop every arm that runs on this machine: they brake and hold their torque; what ran has ended.",
)


def run(resolved: Resolved) -> int:
    """Send it; exit code 1 when there was nobody to stop."""
    from rl.control.guardians import PREFIX, listeners, send_estop, table

    found = listeners(table())
    for name in found:
        who = owner(int(name[len(PREFIX) :]))
        if resolved.config.dry_run:
            print(f"would stop {who}")
        else:
            print(f"stopped {who}" if send_estop(name) else f"{who} has ended already")
    if not found:
        print("no arm is running here")
    return 0 if found or resolved.config.dry_run else 1


def owner(listener: int) -> str:
    """Whose arm it is that a process listens for: a session itself, or the second hand of one's guardian."""
    from rl.control.port_users import process, session_of

    found = process(listener)
    session = None if found is None else session_of(found)
    if session is None:
        return f"the arm of a session that died (held by process {listener})"
    return f"the arm of process {session.number} ({session.name})"
