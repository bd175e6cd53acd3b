"""`rl setup-motors`: ids and rates of an arm's motors, one motor at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rl.api.protocols import SetsUpMotors
from rl.cli.spellings import MOVING
from rl.config import Choice, Selected, doc
from rl.config.command_line import CommandSpec, Resolved


@dataclass(frozen=True, kw_only=True)
class SetupMotorsConfig:
    """Give an arm's motors their ids and rates, one motor at a time."""

    robot: Annotated[Selected | None, Choice("robot"), doc("the robot: --robot so101")] = None
    teleop: Annotated[Selected | None, Choice("teleoperator"), doc("or the leader: --teleop so101-leader")] = None


SPEC = CommandSpec(
    name="setup-motors",
    tree=SetupMotorsConfig,
    summary="Give an arm's motors their ids, one at a time: rl setup-motors --robot so101 --robot.port PORT",
    aliases=MOVING,
)


def run(resolved: Resolved) -> int:
    """0 when every motor has its id and all answer together."""
    from rl.cli.calibrate import devices
    from rl.cli.screen import TerminalScreen

    config: SetupMotorsConfig = resolved.config
    screen = TerminalScreen()
    for part, device in devices(config.robot, config.teleop, SetsUpMotors, "has no motors to set up"):
        if part:
            print(f"{part}:")
        try:
            device.set_up(screen)
        finally:
            device.close()
    return 0
