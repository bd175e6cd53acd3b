"""`rl release`: takes the torque off an arm that stands, without moving it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from rl.api.protocols import Releases
from rl.cli.devices import DeviceChoice, devices
from rl.cli.spellings import MOVING
from rl.config.command_line import CommandSpec, Resolved


@dataclass(frozen=True, kw_only=True)
class ReleaseConfig(DeviceChoice):
    """Let go of an arm that a session, a fault or an emergency stop left under torque."""


SPEC = CommandSpec(
    name="release",
    tree=ReleaseConfig,
    summary="Let go of an arm that was left under torque; hold it: rl release --robot so101 --robot.port PORT",
    aliases=MOVING,
)


def run(resolved: Resolved) -> int:
    """0 when no motor of it has torque any more. Errors: RlError naming those that still have."""
    from rl.cli.screen import TerminalScreen

    config: ReleaseConfig = resolved.config
    screen = TerminalScreen()
    for part, device in devices(config, Releases, "cannot be released"):
        if part:
            print(f"{part}:")
        with closing(device):
            device.release(screen)
    return 0
