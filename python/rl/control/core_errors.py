"""The core's errors as those of rl, with their exit codes: what is not there 3, what does not fit 2, the rest 1."""

from collections.abc import Iterator
from contextlib import contextmanager

from rl.api.errors import InputError, MissingPart, RlError
from rl.control.port_users import busy

KINDS: dict[str, type[RlError]] = {"absent": MissingPart, "permission": MissingPart, "motor-missing": MissingPart}
KINDS |= {"wrong-model": InputError, "calibration": InputError, "usage": InputError}


def told(error: Exception) -> RlError:
    """Of a `rl._core.CoreError`."""
    code = str(getattr(error, "code", ""))
    return busy(str(error)) if code == "busy" else KINDS.get(code, RlError)(str(error))


@contextmanager
def translated() -> Iterator[None]:
    """The core's errors inside are raised as those of rl."""
    from rl import _core

    try:
        yield
    except _core.CoreError as error:
        raise told(error) from None
