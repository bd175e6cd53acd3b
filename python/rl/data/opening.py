"""Finds which format a data set is in and opens it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from rl.api import InputError
from rl.api.protocols import DatasetFormat, DatasetReader
from rl.data.home import lerobot_home

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def open_dataset(
    root: str | Path, format: str | None = None, options: Mapping[str, Any] | None = None
) -> DatasetReader:
    """A reader of the data set at `root`, a folder or file, or the id of one in the local LeRobot cache.

    format: plugin name, found by looking when None. options: the format's own. Errors: InputError when the path is
    missing, is no data set of any installed format (they are listed), or cannot be read; MissingPart when the format
    needs a package that is not there.
    """
    path = locate(root)
    name = format or sniff(path)
    return dataset_format(name, options).reader(path)


def dataset_format(name: str, options: Mapping[str, Any] | None = None) -> DatasetFormat:
    """The installed format of that name, built with its `options`."""
    from rl.config import build
    from rl.registry import registry

    config = build(registry().config_class("format", name), dict(options or {}), where="dataset")
    return cast("DatasetFormat", registry().implementation("format", name)(config))


def locate(root: str | Path) -> Path:
    """The existing path meant by `root`. InputError when there is none."""
    path = Path(root).expanduser()
    if path.exists():
        return path
    places = [path]
    if isinstance(root, str) and _HUB_ID.fullmatch(root):
        places.append(lerobot_home() / root)
        if places[-1].exists():
            return places[-1]
    raise InputError(
        f"there is no data set at {' or '.join(str(p) for p in places)}",
        where="dataset",
        todo="give the folder with --dataset.root",
    )


def sniff(path: Path) -> str:
    """Name of the installed format that recognises `path`. InputError when none does, or several do."""
    from rl.registry import registry, resolve

    names = registry().names("format")
    found = [n for n in names if resolve(registry().get("format", n).sniff)(path)]  # type: ignore[attr-defined]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{path} could be {' or '.join(found)}", where="dataset", todo=f"say which: --dataset.format {found[0]}"
        )
    looked = "; ".join(f"{n} ({registry().get('format', n).summary})" for n in names) or "no format is installed"
    raise InputError(f"{path} is not a data set of a known format", where="dataset", todo=f"looked for: {looked}")
