"""`rl teleop`: a leader moves a robot."""

from __future__ import annotations

from typing import Any

from rl.cli.output import answering, run_session
from rl.cli.spellings import MOVING
from rl.config.command_line import CommandSpec, Resolved
from rl.control.config import TeleopConfig

SPEC = CommandSpec(
    name="teleop",
    tree=TeleopConfig,
    summary="Move a robot by a leader: rl teleop --robot so101 --robot.port sim --teleop so101-leader ...",
    aliases=MOVING | {"fps": "rate", "teleop_time_s": "duration"},
)


def run(resolved: Resolved) -> int:
    """Teleoperate until the duration is over or Ctrl-C; prints the timing table."""
    with answering("teleop", json=resolved.config.json) as answer:
        return _teleoperate(resolved.config, answer)


def _teleoperate(config: TeleopConfig, answer: dict[str, Any]) -> int:
    from rl.control.composite import build_robot, build_teleoperator
    from rl.control.screen import live_view
    from rl.control.session import Session
    from rl.control.settings import Settings
    from rl.control.sinks import Trace
    from rl.control.sources import LeaderSource

    robot, teleoperator = build_robot(config.robot), build_teleoperator(config.teleop)
    settings = Settings(
        rate=config.rate,
        duration=config.duration,
        stop=config.stop,
        estop=config.estop,
        realtime=config.realtime,
        unsafe=config.limits.unsafe,
    )
    sinks: list[Any] = [live_view(), *([Trace(config.trace)] if config.trace else [])]
    with Session(robot, LeaderSource(teleoperator, config.rate), sinks=sinks, settings=settings) as session:
        return run_session(session, answer, json=config.json)
