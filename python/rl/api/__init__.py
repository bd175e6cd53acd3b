"""What a plugin imports to describe itself: specs, features, errors, the hook marker. Needs pluggy alone.

Names are loaded when they are first used: a command that only reports an error pays for `rl.api.errors`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.api.errors import InputError, MissingPart, RlError
    from rl.api.features import Feature, Features, Kind, Offsets
    from rl.api.marker import hookimpl
    from rl.api.specs import (
        API_VERSION,
        CameraSpec,
        EnvironmentSpec,
        ExporterSpec,
        FormatSpec,
        Need,
        PolicySpec,
        RobotSpec,
        RuntimeSpec,
        Spec,
        StepSpec,
        TeleoperatorSpec,
    )

__all__ = [
    "API_VERSION",
    "CameraSpec",
    "EnvironmentSpec",
    "ExporterSpec",
    "Feature",
    "Features",
    "FormatSpec",
    "InputError",
    "Kind",
    "MissingPart",
    "Need",
    "Offsets",
    "PolicySpec",
    "RlError",
    "RobotSpec",
    "RuntimeSpec",
    "Spec",
    "StepSpec",
    "TeleoperatorSpec",
    "hookimpl",
]

_HOMES = {
    "rl.api.errors": ("InputError", "MissingPart", "RlError"),
    "rl.api.features": ("Feature", "Features", "Kind", "Offsets"),
    "rl.api.marker": ("hookimpl",),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'rl.api' has no attribute '{name}'")
    home = next((module for module, names in _HOMES.items() if name in names), "rl.api.specs")
    value = globals()[name] = getattr(import_module(home), name)
    return value
