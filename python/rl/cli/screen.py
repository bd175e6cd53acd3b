"""The terminal as the screen of set-up and calibration: a step, its numbers while it lasts, findings."""

from __future__ import annotations

import os
import select
import sys
import termios
from collections.abc import Sequence

from rl.api.errors import InputError
from rl.api.protocols import Mark

WORDS: dict[Mark, str] = {"note": "  ", "pass": "pass", "warn": "WARN", "fail": "FAIL"}


class TerminalScreen:
    """One step a screen, with what the step before it found: one sentence; Enter goes on, Ctrl-C ends. Numbers are
    redrawn in place, or printed once when piped. held: whoever started the command said that the arm is held."""

    def __init__(self, *, held: bool = False) -> None:
        self._live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._held = held
        self._found: list[str] = []  # since the step began
        self._drawn = 0
        self._rows: Sequence[str] = ()
        self._steps = 0
        self.failed = 0

    def ask(self, step: str, sentence: str) -> None:
        if step == "hold" and self._held:
            self.result("note", f"{sentence} (--held true)")
            return
        self._step(step, sentence)
        if not sys.stdin.readline():  # closed meanwhile
            raise InputError("nobody is there to answer", where=step, todo="run it in a terminal")

    def begin(self, step: str, sentence: str) -> None:
        self._step(step, sentence)

    def answered(self) -> bool:
        ready, _, _ = select.select([sys.stdin], [], [], 0)
        if not ready:
            return False
        if not sys.stdin.readline():
            raise InputError("nobody is there to answer", todo="run it in a terminal")
        self._drawn += self._drawn > 0  # Enter moved the cursor down by a line
        return True

    def show(self, rows: Sequence[str]) -> None:
        self._rows = rows
        if not self._live:
            return
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        print(up + "".join(f"{row}\x1b[K\n" for row in rows), end="", flush=True)
        self._drawn = len(rows)

    def result(self, mark: Mark, what: str, todo: str = "") -> None:
        self._settle()
        self.failed += mark == "fail"
        line = f"{WORDS[mark]:4} {what}" + (f"; {todo}" if todo else "")
        self._found.append(line)
        print(line, flush=True)

    def _step(self, step: str, sentence: str) -> None:
        self._settle()
        if not sys.stdin.isatty():
            todo = "run it in a terminal (ssh -t)"
            if step == "hold":
                todo += ", or, with somebody holding the arm, add --held true"
            raise InputError("there is no terminal in which a person can be asked", where=step, todo=todo)
        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # an Enter of before answers nothing
        self._steps += 1
        if self._live and self._steps > 1:
            print("\x1b[2J\x1b[H" + "".join(f"{line}\n" for line in self._found), end="")
        self._found = []
        print(f"\n{self._steps}. {sentence}", flush=True)

    def _settle(self) -> None:
        """What is shown stays; what is printed next stands below it."""
        if not self._live:
            for row in self._rows:
                print(row)
        self._drawn, self._rows = 0, ()
