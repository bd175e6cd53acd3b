"""Features as LeRobot's files spell them: {"type": "VISUAL", "shape": [3, H, W]}. Standard library only."""

import math
from collections.abc import Mapping
from typing import Any, cast

from rl.api import Feature, Features, InputError, Kind
from rl.process.modes import KINDS, TYPES

LARGEST = 1 << 26  # elements of one feature: a file must not make a network of any size it likes
_OWN_KINDS = {"done", "success", "index", "free"}  # kinds that LeRobot has no type for keep their own word


def read_features(mapping: Any, where: str = "") -> dict[str, Feature]:
    """Features by name, in the order of the file. Images become (H, W, 3) uint8.

    Errors: InputError naming the feature when its type or shape cannot be used.
    """
    if not isinstance(mapping, Mapping):
        raise InputError("features are not a map of name to type and shape", where=where)
    return {str(name): _feature(str(name), entry, where) for name, entry in mapping.items()}


def write_features(features: Features) -> dict[str, dict[str, Any]]:
    """The way back: images as [C, H, W]."""
    return {name: {"type": _type(feature), "shape": _file_shape(feature)} for name, feature in features.items()}


def _feature(name: str, entry: Any, where: str) -> Feature:
    kind_word = entry.get("type") if isinstance(entry, Mapping) else None
    if not isinstance(kind_word, str) or not isinstance(entry.get("shape"), (list, tuple)):
        raise InputError(f"feature '{name}' has no type and shape", where=where)
    kind = KINDS.get(kind_word.upper(), kind_word.lower())
    if kind not in TYPES and kind not in _OWN_KINDS:
        raise InputError(f"feature '{name}' has the unknown type '{kind_word}'", where=where)
    shape = tuple(entry["shape"])
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape) or math.prod(shape) > LARGEST:
        raise InputError(f"feature '{name}' has the impossible shape {list(entry['shape'])}", where=where)
    if kind != "image":
        return Feature(name, cast(Kind, kind), shape)
    if len(shape) != 3:
        raise InputError(f"image '{name}' has shape {list(shape)}, not [channels, height, width]", where=where)
    return Feature(name, "image", (*shape[1:], shape[0]), dtype="uint8")


def _type(feature: Feature) -> str:
    return TYPES.get(feature.kind, feature.kind.upper())


def _file_shape(feature: Feature) -> list[int]:
    return [feature.shape[-1], *feature.shape[:-1]] if feature.kind == "image" else list(feature.shape)
