"""What a checkpoint knows beside its weights: `rl.json`. Standard library only."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl.api import Features, InputError
from rl.config import build, plain
from rl.process.files import read_json, write_json

FILE = "rl.json"


@dataclass(frozen=True, kw_only=True)
class About:
    """Where a policy comes from and what its numbers mean. LeRobot does not read it; it travels with the weights."""

    fps: float | None = None  # rate of the data, Hz
    units: tuple[str, ...] = ()  # of each action element; () or "unstated" when nothing says it
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    robot: str = ""  # robot type of the data set
    camera_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # image feature -> (H, W) as recorded
    statistics_sha256: str = ""
    dataset: dict[str, Any] = field(default_factory=dict)  # name, episodes, frames
    tasks: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)  # package -> version
    calibration: str = ""  # fingerprint of the calibration the data was recorded with
    policy_options: dict[str, Any] = field(default_factory=dict)  # options that config.json must not hold


def read_about(folder: Path) -> About:
    """The checkpoint's `rl.json`; the defaults when there is none. Errors: InputError naming file and key."""
    path = folder / FILE
    if not path.exists():
        return About()
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError("is no map", where=str(path))
    about: About = build(About, content, where=str(path))
    return about


def write_about(folder: Path, about: About) -> None:
    """Into an existing folder, synced."""
    write_json(folder / FILE, plain(about))


def described(features: Features, about: About) -> dict[str, Any]:
    """`features` with the names and units that `about` knows; a length that does not fit is left alone."""
    out = dict(features)
    for name, feature in features.items():
        names = {"state": about.state_names, "action": about.action_names}.get(feature.kind, ())
        fits = len(feature.shape) == 1
        if names and fits and len(names) == feature.shape[0]:
            out[name] = dataclasses.replace(out[name], names=names)
        if about.units and feature.kind in ("state", "action") and fits and len(about.units) == feature.shape[0]:
            out[name] = dataclasses.replace(out[name], unit=about.units)
    return out
