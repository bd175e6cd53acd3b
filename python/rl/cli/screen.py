"""The terminal as the screen of set-up and calibration: a step, its numbers while it lasts, findings."""

from __future__ import annotations

import select
import sys
import termios
from collections.abc import Sequence

from rl.api.errors import InputError
from rl.api.protocols import Mark

WORDS: dict[Mark, str] = {"note": "  ", "pass": "pass", "warn": "WARN", "fail": "FAIL"}


class TerminalScreen:
    """One sentence a step; Enter goes on, Ctrl-C ends. Numbers are redrawn in place, or printed once when piped."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._drawn = 0
        self._rows: Sequence[str] = ()
        self._steps = 0
        self.failed = 0

    def ask(self, step: str, sentence: str) -> None:
        self._step(sentence)
        if not sys.stdin.readline():  # closed meanwhile
            raise InputError("nobody is there to answer", where=step, todo="run it in a terminal")

    def begin(self, step: str, sentence: str) -> None:
        self._step(sentence)

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
        print(f"{WORDS[mark]:4} {what}" + (f"; {todo}" if todo else ""), flush=True)

    def _step(self, sentence: str) -> None:
        self._settle()
        if not sys.stdin.isatty():
            todo = "run it in a terminal; port sim needs nobody"
            raise InputError("this asks a person and there is no terminal", where=sentence, todo=todo)
        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # an Enter of before answers nothing
        self._steps += 1
        print(f"\n{self._steps}. {sentence}", flush=True)

    def _settle(self) -> None:
        """What is shown stays; what is printed next stands below it."""
        if not self._live:
            for row in self._rows:
                print(row)
        self._drawn, self._rows = 0, ()
