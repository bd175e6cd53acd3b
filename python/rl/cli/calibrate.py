"""`rl calibrate`: measure an arm's joints by hand, store the result, look at it, go back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from rl.api.errors import InputError
from rl.api.protocols import Calibrates, Screen, Version
from rl.cli.devices import HELD, DeviceChoice, work_on
from rl.cli.spellings import MOVING
from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(DeviceChoice):
    """Measure an arm's joints by hand and store the result in its motors and its file."""

    check: Annotated[bool, doc("compare motors, file and measured ranges; moves and writes nothing")] = False
    versions: Annotated[bool, doc("list the calibrations that the arm had")] = False
    diff: Annotated[int | None, doc("show what version N has otherwise than the file", ge=1)] = None
    roll_back: Annotated[int | None, doc("store version N again, in motors and file", ge=1)] = None
    held: Annotated[bool, doc(HELD)] = False

    def __post_init__(self) -> None:
        given = [self.check, self.versions, self.diff is not None, self.roll_back is not None]
        if sum(given) > 1:
            raise InputError("check, versions, diff and roll-back exclude each other", todo="give one of them")


SPEC = CommandSpec(
    name="calibrate",
    tree=CalibrateConfig,
    summary="Calibrate an arm by moving it by hand: rl calibrate --robot so101 --robot.port PORT --robot.id NAME",
    aliases=MOVING,
)


def run(resolved: Resolved) -> int:
    """0 when it is stored or as it should be. Errors: RlError saying what is not, and that nothing was stored."""
    from rl.cli.screen import TerminalScreen

    config: CalibrateConfig = resolved.config
    screen = TerminalScreen(held=config.held)
    work_on(config, Calibrates, "cannot be calibrated", lambda device: _work(device, config, screen))
    return 0


def _work(device: Any, config: CalibrateConfig, screen: Screen) -> None:
    if config.versions:
        _list(device.versions())
    elif config.diff is not None:
        _diff(device.versions(), config.diff)
    elif config.check:
        device.check_calibration(screen)
        print("nothing was moved or written")
    elif config.roll_back is not None:
        device.restore(config.roll_back, screen)
    else:
        device.calibrate(screen)


def _list(versions: Sequence[Version]) -> None:
    if not versions:
        print("no calibration is stored")
    for version in versions:
        state = ", ".join(["current"] * version.current + ["damaged"] * (not version.values))
        print(f"{version.number:4}  {version.made}  {state}".rstrip())


def _diff(versions: Sequence[Version], number: int) -> None:
    found = {version.number: version for version in versions}
    current = next((version for version in versions if version.current), None)
    if number not in found or current is None:
        known = ", ".join(map(str, found)) or "none"
        raise InputError(f"there is no version {number}", where="calibrate", todo=f"there are: {known}")
    for one, what in ((found[number], f"version {number}"), (current, "the current file")):
        if not one.values:
            sound = [version.number for version in versions if version.values]
            todo = (
                f"rl calibrate --roll-back N stores a sound one again: {', '.join(map(str, sound)) or 'there is none'}"
            )
            raise InputError(f"{what} is damaged", where="calibrate", todo=todo)
    lines = list(_changes(found[number].values, current.values))
    print(f"{'joint':14} {'field':14} {'version ' + str(number):>10} {'current':>8}")
    for joint, field, old, new in lines:
        print(f"{joint:14} {field:14} {old:>10} {new:>8}")
    if not lines:
        print("no difference")


def _changes(
    old: Mapping[str, Mapping[str, int]], new: Mapping[str, Mapping[str, int]]
) -> Iterator[tuple[str, str, str, str]]:
    for joint in dict.fromkeys([*old, *new]):
        before, after = old.get(joint, {}), new.get(joint, {})
        for field in dict.fromkeys([*before, *after]):
            if before.get(field) != after.get(field):
                yield joint, field, str(before.get(field, "-")), str(after.get(field, "-"))
