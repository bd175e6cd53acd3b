"""Where the files of a set are: templates expanded by own code, nothing outside the folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from rl.api import InputError

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

_FIELD = re.compile(r"\{([a-z_]+)(?::0(\d)d)?\}")
_LARGEST_NUMBER = 10**9  # chunk and file numbers


def check_template(template: Any, fields: tuple[str, ...], where: str) -> str:
    """`template` when it is relative, stays inside and uses only `fields`. InputError otherwise."""
    if not isinstance(template, str) or not 0 < len(template) <= 500:
        raise InputError(f"is {template!r:.60}, not a path template", where=where)
    for name, _ in _FIELD.findall(template):
        if name not in fields:
            raise InputError(f"uses the field '{name}'", where=where, todo=f"known fields are {', '.join(fields)}")
    literal = _FIELD.sub("0", template)
    if "{" in literal or "}" in literal:
        raise InputError(f"'{template:.80}' holds more than plain fields such as {{file_index:03d}}", where=where)
    parts = PurePosixPath(literal)
    if parts.is_absolute() or ".." in parts.parts or "\\" in literal or "\0" in literal or ":" in literal:
        raise InputError(f"'{template:.80}' leaves the folder of the set", where=where)
    return template


def expand(template: str, values: Mapping[str, int | str]) -> str:
    """`template`, checked before, with its fields filled in. InputError for a number that no file can have."""

    def fill(match: re.Match[str]) -> str:
        value = values[match[1]]
        if isinstance(value, str):
            return value
        if not 0 <= value <= _LARGEST_NUMBER:
            raise InputError(f"{match[1]} is {value}", where="meta/episodes")
        return format(value, f"0{match[2]}d" if match[2] else "d")

    return _FIELD.sub(fill, template)


def inside(root: Path, relative: str) -> Path:
    """root/relative. InputError when it, or a link on the way, leaves the folder."""
    path = root / relative
    try:
        stays = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a folder that may not be entered
        raise InputError("cannot be followed to a file", where=relative) from None
    if not stays:
        raise InputError("is a link that leaves the set", where=relative, todo="copy the file into the folder")
    return path


def files_below(root: Path, folder: str) -> list[str]:
    """Relative paths of folder/*/*.parquet, sorted as readers of the format do; names with a dot included."""
    top = root / folder
    if not top.is_dir():
        return []
    inside(root, folder)
    found = []
    for chunk in sorted(p for p in top.iterdir() if p.is_dir()):
        found += [str(p.relative_to(root)) for p in chunk.iterdir() if p.name.endswith(".parquet")]
    return sorted(found)


def read_json(root: Path, relative: str, *, largest: int, strict: bool) -> dict[str, Any]:
    """The object in a JSON file of at most `largest` bytes; strict: NaN and Infinity are refused.

    Errors: InputError naming the file when it is absent, too large, cut or no JSON object.
    """
    path = inside(root, relative)
    if not path.is_file():
        raise InputError("is missing", where=f"{root}/{relative}")

    def constant(text: str) -> float:
        if strict:
            raise ValueError(f"{text} is not JSON")
        return float(text)

    try:
        size = path.stat().st_size
        if size > largest:
            raise InputError(f"has {size} bytes, more than {largest}", where=f"{root}/{relative}")
        found = json.loads(path.read_text("utf-8"), parse_constant=constant)
    except (ValueError, RecursionError, OSError) as error:
        cause = " ".join(str(error).split())
        raise InputError(f"cannot be read as JSON ({cause:.120})", where=f"{root}/{relative}") from None
    if not isinstance(found, dict):
        raise InputError("does not hold a JSON object", where=f"{root}/{relative}")
    return found
