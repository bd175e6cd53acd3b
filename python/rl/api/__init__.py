"""What a plugin imports to describe itself: specs, features, errors, the hook marker. Needs pluggy alone."""

import pluggy

from rl.api.errors import InputError, MissingPart, RlError
from rl.api.features import Feature, Features, Kind, Offsets
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

hookimpl = pluggy.HookimplMarker("rl")

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
