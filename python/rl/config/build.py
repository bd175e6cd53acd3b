"""Plain mappings to configuration dataclasses and back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.api.errors import InputError
from rl.config.nearest import nearest
from rl.config.types import (
    Choice,
    Chooser,
    Field,
    Selected,
    fields_of,
    is_optional,
    is_tree,
    mapping_value,
    split,
    unwrap_optional,
)
from rl.config.values import coerce


def build(cls: type, mapping: Mapping[str, Any], where: str = "", chooser: Chooser | None = None) -> Any:
    """An instance of the configuration dataclass `cls` from a plain mapping.

    Errors: InputError naming the option and, for an unknown one, the nearest known name.
    """
    known = fields_of(cls)
    for key in mapping:
        if key not in known:
            raise InputError(f"there is no option '{_join(where, key)}'", todo=nearest(key, known))
    values = {key: _value(value, known[key], _join(where, key), chooser) for key, value in mapping.items()}
    for name, item in known.items():
        if name not in values and is_tree(item.type) and item.required and not is_optional(item.type):
            values[name] = build(unwrap_optional(item.type), {}, _join(where, name), chooser)
        elif name not in values and item.required:
            raise InputError(f"--{_join(where, name)} is missing", todo=item.doc.text)
    try:
        return cls(**values)
    except InputError as error:
        raise type(error)(error.what, where=error.where or where, todo=error.todo) from None


def plain(instance: Any) -> Any:
    """The JSON-able mapping that `build` reads back."""
    if isinstance(instance, Selected):
        given = {"type": instance.name}
        if instance.path is not None:
            given["path"] = instance.path
        return given | plain(instance.config)
    if dataclasses.is_dataclass(instance) and not isinstance(instance, type):
        return {f.name: plain(getattr(instance, f.name)) for f in dataclasses.fields(instance) if f.init}
    if isinstance(instance, Mapping):
        return {str(k): plain(v) for k, v in instance.items()}
    if isinstance(instance, (tuple, list)):
        return [plain(v) for v in instance]
    if isinstance(instance, Path):
        return str(instance)
    return instance


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _value(value: Any, item: Field, where: str, chooser: Chooser | None) -> Any:
    if item.choice is not None:
        return None if value is None and is_optional(item.type) else _select(value, item.choice, where, chooser)
    if is_tree(item.type):
        if value is None and is_optional(item.type):
            return None
        if not isinstance(value, Mapping):
            raise InputError(f"{value!r} is not a group of options", where=where)
        return build(unwrap_optional(item.type), value, where, chooser)
    element = mapping_value(item.type)
    if element is not None and isinstance(value, Mapping):
        inner, documented, choice = split(element)
        entry = Field(item.name, inner, documented, choice, dataclasses.MISSING)
        return {str(k): _value(v, entry, _join(where, str(k)), chooser) for k, v in value.items()}
    return coerce(value, item.type, item.doc, where)


def _select(value: Any, choice: Choice, where: str, chooser: Chooser | None) -> Selected:
    if isinstance(value, Selected):
        return value
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, Mapping):
        raise InputError(f"{value!r} names no {choice.kind}", where=where)
    options = dict(value)
    name, path = options.pop("type", None), options.pop("path", None)
    if chooser is None:
        raise TypeError("a configuration with plugins needs a registry to be built")
    if name is None:
        raise InputError(f"--{where}.type is missing", todo=nearest("", chooser.names(choice.kind)))
    name = chooser.canonical(choice.kind, str(name))
    return Selected(choice.kind, name, build(chooser.config_class(choice.kind, name), options, where, chooser), path)
