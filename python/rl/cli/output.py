"""Standard output of work that must not end because its reader did."""

from __future__ import annotations

import os
import sys
from typing import Any


class Patient:
    """Standard output that goes on into nowhere once its reader (head, less) has gone: a training is not a pipe's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            return self._detach(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._detach("")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _detach(self, text: str) -> int:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        return len(text)


def outlive_reader() -> None:
    """Let standard output be patient from now on. May be called twice."""
    if not isinstance(sys.stdout, Patient):
        sys.stdout = Patient(sys.stdout)
