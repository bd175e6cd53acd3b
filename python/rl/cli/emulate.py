"""`rl emulate`: a robot without the robot, on a port that any program opens."""

from __future__ import annotations

import json
import math
import os
import re
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rl.api.errors import InputError
from rl.config import doc
from rl.config.command_line import CommandSpec, Resolved
from rl.config.outputs import new_file

if TYPE_CHECKING:
    from rl.api.protocols import Emulated

LOOK_S = 0.1  # between looks at signals, typed lines and the port's name
LONGEST_LINE = 4096  # bytes of a typed line


@dataclass(frozen=True, kw_only=True)
class EmulateConfig:
    """An emulated robot on a port that other programs open."""

    device: Annotated[str, doc("robot or teleoperator that is emulated: so101, so101-leader")] = ""
    kind: Annotated[
        Literal["follower", "leader"] | None, doc("leader: the teleoperator that drives the robot named")
    ] = None
    wave: Annotated[bool, doc("it moves by itself; leaders only")] = False
    profile: Annotated[str, doc("what is between program and wire: wire, usb, usb-1ms, ftdi-1ms, ftdi-16ms")] = "usb"
    link: Annotated[str | None, doc("symbolic link to the port, for a name that stays")] = None
    calibration: Annotated[str | None, doc("write the calibration file of the emulated arm here")] = None
    fault: Annotated[dict[str, str], doc("what goes wrong: --fault drop=0.01 --fault late=rate=0.01,ms=30")] = field(
        default_factory=dict
    )
    seed: Annotated[int, doc("of the faults", ge=0)] = 0
    duration: Annotated[float, doc("how long; 0: until Ctrl-C", unit="s", ge=0)] = 0.0
    json: Annotated[bool, doc("print JSON, a line for each thing said")] = False


def _prelude(words: Sequence[str]) -> Sequence[str]:
    """`--fault drop=0.01` becomes `--fault.drop=0.01`, so that it may be given more than once."""
    found: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--fault" and rest and not rest[0].startswith("--"):
            word = f"--fault={rest.pop(0)}"
        if word.startswith("--fault="):
            kind, _, values = word.removeprefix("--fault=").partition("=")
            word = f"--fault.{kind}={values}"
        found.append(word)
    return found


SPEC = CommandSpec(
    name="emulate",
    tree=EmulateConfig,
    summary="Emulate a robot on a port that other programs open: rl emulate so101 --link /tmp/arm",
    positionals=("device",),
    prelude=_prelude,
)


def run(resolved: Resolved) -> int:
    """Until Ctrl-C; prints the port first and what happened on it last."""
    from rl.registry import resolve

    config: EmulateConfig = resolved.config
    name, target = emulator_of(config.device, config.kind)
    file = None if config.calibration is None else new_file(config.calibration, "--calibration")
    faults = {kind: fields_of(values, kind) for kind, values in config.fault.items()}
    emulated: Emulated = resolve(target)(config.wave, config.profile, config.seed)
    link, ended = Link(config.link), Ended()
    try:
        for kind, fields in faults.items():
            emulated.fault(kind, fields)
        if file is not None:
            write_new(file, emulated.calibration())
        link.point(emulated.port)
        tell(
            config.json, {"device": name, "port": emulated.port, "link": config.link, "calibration": config.calibration}
        )
        serve(emulated, link, ended, config)
    finally:
        link.remove()
        emulated.close()
        ended.forget()
    counted = {what: count for what, count in emulated.statistics().items() if count}
    if config.json:
        tell(True, {"statistics": counted})
    else:
        print("\n".join(f"{what:16} {count}" for what, count in counted.items()))
    return 0


def emulator_of(device: str, kind: str | None) -> tuple[str, str]:
    """(own name, target) of what is emulated. Errors: InputError listing what can be."""
    from rl.registry import registry

    known = registry()
    can = {spec.name: spec for _, spec, _ in known.all() if getattr(spec, "emulator", "")}
    todo = f"there are {', '.join(sorted(can))}"
    if not device:
        raise InputError("nothing to emulate is named", where="rl emulate", todo=todo)
    place = "robot" if ("robot", device) in known.claims else "teleoperator"
    if (place, device) not in known.claims:
        raise InputError(f"there is no robot or teleoperator '{device}'", where="rl emulate", todo=todo)
    name = known.canonical(place, device)
    if kind == "leader" and place == "robot":
        name = next((n for n, spec in can.items() if name in getattr(spec, "drives", ())), name)
    elif kind == "follower" and place == "teleoperator":
        name = next((n for n in getattr(known.get(place, device), "drives", ()) if n in can), name)
    if name not in can:
        raise InputError(f"'{name}' cannot be emulated", where="rl emulate", todo=todo)
    return name, str(getattr(can[name], "emulator", ""))


