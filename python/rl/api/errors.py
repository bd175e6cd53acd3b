"""The three ways to fail, each with its exit code. A message is one line: where, what is wrong, what to do."""


class RlError(Exception):
    """The work failed (exit code 1)."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        super().__init__(": ".join(filter(None, (where, what))) + (f"; {todo}" if todo else ""))

    def __reduce__(self) -> tuple[object, ...]:  # crosses process borders (data workers) whole
        return (_rebuild, (type(self), self.what, self.where, self.todo))


def _rebuild(cls: type[RlError], what: str, where: str, todo: str) -> RlError:
    return cls(what, where=where, todo=todo)


def cause_of(error: BaseException) -> str:
    """Any exception as one line: its type and its text."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class InputError(RlError):
    """The request or its data cannot be used (exit code 2)."""

    exit_code = 2


class MissingPart(RlError):
    """A package, a file of the machine or a device is not there (exit code 3)."""

    exit_code = 3
