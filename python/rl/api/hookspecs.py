"""The door. A plugin module says `RL_API = 1` and implements any of these; each returns an iterable of specs."""

from collections.abc import Iterable

import pluggy

from rl.api.specs import (
    CameraSpec,
    EnvironmentSpec,
    ExporterSpec,
    FormatSpec,
    PolicySpec,
    RobotSpec,
    RuntimeSpec,
    StepSpec,
    TeleoperatorSpec,
)

hookspec = pluggy.HookspecMarker("rl")


@hookspec
def rl_policies() -> Iterable[PolicySpec]:  # type: ignore[empty-body]
    """Learned functions from an observation window to an action chunk."""


@hookspec
def rl_robots() -> Iterable[RobotSpec]:  # type: ignore[empty-body]
    """Machines that are moved by action vectors."""


@hookspec
def rl_teleoperators() -> Iterable[TeleoperatorSpec]:  # type: ignore[empty-body]
    """Devices by which a person moves a robot."""


@hookspec
def rl_cameras() -> Iterable[CameraSpec]:  # type: ignore[empty-body]
    """Sources of pictures."""


@hookspec
def rl_dataset_formats() -> Iterable[FormatSpec]:  # type: ignore[empty-body]
    """Readers, and perhaps writers, of one kind of data set."""


@hookspec
def rl_environments() -> Iterable[EnvironmentSpec]:  # type: ignore[empty-body]
    """Simulated scenes."""


@hookspec
def rl_exporters() -> Iterable[ExporterSpec]:  # type: ignore[empty-body]
    """Writers of graph files."""


@hookspec
def rl_runtimes() -> Iterable[RuntimeSpec]:  # type: ignore[empty-body]
    """Runners of graph files: arrays in, arrays out."""


@hookspec
def rl_processor_steps() -> Iterable[StepSpec]:  # type: ignore[empty-body]
    """Steps between data and policy."""
