"""One value: from what a person or a YAML file wrote to what the field's type says."""

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.api.errors import InputError
from rl.config.docs import Doc
from rl.config.nearest import nearest
from rl.config.types import is_optional, members, readable, split

NONE = {"null", "none", "~", ""}
TRUE = {"true", "yes", "on", "1"}
FALSE = {"false", "no", "off", "0"}


def coerce(value: Any, annotation: Any, documented: Doc, where: str) -> Any:
    """`value` as the annotation wants it. Errors: InputError naming the option, the value and what is wanted."""
    try:
        result = _convert(value, annotation)
    except ValueError as error:
        hint = str(error)
        wanted = readable(annotation)
        raise InputError(
            f"{_shown(value)} is not {_article(wanted)}" + (f" ({hint})" if hint else ""), where=where
        ) from None
    misfit = documented.misfit(result)
    if misfit:
        raise InputError(misfit, where=where)
    return result


def is_truth_value(text: str) -> bool:
    """Whether a word may follow a bare flag as its value."""
    return text.lower() in TRUE | FALSE


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)


def _article(wanted: str) -> str:
    if "|" in wanted or wanted.startswith(("text", "list", "map")):
        return wanted
    return f"{'an' if wanted[0] in 'aeio' else 'a'} {wanted}"


def _convert(value: Any, annotation: Any) -> Any:
    annotation = split(annotation)[0]
    if annotation is Any:
        return _yaml(value) if isinstance(value, str) else value
    if value is None or (isinstance(value, str) and value.lower() in NONE and str not in members(annotation)):
        if is_optional(annotation):
            return None
        raise ValueError
    if isinstance(value, str) and value.lower() in NONE - {""} and is_optional(annotation):
        return None
    choices = [m for m in members(annotation) if m is not type(None)]
    reasons = []
    for member in sorted(choices, key=lambda m: m is str):  # text last: it takes anything
        try:
            return _one(value, member)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(next(filter(None, reasons), ""))


def _one(value: Any, wanted: Any) -> Any:
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Literal:
        return _literal(value, args)
    if origin in (tuple, list):
        return _sequence(value, origin, args)
    if origin is dict or (origin is not None and issubclass(origin, Mapping)):
        return _mapping(value, args)
    converters = {bool: _bool, int: _int, float: _float, str: _text, Path: _path}
    if wanted in converters:
        return converters[wanted](value)
    if isinstance(wanted, types.GenericAlias) or not isinstance(wanted, type):
        raise TypeError(f"rl.config does not know the type {wanted}")
    raise ValueError


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ValueError


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = _float(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError
        return int(value)
    if not isinstance(value, int):
        raise ValueError
    return value


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    try:
        number = float(value)
    except ValueError:
        raise ValueError from None
    if number != number:
        raise ValueError("NaN is refused everywhere")
    return number


def _text(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        raise ValueError
    return value if isinstance(value, str) else str(value)


def _path(value: Any) -> Path:
    return Path(_text(value)).expanduser()


def _literal(value: Any, known: tuple[Any, ...]) -> Any:
    for one in known:
        if str(one).lower() == str(value).lower():
            return one
    hint = nearest(str(value), map(str, known))
    raise ValueError(hint if hint.startswith("did you mean") else "")  # the list of values is in the message already


def _sequence(value: Any, kind: Any, args: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        text = value.strip()
        value = _yaml("[" + text.strip("[]()") + "]") if text[:1] in ("[", "(") or "," in text else [text]
    if not isinstance(value, (list, tuple)):
        value = [value]
    if kind is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise ValueError(f"{len(args)} values are wanted")
        return tuple(_convert(v, a) for v, a in zip(value, args, strict=True))
    items = [_convert(v, args[0]) if args else v for v in value]
    return tuple(items) if kind is tuple else items


def _mapping(value: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    if isinstance(value, str):
        value = _yaml(value)
    if not isinstance(value, Mapping):
        raise ValueError
    return {str(k): _convert(v, args[1]) if args else v for k, v in value.items()}


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError("not readable as a value") from None
