"""`rl find-port`: which serial port an arm is on, by unplugging it or by moving it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rl.api.errors import InputError, MissingPart, RlError
from rl.api.protocols import Screen, SetsUpMotors
from rl.cli.devices import DeviceChoice, devices
from rl.cli.spellings import MOVING
from rl.config.command_line import CommandSpec, Resolved

MOVED = 30  # steps: more than a sensor's noise
SETTLE_S = 5.0  # the system needs a moment to notice a plug

Ports = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class FindPortConfig(DeviceChoice):
    """Find the serial port of an arm: by unplugging it, or, when it is named, by moving it."""


SPEC = CommandSpec(
    name="find-port",
    tree=FindPortConfig,
    summary="Find an arm's port: rl find-port asks to unplug it; with --robot so101 it asks to move it.",
    aliases=MOVING,
)


def run(resolved: Resolved) -> int:
    """0 when the port is found, or when there is no terminal and the ports were listed."""
    import sys

    from rl.cli.screen import TerminalScreen

    config: FindPortConfig = resolved.config
    screen = TerminalScreen()
    if config.robot is not None or config.teleop is not None:
        moved(config, screen)
        return 0
    before = ports()
    for port in before.values():
        print(f"  {described(port)}")
    if not sys.stdin.isatty():
        todo = "run it in a terminal to find one by unplugging it" if before else "plug the arm's adapter in"
        print(f"{len(before)} serial ports; {todo}")
        return 0
    unplugged(before, screen)
    return 0


def ports() -> Ports:
    """path -> what the system knows of each USB serial port."""
    from rl import _core

    return {port["path"]: port for port in _core.usb_ports()}


def described(port: Mapping[str, Any]) -> str:
    """One line: path, stable name, adapter, serial number."""
    known = [port["name"], f"serial {port['serial']}" if port["serial"] else "no serial number"]
    stable = f"  {port['by_id']}" if port["by_id"] else ""
    return f"{port['path']}{stable}  ({', '.join(filter(None, known))})"


def unplugged(before: Ports, screen: Screen, look: Callable[[], Ports] = ports) -> str:
    """The port that goes when a person unplugs the arm. Errors: InputError when none or several go."""
    if not before:
        raise MissingPart("no USB serial port is there", where="find-port", todo="plug the arm's adapter in")
    screen.ask("unplug", "Unplug the USB cable of the arm, then press Enter.")
    gone = _until(lambda: [path for path in before if path not in look()])
    if not gone:
        raise InputError("no port went away", where="find-port", todo="unplug the arm's cable at the computer")
    if len(gone) > 1:
        raise InputError(f"{', '.join(gone)} went away", where="find-port", todo="unplug one arm only")
    port = before[gone[0]]
    screen.result("pass", f"the arm is on {described(port)}", "plug it in again")
    screen.ask("plug", "Plug it in again, then press Enter.")
    back = _until(
        lambda: [p for p in look().values() if p["serial"] == port["serial"] and p["path"] not in _rest(before, port)]
    )
    if not back:
        screen.result("warn", "it has not come back yet", "look with rl find-port")
    elif back[0]["path"] != port["path"]:
        stable = f"; use {back[0]['by_id']}, which stays" if back[0]["by_id"] else ""
        screen.result("warn", f"it came back as {back[0]['path']}{stable}")
    return gone[0]


def _rest(before: Ports, port: Mapping[str, Any]) -> list[str]:
    return [path for path in before if path != port["path"]]


def _until(found: Callable[[], list[Any]]) -> list[Any]:
    end = time.monotonic() + SETTLE_S
    while not (now := found()) and time.monotonic() < end:
        time.sleep(0.1)
    return now


def moved(choice: DeviceChoice, screen: Screen) -> str:
    """The port on which motors change their place while a person moves the arm. Errors: InputError, MissingPart."""
    side, chosen = ("robot", choice.robot) if choice.robot is not None else ("teleop", choice.teleop)
    assert chosen is not None
    given = getattr(chosen.config, "port", "")
    candidates = [given] if given else list(ports())
    if not candidates:
        raise MissingPart("no USB serial port is there", where="find-port", todo="plug the arm's adapter in")
    watched: dict[str, Any] = {}
    try:
        for path in candidates:
            here = dataclasses.replace(chosen, config=dataclasses.replace(chosen.config, port=path))
            found = devices(dataclasses.replace(choice, **{side: here}), SetsUpMotors, "cannot be found by moving it")
            watched[path] = next(device for _, device in found)
        return _moving(watched, screen)
    finally:
        for device in watched.values():
            device.close()


def _moving(watched: Mapping[str, Any], screen: Screen) -> str:
    before = {path: _look(path, device, screen) for path, device in watched.items()}
    if not any(before.values()):
        if all(positions is None for positions in before.values()):
            raise MissingPart("no port can be read", where="find-port", todo="see the lines above")
        raise MissingPart("no motor answers on any port", where="find-port", todo="is the arm's supply on?")
    if not all(getattr(device, "simulated", False) for device in watched.values()):
        screen.ask("move", "Move the arm by hand to another place, then press Enter.")
    found = []
    for path, device in watched.items():
        stood = before[path] or {}
        after = (_look(path, device, screen) if stood else None) or {}
        turned = [name for name in after if abs(after[name] - stood.get(name, after[name])) > MOVED]
        if turned:
            found.append(path)
            screen.result("pass", f"the arm that was moved is on {path}", f"moved: {', '.join(turned)}")
    if len(found) != 1:
        what = "nothing moved" if not found else f"{' and '.join(found)} moved"
        raise InputError(what, where="find-port", todo="move one arm, by more than a few degrees")
    return found[0]


def _look(path: str, device: Any, screen: Screen) -> Mapping[str, int] | None:
    """Where its motors stand; None with a line for a port that cannot be read."""
    from rl import _core

    try:
        positions: Mapping[str, int] = device.raw_positions()
    except (RlError, _core.CoreError) as error:
        screen.result("warn", str(error))
        return None
    if not positions:
        screen.result("note", f"{path}: no motor answers")
    return positions
