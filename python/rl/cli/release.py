"""`rl release`: takes the torque off an arm that stands, without moving it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rl.api.protocols import Releases
from rl.cli.devices import HELD, DeviceChoice, work_on
from rl.cli.spellings import MOVING
from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved


@dataclass(frozen=True, kw_only=True)
class ReleaseConfig(DeviceChoice):
    """Let go of an arm that a session, a fault or an emergency stop left under torque."""

    held: Annotated[bool, doc(HELD)] = False


SPEC = CommandSpec(
    name="release",
    tree=ReleaseConfig,
    summary="Let go of an arm that was left under torque; hold it: rl release --robot so101 --robot.port PORT",
    aliases=MOVING,
)


def run(resolved: Resolved) -> int:
    """0 when no motor of it has torque any more. Errors: RlError naming those that still have."""
    from rl.cli.screen import TerminalScreen

    screen = TerminalScreen(held=resolved.config.held)
    work_on(resolved.config, Releases, "cannot be released", lambda device: device.release(screen))
    return 0
