"""Configuration files: YAML (JSON is YAML) in, YAML with the source of each value out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.api.errors import InputError

LARGEST = 4 << 20  # bytes; a configuration is never larger


def read_tree(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file. Errors: InputError naming the file (and line)."""
    import yaml

    if not path.is_file():
        raise InputError(f"there is no configuration file {path}")
    if path.stat().st_size > LARGEST:
        raise InputError("larger than any configuration", where=str(path))
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise InputError(f"not readable as YAML{line}", where=str(path)) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError("holds no mapping of options", where=str(path))
    return found


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a.b": 1} of {"a": {"b": 1}}; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def write_tree(tree: Mapping[str, Any], sources: Mapping[str, str], head: str = "") -> str:
    """YAML text of a tree; behind each value that is no default stands where it came from."""
    import yaml

    lines = [f"# {line}" for line in head.splitlines()]

    def emit(level: Mapping[str, Any], depth: int, prefix: str) -> None:
        for key, value in level.items():
            name, pad = f"{prefix}{key}", "  " * depth
            label = yaml.safe_dump(str(key), default_flow_style=True).splitlines()[0]
            if isinstance(value, Mapping) and value:
                lines.append(f"{pad}{label}:")
                emit(value, depth + 1, name + ".")
                continue
            text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).splitlines()[0]
            source = sources.get(name, "default")
            lines.append(f"{pad}{label}: {text}" + ("" if source == "default" else f"  # {source}"))

    emit(tree, 0, "")
    return "\n".join(lines) + "\n"
