"""`rl setup-motors`: ids and rates of an arm's motors, one motor at a time."""

from __future__ import annotations

from dataclasses import dataclass

from rl.api.protocols import SetsUpMotors
from rl.cli.devices import DeviceChoice, work_on
from rl.cli.spellings import MOVING
from rl.config.command_line import CommandSpec, Resolved


@dataclass(frozen=True, kw_only=True)
class SetupMotorsConfig(DeviceChoice):
    """Give an arm's motors their ids and rates, one motor at a time."""


SPEC = CommandSpec(
    name="setup-motors",
    tree=SetupMotorsConfig,
    summary="Give an arm's motors their ids, one at a time: rl setup-motors --robot so101 --robot.port PORT",
    aliases=MOVING,
)


def run(resolved: Resolved) -> int:
    """0 when every motor has its id and all answer together."""
    from rl.cli.screen import TerminalScreen

    screen = TerminalScreen()
    work_on(resolved.config, SetsUpMotors, "has no motors to set up", lambda device: device.set_up(screen))
    return 0
