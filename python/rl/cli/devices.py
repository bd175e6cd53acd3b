"""The one robot or teleoperator that a command of the bench works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any

from rl.api.errors import InputError
from rl.config import Choice, Selected, doc

HELD = "somebody holds the arm: it goes limp without being asked for, for scripts and ssh"


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """A robot or a leader."""

    robot: Annotated[Selected | None, Choice("robot"), doc("the robot: --robot so101")] = None
    teleop: Annotated[Selected | None, Choice("teleoperator"), doc("or the leader: --teleop so101-leader")] = None


def work_on(choice: DeviceChoice, kind: type[Any], refusal: str, work: Callable[[Any], None]) -> None:
    """Does it for the device, or for each of its parts, with a line that names the part."""
    for part, device in devices(choice, kind, refusal):
        if part:
            print(f"{part}:")
        with closing(device):
            work(device)


def devices(choice: DeviceChoice, kind: type[Any], refusal: str) -> Iterator[tuple[str, Any]]:
    """(part, device) of the one that was chosen; part '' when it has no parts. Errors: InputError when none or both are
    chosen, or when it lacks the ability."""
    from rl.registry import registry

    robot, teleop = choice.robot, choice.teleop
    if (robot is None) == (teleop is None):
        known = ", ".join([*registry().names("robot"), *registry().names("teleoperator")])
        todo = f"give --robot NAME or --teleop NAME; known: {known}"
        raise InputError("no device is chosen" if robot is None else "one device at a time", todo=todo)
    chosen = robot or teleop
    assert chosen is not None
    implementation = registry().implementation(chosen.kind, chosen.name)
    parts = chosen.config.parts() if hasattr(chosen.config, "parts") else {}
    for part, config in (parts or {"": chosen.config}).items():
        device = implementation(config)
        if not isinstance(device, kind):
            raise InputError(f"{chosen.kind} {chosen.name} {refusal} here", todo="see its own documentation")
        yield part, device
