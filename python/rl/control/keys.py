"""Single keys from the terminal while a session runs: n next, r again, q quit; none where stdin is no terminal."""

import select
import sys
from typing import Any

MEANINGS = {"n": "next", "r": "again", "q": "quit", "\x1b[C": "next", "\x1b[D": "again", "\x1b": "quit"}


class Keys:
    """with Keys() as keys: keys.pressed() -> "next", "again", "quit" or ''."""

    def __init__(self, stream: Any = None) -> None:
        self.stream = sys.stdin if stream is None else stream
        self._before: Any = None

    def __enter__(self) -> "Keys":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def live(self) -> bool:
        """Whether keys are read at all."""
        return self._before is not None

    def open(self) -> None:
        """Keys come one by one, without Enter; Ctrl-C keeps its meaning."""
        try:
            import termios
            import tty

            if self.stream is None or not self.stream.isatty():
                return
            before = termios.tcgetattr(self.stream)
            if not before[3] & termios.ICANON:  # somebody reads its keys already: a keyboard teleoperator
                return
            self._before = before
            tty.setcbreak(self.stream)
        except (ImportError, OSError, ValueError):  # no terminal here: recording goes by time alone
            self._before = None

    def pressed(self) -> str:
        """The meaning of the newest key, without waiting."""
        found = ""
        while self.live and select.select([self.stream], [], [], 0)[0]:
            import os

            typed = os.read(self.stream.fileno(), 8).decode(errors="ignore")
            if not typed:
                break
            found = MEANINGS.get(typed, MEANINGS.get(typed[-1:].lower(), found))
        return found

    def close(self) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(self.stream, termios.TCSADRAIN, self._before)
            self._before = None