def fields_of(text: str, kind: str) -> dict[str, float]:
    """The fields of a fault as a person writes them: "0.01", "rate=0.01,ms=30", "3 on=1". One, the first, may lack its
    name."""
    fields: dict[str, float] = {}
    for at, word in enumerate(text.replace(",", " ").split()):
        name, equals, value = word.rpartition("=")
        if at and not equals:
            raise InputError(f"'{word}' has no name", where=f"fault {kind}", todo="only the first may; e.g. 0.01,id=3")
        if name in fields:
            raise InputError(f"{name} is given twice", where=f"fault {kind}")
        try:
            fields[name] = float({"on": "1", "off": "0"}.get(value, value))
        except ValueError:
            raise InputError(f"'{word}' is no number", where=f"fault {kind}", todo="e.g. rate=0.01,id=3") from None
    if not all(math.isfinite(value) for value in fields.values()):
        raise InputError("a value is not finite", where=f"fault {kind}")
    return fields


class Ended:
    """True once a signal asked for the end."""

    def __init__(self) -> None:
        self.asked = False
        self._before = {n: signal.signal(n, self._ask) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def forget(self) -> None:
        """Signals do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


def serve(emulated: Emulated, link: Link, ended: Ended, config: EmulateConfig) -> None:
    """Until a signal or the end of the duration. A typed line is a fault: `overload id=3 on=1`."""
    until = time.monotonic() + config.duration if config.duration else math.inf
    typed, port = Typed(), emulated.port
    if typed.hears and not config.json:
        print("Ctrl-C ends it; a typed line is a fault, e.g. drop 0.01, mute 3, hangup, replug", flush=True)
    while not ended.asked and (left := until - time.monotonic()) > 0:
        for line in typed.lines(min(LOOK_S, left)):
            kind, values = re.fullmatch(r"([^\s=]*)[\s=]*(.*)", line).groups()  # type: ignore[union-attr]  # fits any line
            try:
                emulated.fault(kind, fields_of(values, kind))
            except InputError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
        if emulated.port != port:
            port = emulated.port
            link.point(port)
            tell(config.json, {"port": port, "link": config.link})


class Typed:
    """Lines of standard input, when it can be read without stopping this process."""

    def __init__(self) -> None:
        self.hears, self._begun = True, b""
        try:
            if os.isatty(0):  # a background job that reads its terminal is stopped by it
                self.hears = os.tcgetpgrp(0) == os.getpgrp()
        except OSError:
            self.hears = False

    def lines(self, seconds: float) -> list[str]:
        """What was typed within the time."""
        ready, _, _ = select.select([0] if self.hears else [], [], [], seconds)
        if not ready:
            return []
        try:
            data = os.read(0, LONGEST_LINE)
        except OSError:
            data = b""
        self.hears = bool(data)
        *whole, self._begun = (self._begun + data).split(b"\n")
        self._begun = self._begun[-LONGEST_LINE:]
        return [line for raw in whole if (line := raw.decode("utf-8", "replace").strip())]


class Link:
    """A symbolic link that always leads to the port. Nothing that is there already is touched, but for a link of an
    emulator that has gone: one to a pseudo-terminal that is no more."""

    def __init__(self, path: str | None) -> None:
        self.path = None if path is None else Path(path)
        self.target = ""

    def point(self, port: str) -> None:
        """Errors: InputError when something else has the name."""
        if self.path is None:
            return
        try:
            if os.path.lexists(self.path):
                self._check_old(self.path)
                aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
                aside.symlink_to(port)
                aside.rename(self.path)
            else:
                self.path.symlink_to(port)
        except OSError as error:
            raise InputError(f"no link can be made: {error.strerror}", where=str(self.path)) from None
        self.target = port

    def _check_old(self, path: Path) -> None:
        leads = str(path.readlink()) if path.is_symlink() else ""
        ours = leads == self.target and bool(leads)
        stale = leads.startswith("/dev/pts/") and not Path(leads).exists()
        if not (ours or stale):
            raise InputError("is there already", where=str(path), todo="remove it, or give --link another name")

    def remove(self) -> None:
        """Take the link away, if it still is ours."""
        if (
            self.path is not None
            and self.target
            and self.path.is_symlink()
            and str(self.path.readlink()) == self.target
        ):
            self.path.unlink()


def write_new(path: Path, text: str) -> None:
    """A calibration file. Errors: InputError when a file of other content is there."""
    if not text:
        raise InputError("the emulated device has no calibration", where="calibration")
    if path.exists():
        if not path.is_file() or path.read_bytes() != text.encode():
            raise InputError("holds something else", where=str(path), todo="give --calibration another name")
        return
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with aside.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def tell(as_json: bool, said: dict[str, object]) -> None:
    """One line, at once: another program may wait for it."""
    if as_json:
        print(json.dumps({key: value for key, value in said.items() if value is not None}), flush=True)
        return
    device = f"{said['device']} at " if "device" in said else "back at "
    link = f", also {said['link']}" if said.get("link") else ""
    calibration = f", calibration {said['calibration']}" if said.get("calibration") else ""
    print(f"{device}{said['port']}{link}{calibration}", flush=True)
