"""Single keys from the terminal while a session runs: space is the e-stop; none where stdin is no terminal."""

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MEANINGS = {"n": "next", "r": "again", "q": "quit", "\x1b[C": "next", "\x1b[D": "again", "\x1b": "quit"}
MEANINGS |= {"\n": "resume", "\r": "resume"}
ESTOP = b" "
HOW = "space: E-STOP"
MOST = 64  # bytes at once, and words that nobody has taken


class Keys:
    """with Keys(estop) as keys: keys.take("next", "again") -> one of them or ''.

    A thread of its own reads them, so that an e-stop waits for nobody.
    """

    def __init__(self, estop: Callable[[], None] = lambda: None, stream: Any = None) -> None:
        self.estop, self.stream = estop, sys.stdin if stream is None else stream
        self._before: Any = None
        self._said: deque[str] = deque(maxlen=MOST)
        self._bell = (-1, -1)  # a pipe that ends a wait
        self._thread: threading.Thread | None = None

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
        except ImportError:  # no terminals on this system
            return
        try:
            if self.stream is None or not self.stream.isatty() or self._in_background():
                return
            before = termios.tcgetattr(self.stream)
            if not before[3] & termios.ICANON:  # somebody reads its keys already: a keyboard teleoperator
                return
            tty.setcbreak(self.stream)
            termios.tcflush(self.stream, termios.TCIFLUSH)  # what was typed before was meant for somebody else
        except (termios.error, OSError, ValueError):  # no terminal here
            return
        self._before, self._bell = before, os.pipe()
        self._thread = threading.Thread(target=self._listen, name="rl-keys", daemon=True)
        self._thread.start()

    def take(self, *wanted: str) -> str:
        """The newest of these meanings that was said since they were last taken."""
        found = ""
        for word in [self._said.popleft() for _ in range(len(self._said))]:
            if word in wanted:
                found = word
            else:
                self._said.append(word)
        return found

    def close(self) -> None:
        """Gives the terminal back as it was; may be called twice."""
        before, self._before = self._before, None
        if before is None:
            return
        import termios

        os.write(self._bell[1], b"!")
        if self._thread is not None:
            self._thread.join()
        for descriptor in self._bell:
            os.close(descriptor)
        with suppress(termios.error, OSError, ValueError):  # gone: nobody needs it as it was
            termios.tcsetattr(self.stream, termios.TCSANOW, before)
            termios.tcflush(self.stream, termios.TCIFLUSH)  # keys held at the end are no words of a shell

    def _in_background(self) -> bool:
        """A job in the background is stopped by the system when it touches its terminal."""
        try:
            return os.tcgetpgrp(self.stream.fileno()) != os.getpgrp()
        except OSError:  # not the terminal that this job belongs to
            return False

    def _listen(self) -> None:
        while True:
            try:
                ready = select.select([self.stream, self._bell[0]], [], [])[0]
                typed = b"" if self._bell[0] in ready else os.read(self.stream.fileno(), MOST)
            except (OSError, ValueError):  # the terminal is gone; SIGHUP says so to the session
                return
            if not typed:
                return
            if ESTOP in typed:
                self.estop()
            text = typed.decode(errors="ignore")
            said = MEANINGS.get(text, MEANINGS.get(text[-1:].lower(), ""))
            if said:
                self._said.append(said)
