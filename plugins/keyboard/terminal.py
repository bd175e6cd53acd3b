"""A terminal that gives its keys one by one, and is as it was before at every end. Works over ssh."""

import atexit
import os
import select
from contextlib import suppress
from typing import Any

from rl.api import InputError, MissingPart, RlError

READ = 256  # bytes at once; a pasted novel is no motion


class Terminal:
    """`open` ... `wait` ... `close`. Only `wake` may be called from another thread meanwhile."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._before: list[Any] | None = None
        self._bell = (-1, -1)  # a pipe that ends a wait

    def open(self) -> None:
        """Errors: MissingPart without such a terminal, InputError for what is none or is another job's."""
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            todo = "run it in a terminal (ssh -t), or use another teleoperator"
            raise MissingPart(f"{error.strerror}", where=f"keyboard: {self.path}", todo=todo) from None
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        import termios

        if not os.isatty(self._descriptor):
            raise InputError("this is no terminal", where=f"keyboard: {self.path}", todo="give --teleop.port /dev/tty")
        if self.path == "/dev/tty" and os.tcgetpgrp(self._descriptor) != os.getpgrp():
            raise InputError("the command runs in the background", where="keyboard", todo="run it in the foreground")
        self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        before = termios.tcgetattr(self._descriptor)
        changed = [*before[:6], list(before[6])]
        changed[0] &= ~termios.IXON  # Ctrl-S would hold this program's output, and with it the session, for good
        changed[3] &= ~(termios.ICANON | termios.ECHO)
        changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
        # Ctrl-C keeps its meaning. A key that suspends this program or kills it with a dump would leave the arm alone.
        for key in (termios.VSUSP, termios.VQUIT):
            changed[6][key] = b"\0"
        self._before = before
        atexit.register(self.close)
        termios.tcsetattr(self._descriptor, termios.TCSANOW, changed)
        termios.tcflush(self._descriptor, termios.TCIFLUSH)  # what was typed before was meant for somebody else

    def wait(self, seconds: float) -> bytes:
        """What was typed, b'' when nothing was within `seconds`. Errors: RlError once the terminal is gone."""
        try:
            ready = select.select([self._descriptor, self._bell[0]], [], [], seconds)[0]
            if self._bell[0] in ready:
                os.read(self._bell[0], READ)
            if self._descriptor not in ready:
                return b""
            typed = os.read(self._descriptor, READ)
        except OSError as error:
            raise RlError(f"the terminal is gone: {error.strerror}", where="keyboard") from None
        if not typed:
            raise RlError("the terminal is gone", where="keyboard")
        return typed

    def wake(self) -> None:
        """Ends a wait."""
        if self._bell[1] >= 0:
            os.write(self._bell[1], b"!")

    def close(self) -> None:
        """Gives the terminal back as it was; may be called twice."""
        atexit.unregister(self.close)
        before, self._before = self._before, None
        try:
            if before is not None:
                import termios

                with suppress(termios.error):  # gone: nobody needs it as it was
                    termios.tcsetattr(self._descriptor, termios.TCSANOW, before)  # at once: it never waits for output
                    termios.tcflush(self._descriptor, termios.TCIFLUSH)  # keys held at the end are no words of a shell
        finally:
            for descriptor in (self._descriptor, *self._bell):
                if descriptor >= 0:
                    os.close(descriptor)
            self._descriptor, self._bell = -1, (-1, -1)
