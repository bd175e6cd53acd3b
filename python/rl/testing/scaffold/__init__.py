"""New plugin distributions, complete: they install, are listed, work on pretended hardware and pass the kit."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path

from rl.api.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 40
ENDINGS = {
    "policy": "Policy",
    "robot": "Robot",
    "teleoperator": "Leader",
    "camera": "Camera",
    "format": "Format",
    "environment": "Environment",
}


def write_distribution(name: str, kind: str, output: str | Path = ".", taken: Collection[str] = ()) -> Path:
    """Writes the folder `output`/rl-NAME and returns it. Nothing is left behind when it fails.

    name: what people will type. taken: names of this kind that installed plugins have. Errors: InputError for a name
    that is none or is taken, for a folder that is there already, and for an output folder that cannot be written.
    """
    words = placeholders(name, kind)
    if name in taken:
        raise InputError(f"there is a {kind} '{name}' already", where="rl plugins new", todo="choose another name")
    parent = Path(output)
    folder = parent / words["DIST"]
    if os.path.lexists(folder):
        raise InputError("is there already", where=str(folder), todo="choose another name, or --output DIR")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{words['DIST']}.", dir=parent))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(parent)) from None
    try:
        for path, text in files_of(kind, words).items():
            target = aside / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        aside.chmod(0o755)
        aside.rename(folder)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(folder)) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def placeholders(name: str, kind: str) -> dict[str, str]:
    """What the templates' @WORDS@ become. InputError when `name` cannot be a plugin's name."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        usable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:LONGEST].strip("-")
        todo = "use lower case letters, digits and dashes" + (f", e.g. {usable}" if usable else "")
        raise InputError(f"'{name[:80]}' cannot be a plugin's name", where="rl plugins new", todo=todo)
    short = name.removeprefix("rl-") or name
    camel = "".join(part.capitalize() for part in name.split("-"))
    ending = ENDINGS[kind]
    return {
        "NAME": name,
        "DIST": f"rl-{short}",
        "MODULE": f"rl_{short.replace('-', '_')}",
        "SNAKE": name.replace("-", "_"),
        "CONFIG": f"{camel}Config",
        "CLASS": camel if camel.endswith(ending) else camel + ending,
    }


def files_of(kind: str, words: Mapping[str, str]) -> dict[str, str]:
    """Path below the distribution's folder -> text, for one kind."""
    root = resources.files(__name__) / "templates"
    found = {}
    for item in (root, root / kind):
        for entry in item.iterdir():
            if not entry.name.endswith(".txt"):
                continue
            place = PLACES.get(entry.name, f"src/@MODULE@/{entry.name}").removesuffix(".txt")
            text = entry.read_text(encoding="utf-8")
            found[_filled(place, words)] = _filled(text, words)
    return dict(sorted(found.items()))


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda found: words[found[1]], text)


PLACES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
    "test_conformance.py.txt": "tests/test_conformance.py",
}

__all__ = ["ENDINGS", "files_of", "placeholders", "write_distribution"]
