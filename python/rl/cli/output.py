"""Standard output: patient with readers that leave, and for machines one JSON object and nothing else."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.control.session import Session


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


@contextmanager
def answering(command: str, *, json: bool) -> Iterator[dict[str, Any]]:
    """What is put into the dictionary is the command's answer to a machine, when `json`.

    Then it is printed at the end as one object, failures included (`error`), and all other text goes to stderr.
    """
    answer: dict[str, Any] = {"command": command}
    if not json:
        yield answer
        return
    out = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield answer
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        answer |= {"exit_code": 130 if interrupted else getattr(error, "exit_code", 1)}
        answer |= {"error": "interrupted" if interrupted else str(error)}
        raise
    finally:
        from json import dumps

        print(dumps(plain(answer), allow_nan=False), file=out, flush=True)


def plain(value: Any) -> Any:
    """Numbers, texts, lists and maps; what is no finite number becomes null."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def run_session(
    session: Session, answer: dict[str, Any], *, json: bool, extra: Callable[[], list[tuple[str, str]]] = list
) -> int:
    """Runs it and reports: the table for a person, the same as data for a machine; after failures too.

    extra: further rows of the table, known at the end.
    """
    from rl.control import report
    from rl.control.keys import Keys

    session.keys = Keys()
    try:
        session.run()
    finally:
        if session.outcome is not None:
            answer |= report.to_json(session.outcome)
            if not json:
                report.print_outcome(session.outcome, extra())
    assert session.outcome is not None
    return session.outcome.exit_code
