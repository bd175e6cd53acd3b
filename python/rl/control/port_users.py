"""Who has a serial port open, for the one who cannot have it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rl.api import InputError, MissingPart, RlError

BUSY = " is in use by another program"
GUARDIAN = "rl-guardian"  # the name under which a guardian and its second hand run
PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process of this machine, as far as it may be seen."""

    number: int
    parent: int
    words: tuple[str, ...]  # its command line

    @property
    def name(self) -> str:
        """Program and, of `rl`, the command."""
        words = [Path(self.words[0]).name] if self.words else ["?"]
        if words[0].startswith("python") and len(self.words) > 1 and not self.words[1].startswith("-"):
            words = [Path(self.words[1]).name, *self.words[2:3]]
        elif words[0] == "rl":
            words += self.words[1:2]
        return " ".join(words)


def process(number: int) -> Process | None:
    """None when it has ended."""
    try:
        words = (PROC / str(number) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        parent = (PROC / str(number) / "stat").read_text().rpartition(")")[2].split()[1]
    except (OSError, IndexError):
        return None
    return Process(number, int(parent), tuple(word for word in words if word))


def users(port: str) -> list[Process]:
    """The processes that have it open; an emulator, which holds its other end too, is none of them."""
    device = os.path.realpath(port)
    found = []
    for folder in PROC.glob("[0-9]*/fd"):
        ends = set(_open_files(folder))
        if device in ends and not any(end.endswith("ptmx") for end in ends):
            found.append(process(int(folder.parent.name)))
    return [one for one in found if one is not None]


def _open_files(folder: Path) -> Iterator[str]:
    try:
        for entry in folder.iterdir():
            yield str(entry.readlink())
    except OSError:  # another user's, or it has ended
        return


def busy(said: str) -> RlError:
    """The core's word that a port is in use, with who uses it and what to do."""
    port = said.partition(BUSY)[0]
    found = users(port)
    if any(one.number == os.getpid() for one in found):
        return InputError(f"{port} is given twice", todo="each arm of a command has a port of its own")
    guards = [one for one in found if one.words and one.words[0] == GUARDIAN]
    if guards:
        return _guarded(port, guards[0])
    if found:
        return MissingPart(f"{port} is in use by process {found[0].number} ({found[0].name})", todo="end it first")
    return MissingPart(said)


def session_of(guard: Process) -> Process | None:
    """The session is the parent of the guardian's second hand, as long as it lives; None when it died."""
    over: Process | None = guard
    while over is not None and over.words and over.words[0] == GUARDIAN:
        over = process(over.parent)
    return None if over is None or over.number == 1 or over.name == "systemd" else over


def _guarded(port: str, guard: Process) -> RlError:
    over = session_of(guard)
    if over is None:
        what = f"{port} is in use by the guardian of a session that died (process {guard.number}); it lays the arm down"
        return MissingPart(what, todo="wait some seconds; do not kill it, it holds the arm")
    return MissingPart(f"{port} is in use by process {over.number} ({over.name})", todo="end it first, with Ctrl-C")
