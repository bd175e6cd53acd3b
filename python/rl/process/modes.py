"""Normalisation modes and kinds of feature, in this toolkit's words and in LeRobot's. Standard library only."""

from collections.abc import Mapping

from rl.api.errors import InputError
from rl.config.nearest import nearest

#: mode -> the two statistics that it needs, as (low, high) or (mean, deviation)
MODES: Mapping[str, tuple[str, ...]] = {
    "identity": (),
    "mean_std": ("mean", "std"),
    "min_max": ("min", "max"),
    "quantiles": ("q01", "q99"),
    "quantile10": ("q10", "q90"),
}

#: LeRobot's feature type -> kind
KINDS: Mapping[str, str] = {
    "VISUAL": "image",
    "STATE": "state",
    "ENV": "environment_state",
    "ACTION": "action",
    "REWARD": "reward",
    "LANGUAGE": "language",
}
TYPES: Mapping[str, str] = {kind: word for word, kind in KINDS.items()}


def kind_of(word: str, where: str = "") -> str:
    """The kind that 'VISUAL', 'visual' or 'image' names. Errors: InputError for an unknown word."""
    if word.upper() in KINDS:
        return KINDS[word.upper()]
    if word.lower() in TYPES:
        return word.lower()
    raise InputError(f"there is no feature type '{word}'", where=where, todo=nearest(word.upper(), KINDS))


def mode_of(word: str, where: str = "") -> str:
    """The mode that 'MEAN_STD' or 'mean_std' names. Errors: InputError for an unknown word."""
    if str(word).lower() in MODES:
        return str(word).lower()
    raise InputError(f"there is no normalisation mode '{word}'", where=where, todo=nearest(str(word).lower(), MODES))


def modes_by_kind(mapping: Mapping[str, str], where: str = "") -> dict[str, str]:
    """{'STATE': 'MEAN_STD'} as {'state': 'mean_std'}; either spelling is read. A kind that is absent is identity."""
    return {kind_of(word, where): mode_of(mode, where) for word, mode in mapping.items()}


def lerobot_modes(modes: Mapping[str, str]) -> dict[str, str]:
    """{'state': 'mean_std'} as {'STATE': 'MEAN_STD'}, in LeRobot's order of types."""
    given = {TYPES.get(kind, kind.upper()): mode.upper() for kind, mode in modes.items()}
    return {word: given[word] for word in (*KINDS, *sorted(set(given) - set(KINDS))) if word in given}
