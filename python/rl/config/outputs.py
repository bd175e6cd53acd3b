"""Files that a command writes where it was told to."""

from pathlib import Path

from rl.api.errors import InputError


def new_file(given: str | Path, option: str) -> Path:
    """Where a command will write, known before it works. Errors: InputError when its folder is not there: a mistyped
    name makes no folders."""
    path = Path(given).expanduser()
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", where=option, todo="make it, or give another name")
    return path
