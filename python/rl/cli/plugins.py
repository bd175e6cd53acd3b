"""`rl plugins`: what is installed, what one plugin offers, a new distribution, the conformance kit."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rl.api.errors import InputError
from rl.config import doc, nearest, plain
from rl.config.command_line import CommandSpec, resolve, wants_help
from rl.config.help import help_text, plugin_options
from rl.registry import KINDS, Registry, registry

if TYPE_CHECKING:
    from rl.api.specs import Spec
    from rl.registry import Source
    from rl.testing.conformance import Outcome

SLOW_MS = 20.0
Known = Literal["policy", "robot", "teleoperator", "camera", "format", "environment", "exporter", "runtime", "step"]
Scaffolded = Literal["policy", "robot", "format", "camera", "teleoperator", "environment"]


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    kind: Annotated[Known | None, doc("only this kind")] = None
    json: Annotated[bool, doc("print JSON")] = False


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    name: Annotated[str, doc("the plugin's name or alias")]
    kind: Annotated[Known | None, doc("only this kind, when several have the name")] = None


@dataclass(frozen=True, kw_only=True)
class NewOptions:
    name: Annotated[str, doc("the plugin's name: lower case, digits, dashes")]
    kind: Annotated[Scaffolded, doc("what it is")] = "policy"
    output: Annotated[str, doc("folder in which the distribution's folder is made")] = "."


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    name: Annotated[str, doc("the plugin's name or alias")]
    kind: Annotated[Known | None, doc("only this kind, when several have the name")] = None
    options: Annotated[dict[str, Any], doc("the plugin's own options: --options.port sim")] = field(
        default_factory=dict
    )


LIST = CommandSpec(
    "plugins",
    ListOptions,
    "Lists every plugin with its source and load time, what is broken and why, and names claimed twice.\n"
    "Further: rl plugins show NAME, rl plugins new NAME --kind KIND, rl plugins check NAME.",
)
SHOW = CommandSpec(
    "plugins show", ShowOptions, "Shows one plugin: what it is for, what it needs, its options.", ("name",), ("name",)
)
NEW = CommandSpec(
    "plugins new",
    NewOptions,
    "Writes a complete distribution: installable, with a plugin that works and a test that passes.",
    ("name",),
    ("name",),
    short={"-o": "output"},
)
CHECK = CommandSpec(
    "plugins check",
    CheckOptions,
    "Runs the conformance kit on an installed plugin. Robots and leaders are tried on port 'sim' unless told another.",
    ("name",),
    ("name",),
)


def main(words: Sequence[str]) -> int:
    """`rl plugins WORDS`. Returns the exit code; RlError for wrong words and for what is not there."""
    commands: dict[str, tuple[CommandSpec, Callable[[Any], int]]] = {
        "list": (LIST, list_plugins),
        "show": (SHOW, show_plugin),
        "new": (NEW, new_plugin),
        "check": (CHECK, check_plugin),
    }
    head = words[0] if words else ""
    if head and not head.startswith("-") and head not in commands:
        raise InputError(f"there is no command 'plugins {head}'", where="rl", todo=nearest(head, commands))
    spec, command = commands[head if head in commands else "list"]
    rest = words[1:] if head in commands else words
    if wants_help(rest):
        _say(help_text(spec, rest, Registry()))
        return 0
    resolved = resolve(spec, rest, Registry())  # no option of these commands is a plugin's: none is loaded for a typo
    return command(resolved.config)


def list_plugins(config: ListOptions) -> int:
    """Prints what is installed. Broken plugins and clashes are told, and are no failure of this command."""
    found = registry()
    rows = [row for row in found.all() if config.kind in (None, row[0])]
    if config.json:
        _say(json.dumps(_as_json(found, rows), indent=2))
        return 0
    _say("\n".join([*_listing(found, rows), *_troubles(found)]))
    return 0


def show_plugin(config: ShowOptions) -> int:
    """Prints everything that is known of one plugin without importing its implementation."""
    found = registry()
    for kind in kinds_of(found, config.name, config.kind):
        _say("\n".join(_portrait(found, kind, config.name)))
    return 0


def new_plugin(config: NewOptions) -> int:
    """Writes a new distribution. Errors: InputError for an unusable name and a folder that is there already."""
    from rl.testing.scaffold import write_distribution

    folder = write_distribution(config.name, config.kind, config.output, taken=registry().names(config.kind))
    _say(
        f"wrote {folder}\n\nnext:\n"
        f"  pip install -e {folder}\n"
        f"  rl plugins show {config.name}\n"
        f"  rl plugins check {config.name}\n"
        f"  pytest {folder}"
    )
    return 0


def check_plugin(config: CheckOptions) -> int:
    """Runs the conformance kit. Returns 1 when a rule is broken. Errors: MissingPart for a need that is not met."""
    from rl.testing import check_installed

    found, broken = registry(), 0
    for kind in kinds_of(found, config.name, config.kind):
        _say(f"{kind} {config.name}, {found.source(kind, config.name)}")
        for outcome in check_installed(kind, config.name, config.options):
            _say(_verdict(outcome))
            broken += outcome.verdict == "broken"
    _say(f"\n{broken} broken" if broken else "\nkeeps the contract")
    return 1 if broken else 0


def kinds_of(found: Registry, name: str, kind: str | None) -> list[str]:
    """The kinds that have a plugin of that name. InputError when there is none."""
    if kind is not None:
        found.get(kind, name)
        return [kind]
    kinds = [k for k in KINDS if (k, name) in found.claims]
    if not kinds:
        for source, cause in found.broken.items():
            if name in (source.entry_point, source.distribution.split()[0]):
                raise InputError(f"'{name}' failed to load: {cause}", where=str(source))
        todo = nearest(name, (n for _, n in found.claims))
        if found.broken:
            todo += f" ({len(found.broken)} plugins failed to load: see `rl plugins`)"
        raise InputError(f"there is no plugin '{name}'", todo=todo.strip())
    return kinds


# --- the list


def _listing(found: Registry, rows: Sequence[tuple[str, Spec, Source]]) -> Iterator[str]:
    cells = [(kind, spec.name, spec.summary, s.distribution, _time(found, s)) for kind, spec, s in rows]
    yield from _table(("kind", "name", "summary", "source", "loaded in"), cells, shrink=2)
    if not cells:
        yield "no plugin is installed"


def _time(found: Registry, source: Source) -> str:
    took = found.loaded.get(source)
    if took is None:
        return ""
    return f"{took:.1f} ms" + (" (slow)" if took > SLOW_MS else "")


def _clashes(found: Registry) -> list[tuple[str, str, list[Source]]]:
    return [(kind, name, [s for _, s in held]) for (kind, name), held in sorted(found.claims.items()) if len(held) > 1]


def _troubles(found: Registry) -> Iterator[str]:
    if found.broken:
        yield "\nbroken (the rest works without them):"
        yield from (f"  {source}: {cause}" for source, cause in found.broken.items())
    clashes = _clashes(found)
    if clashes:
        yield "\nclaimed twice (a command that asks for the name fails; uninstall one, or set RL_PLUGINS):"
        yield from (f"  {kind} '{name}': {' and '.join(map(str, sources))}" for kind, name, sources in clashes)


def _as_json(found: Registry, rows: Sequence[tuple[str, Spec, Source]]) -> dict[str, Any]:
    return {
        "plugins": [
            {
                "kind": kind,
                "name": spec.name,
                "summary": spec.summary,
                "aliases": list(spec.aliases),
                "distribution": source.distribution,
                "entry_point": source.entry_point,
                "loaded_ms": round(found.loaded.get(source, 0.0), 3),
            }
            for kind, spec, source in rows
        ],
        "broken": [
            {"distribution": s.distribution, "entry_point": s.entry_point, "cause": cause}
            for s, cause in found.broken.items()
        ],
        "clashes": [{"kind": k, "name": n, "sources": [str(s) for s in sources]} for k, n, sources in _clashes(found)],
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, shrink: int) -> Iterator[str]:
    """Aligned columns; the column `shrink` gives way when the terminal is narrow."""
    if not rows:
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    spare = shutil.get_terminal_size((160, 20)).columns - sum(widths) - 2 * (len(head) - 1)
    widths[shrink] = max(24, widths[shrink] + min(0, spare))
    for row in (head, *rows):
        cells = [text if len(text) <= w else text[: w - 3] + "..." for text, w in zip(row, widths, strict=True)]
        yield "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()


# --- one plugin


def _portrait(found: Registry, kind: str, name: str) -> Iterator[str]:
    spec, source = found.get(kind, name), found.source(kind, name)
    yield f"{kind} {spec.name}: {spec.summary}"
    for label, text in _facts(found, kind, spec, source):
        yield f"  {label:<10}{text}"
    cls = found.config_class(kind, name)
    presets = getattr(cls, "PRESETS", {})
    for preset, values in presets.items():
        told = ", ".join(f"{k}={plain(v)}" for k, v in values.items())
        yield f"  {'preset':<10}{preset}: {told}"
    yield ""
    yield from plugin_options(cls, {"teleoperator": "teleop"}.get(kind, kind), found)


def _facts(found: Registry, kind: str, spec: Spec, source: Source) -> Iterator[tuple[str, str]]:
    for label in ("paper", "suits", "joints", "drives", "tasks", "graph", "graphs", "writes"):
        value = getattr(spec, label, None)
        if value is None or value in ("", ()):
            continue
        yield label, _fact(label, value)
    for need in spec.needs:
        there = find_spec(need.module) is not None
        yield "needs", need.module + (" (installed)" if there else f' (missing: pip install "{need.install}")')
    if spec.aliases:
        yield "aliases", ", ".join(spec.aliases)
    yield "target", spec.target
    yield "config", spec.config
    yield "source", f"{source}, loaded in {_time(found, source)}"


def _fact(label: str, value: Any) -> str:
    if label == "paper":
        return f"{value} (https://arxiv.org/abs/{value})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else ", ".join(value)


def _verdict(outcome: Outcome) -> str:
    mark = {"ok": "ok  ", "broken": "FAIL", "left out": "-   ", "not run": "-   "}[outcome.verdict]
    reason = (
        f"\n        {outcome.reason}"
        if outcome.verdict == "broken"
        else f" ({outcome.reason})"
        if outcome.reason
        else ""
    )
    return f"  {mark}  {outcome.sentence}{reason}"


def _say(text: str | Iterable[str]) -> None:
    sys.stdout.write((text if isinstance(text, str) else "\n".join(text)) + "\n")


__all__ = ["check_plugin", "list_plugins", "main", "new_plugin", "show_plugin"]
