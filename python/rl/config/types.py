"""What a field's annotation means: its plain type, its documentation, and whether it selects a plugin."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from rl.config.docs import Doc


@dataclass(frozen=True)
class Selected:
    """A plugin that was chosen by name, with its options."""

    kind: str
    name: str
    config: Any
    path: str | None = None  # the artefact whose config was the base, e.g. a checkpoint to fine-tune


class Choice(NamedTuple):
    """Marks a field whose value names a plugin of this kind: `Annotated[Selected, Choice("policy")]`."""

    kind: str


class Chooser(Protocol):
    """How the tree finds plugins; `rl.registry.Registry` is one."""

    def names(self, kind: str) -> list[str]: ...
    def canonical(self, kind: str, name: str) -> str: ...
    def config_class(self, kind: str, name: str) -> type: ...


class Field(NamedTuple):  # a named tuple is made at a fraction of a dataclass's cost, and start-up has a budget
    name: str
    type: Any  # without Annotated
    doc: Doc
    choice: Choice | None
    default: Any  # dataclasses.MISSING when there is none

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


def split(annotation: Any) -> tuple[Any, Doc, Choice | None]:
    """An annotation as (plain type, documentation, choice)."""
    documented, choice = Doc(""), None
    if typing.get_origin(annotation) is typing.Annotated:
        plain, *extras = typing.get_args(annotation)
        for extra in extras:
            documented = extra if isinstance(extra, Doc) else documented
            choice = extra if isinstance(extra, Choice) else choice
        annotation = plain
    inner = unwrap_optional(annotation)
    if typing.get_origin(inner) is typing.Annotated:  # Annotated[Selected, ...] | None
        plain, *extras = typing.get_args(inner)
        choice = next((e for e in extras if isinstance(e, Choice)), choice)
        annotation = plain | None if inner is not annotation else plain
    return annotation, documented, choice


@lru_cache(maxsize=256)
def fields_of(cls: type) -> dict[str, Field]:
    """The options of a configuration dataclass, in order."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {}
    for item in dataclasses.fields(cls):
        if not item.init:
            continue
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        found[item.name] = Field(item.name, *split(hints[item.name]), default)
    return found


def members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; a lone type is its own member."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def unwrap_optional(annotation: Any) -> Any:
    """`X | None` as X; anything else as it is."""
    given = [m for m in members(annotation) if m is not type(None)]
    return given[0] if len(given) == 1 else annotation


def is_optional(annotation: Any) -> bool:
    return type(None) in members(annotation) or annotation is Any


def mapping_value(annotation: Any) -> Any | None:
    """The value type of a keyed map, None when the annotation is no map."""
    inner = unwrap_optional(split(annotation)[0])
    if typing.get_origin(inner) in (dict, typing.get_origin(typing.Mapping[str, int])):
        return typing.get_args(inner)[1]
    return None


def is_tree(annotation: Any) -> bool:
    """True for a nested configuration dataclass."""
    inner = unwrap_optional(annotation)
    return isinstance(inner, type) and dataclasses.is_dataclass(inner) and inner is not Selected


def accepts_bare(annotation: Any) -> bool:
    """True when the option may stand without a value (it then means true)."""
    return bool in members(annotation)


def readable(annotation: Any) -> str:
    """The type as help shows it."""
    if annotation is Any:
        return "value"
    parts = []
    for member in members(annotation):
        origin, args = typing.get_origin(member), typing.get_args(member)
        if member is type(None):
            parts.append("null")
        elif origin is typing.Literal:
            parts.append("|".join(str(a) for a in args))
        elif origin in (tuple, list):
            parts.append(f"list of {readable(split(args[0])[0])}" if args else "list")
        elif origin is dict:
            parts.append("map")
        else:
            parts.append({"str": "text", "bool": "true|false"}.get(member.__name__, member.__name__.lower()))
    return "|".join(parts)


def walk(cls: type, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Every option below `cls` with its dotted name, nested trees opened, choices and maps as they stand."""
    for name, item in fields_of(cls).items():
        if is_tree(item.type):
            yield from walk(unwrap_optional(item.type), f"{prefix}{name}.")
        else:
            yield prefix + name, item
