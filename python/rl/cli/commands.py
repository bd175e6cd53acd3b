"""The commands that are trees of options: their configuration, their words, LeRobot's spellings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rl.config.command_line import CommandSpec


class Command(NamedTuple):
    """One command of the program. `spec` and `run` are "module:name", looked up when the command is used."""

    name: str
    summary: str
    spec: str
    run: str


COMMANDS = (
    Command("train", "Train a policy from a data set", "rl.cli.train:SPEC", "rl.cli.train:run"),
    Command(
        "export", "Write a checkpoint as a bundle that runs without PyTorch", "rl.cli.export:SPEC", "rl.cli.export:run"
    ),
    Command("deploy", "Run a bundle on a robot", "rl.cli.deploy:SPEC", "rl.cli.deploy:run"),
    Command("teleop", "Move a robot by a leader", "rl.cli.teleop:SPEC", "rl.cli.teleop:run"),
    Command("record", "Record demonstrations", "rl.cli.record:SPEC", "rl.cli.record:run"),
    Command("replay", "Play a recorded episode on a robot", "rl.cli.replay:SPEC", "rl.cli.replay:run"),
    Command("find-port", "Find the serial port of an arm", "rl.cli.find_port:SPEC", "rl.cli.find_port:run"),
    Command("setup-motors", "Give an arm's motors their ids", "rl.cli.setup_motors:SPEC", "rl.cli.setup_motors:run"),
    Command("calibrate", "Calibrate an arm by hand", "rl.cli.calibrate:SPEC", "rl.cli.calibrate:run"),
    Command("release", "Let go of an arm that was left under torque", "rl.cli.release:SPEC", "rl.cli.release:run"),
    Command("cameras", "List cameras and save a picture of each", "rl.cli.cameras:SPEC", "rl.cli.cameras:run"),
    Command(
        "emulate", "Emulate a robot on a port that other programs open", "rl.cli.emulate:SPEC", "rl.cli.emulate:run"
    ),
    Command("info", "Say what a checkpoint, bundle, run or data set is", "rl.cli.info:SPEC", "rl.cli.info:run"),
    Command("blackbox", "Show the last cycles before a fault", "rl.cli.blackbox:SPEC", "rl.cli.blackbox:run"),
    Command("estop", "Stop every arm that runs on this machine", "rl.cli.estop:SPEC", "rl.cli.estop:run"),
    Command("doctor", "Check this machine and say what is missing", "rl.cli.doctor:SPEC", "rl.cli.doctor:run"),
    Command("demo", "The whole path on an emulated arm, without hardware", "rl.cli.demo:SPEC", "rl.cli.demo:run"),
)


@lru_cache(maxsize=16)
def spec_of(name: str) -> CommandSpec:
    """The tree and words of one command."""
    from rl.registry import resolve

    command = next(c for c in COMMANDS if c.name == name)
    found: CommandSpec = resolve(command.spec)
    return found


def execute(name: str, words: Sequence[str]) -> int:
    """Parse, call, print: the whole of a command. Returns its exit code."""
    from rl.cli.output import outlive_reader
    from rl.config.command_line import resolve, wants_help
    from rl.registry import registry
    from rl.registry import resolve as target

    spec = spec_of(name)
    if wants_help(words):
        from rl.config.help import help_text

        print(help_text(spec, words, registry()))
        return 0
    resolved = resolve(spec, words, registry())
    for note in resolved.notes:
        print(f"note: {note}", file=sys.stderr if getattr(resolved.config, "json", False) else sys.stdout)
    outlive_reader()
    run: Callable[..., int] = target(next(c for c in COMMANDS if c.name == name).run)
    return run(resolved)


__all__ = ["COMMANDS", "Command", "execute", "spec_of"]
