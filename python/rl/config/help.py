"""The help of a command's tree: one line an option, grouped as the tree is."""

import dataclasses
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rl.config.build import plain
from rl.config.command_line import Alias, CommandSpec
from rl.config.types import Chooser, Field, fields_of, is_tree, mapping_value, readable, split, unwrap_optional


def help_text(spec: CommandSpec, words: Sequence[str], chooser: Chooser) -> str:
    """The options of `spec`, those of every chosen plugin included."""
    from rl.config.command_line import _Reader

    reader = _Reader(spec, chooser)
    reader._pick([w for w in words if w not in ("--help", "-h")])
    width = _width()
    usage = " ".join(f"[{p.upper()}]" if p not in spec.required else p.upper() for p in spec.positionals)
    lines = [f"Usage: rl {spec.name} {usage + ' ' if usage else ''}[--OPTION VALUE ...]", "", spec.summary, ""]
    for title, rows in _sections(spec.tree, "", reader.picked, chooser):
        lines.append(f"{title}:")
        for name, item in rows:
            lines += _row(name, item, width)
        lines.append("")
    lines += _row(
        "config", Field("config", str, _text("YAML file(s) of options; later ones and options win"), None, None), width
    )
    lines += _footer(spec, width)
    return "\n".join(lines)


def plugin_options(cls: type, kind: str, chooser: Chooser) -> Iterator[str]:
    """The lines of help of one plugin's own options, as they are written behind `--KIND`."""
    width = _width()
    for title, rows in _sections(cls, f"{kind}.", {}, chooser):
        yield f"{title}:" if rows else f"{title}: none"
        for name, item in rows:
            yield from _row(name, item, width)


def option_names(spec: CommandSpec, words: Sequence[str], chooser: Chooser) -> Iterator[tuple[str, str]]:
    """(--name, sentence) of every option: what shell completion offers."""
    from rl.config.command_line import _Reader

    reader = _Reader(spec, chooser)
    reader._pick(words)
    for _, rows in _sections(spec.tree, "", reader.picked, chooser):
        for name, item in rows:
            yield f"--{name}", item.doc.text
    yield "--config", "YAML file of options"
    yield "--help", "show the options"


def _width() -> int:
    """Columns to fill: those of the terminal, within what reads well."""
    columns = os.environ.get("COLUMNS", "")
    try:
        found = int(columns) if columns.isdigit() else os.get_terminal_size().columns
    except OSError:  # piped
        found = 100
    return max(60, min(140, found))


def _text(sentence: str) -> Any:
    from rl.config.docs import Doc

    return Doc(sentence)


def _sections(
    cls: type, prefix: str, picked: dict[str, str], chooser: Chooser
) -> Iterator[tuple[str, list[tuple[str, Field]]]]:
    own: list[tuple[str, Field]] = []
    below: list[tuple[str, list[tuple[str, Field]]]] = []
    for name, item in fields_of(cls).items():
        full = prefix + name
        if item.doc.hidden:
            continue
        if is_tree(item.type):
            below += _sections(unwrap_optional(item.type), f"{full}.", picked, chooser)
            continue
        own.append((full, item))
        places = [full] if item.choice else []
        element = mapping_value(item.type)
        choice = item.choice if element is None else split(element)[2]
        if element is not None and choice is not None:
            places = [p for p in picked if p.startswith(f"{full}.")]
        for place in places:
            if place in picked and choice is not None:
                kind = choice.kind
                plugin = chooser.config_class(kind, picked[place])
                below += [
                    (f"{title} ({kind} {chooser.canonical(kind, picked[place])})" if title == place else title, rows)
                    for title, rows in _sections(plugin, f"{place}.", picked, chooser)
                ]
    yield prefix.rstrip(".") or "options", own
    yield from below


def _row(name: str, item: Field, width: int) -> list[str]:
    kind = item.choice.kind.upper() if item.choice else readable(item.type)
    extra = "; ".join(filter(None, (item.doc.unit, item.doc.bounds())))
    default = "" if item.default is dataclasses.MISSING or item.choice else f" [{_shown(item.default)}]"
    head = f"  --{name} {kind}"
    body = (item.doc.text + (f" ({extra})" if extra else "") + default).strip()
    indent = 44
    if len(head) >= indent - 1:
        return [head, *textwrap.wrap(body, width, initial_indent=" " * indent, subsequent_indent=" " * indent)]
    wrapped = textwrap.wrap(body, width - indent) or [""]
    return [head.ljust(indent) + wrapped[0], *(" " * indent + line for line in wrapped[1:])]


def _shown(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return str(value)


def _footer(spec: CommandSpec, width: int) -> list[str]:
    names = sorted(name for name, alias in spec.aliases.items() if isinstance(alias, str))
    if not names:
        return [""]
    told = ", ".join(f"--{name} = --{spec.aliases[name]}" for name in names)
    return ["", *textwrap.wrap(f"Also accepted: {told}; and the rest of LeRobot's spellings.", width), ""]


__all__ = ["Alias", "help_text", "option_names", "plugin_options"]
