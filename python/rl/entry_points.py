"""The entry points of one group, read from the metadata folders of installed distributions.

What `importlib.metadata.entry_points` does, at a fifth of its cost: that module brings in the e-mail parser and more
(0.03 CPU-s), and asking for help must stay cheap. Distributions inside zip files are
not looked for.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

FOLDER = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(-.*)?\.(dist|egg)-info|(?P<bare>.+)\.egg-info")


class EntryPoint(NamedTuple):
    """One line of a distribution's entry_points.txt."""

    name: str
    value: str  # "package.module" or "package.module:attribute"
    distribution: str  # "rl-toolkit 0.1.0"

    def load(self) -> Any:
        """Import the module and give the attribute, or the module when none is named."""
        from importlib import import_module

        module, _, attribute = self.value.partition("[")[0].strip().partition(":")
        found: Any = import_module(module.strip())
        for part in filter(None, attribute.strip().split(".")):
            found = getattr(found, part)
        return found


def entry_points(group: str, path: Sequence[str] | None = None) -> list[EntryPoint]:
    """Every entry point of `group`; a distribution that is on the path twice counts once, the first."""
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for place in sys.path if path is None else path:
        for folder, name in _distributions(place or "."):
            key = re.sub(r"[-_.]+", "-", name).lower()
            if key in seen:
                continue
            seen.add(key)
            lines = list(_section(os.path.join(folder, "entry_points.txt"), group))
            if lines:
                label = _label(folder, name)
                found += [EntryPoint(entry, value, label) for entry, value in lines]
    return found


def _distributions(place: str) -> Iterator[tuple[str, str]]:
    """(metadata folder, name as the folder spells it) of the distributions in one path entry."""
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.name.endswith("-info"))
    except OSError:
        return
    for name in names:
        match = FOLDER.fullmatch(name)
        if match:
            yield os.path.join(place, name), match["name"] or match["bare"]


def _section(file: str, group: str) -> Iterator[tuple[str, str]]:
    """(name, value) lines below [group]."""
    try:
        with open(file, encoding="utf-8") as lines:
            inside = False
            for line in lines:
                text = line.strip()
                if text.startswith("["):
                    inside = text == f"[{group}]"
                elif inside and "=" in text and text[0] not in "#;":
                    name, _, value = text.partition("=")
                    yield name.strip(), value.strip()
    except (OSError, UnicodeDecodeError):
        return


def _label(folder: str, name: str) -> str:
    """'name version' as the distribution's own metadata spell them."""
    known = {"name": name, "version": "unknown"}
    for file in ("METADATA", "PKG-INFO"):
        try:
            with open(os.path.join(folder, file), encoding="utf-8") as lines:
                for line in lines:
                    key, colon, value = line.partition(":")
                    if not colon:
                        break  # the header ends with an empty line
                    if key.lower() in known:
                        known[key.lower()] = value.strip()
                break
        except (OSError, UnicodeDecodeError):
            continue
    return f"{known['name']} {known['version']}"
