"""What the numbers of an arm's joints mean, as far as a data set lets one say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rl.api import Feature, InputError
from rl.api.protocols import DatasetReader

UNSTATED = "unstated"
BODY_UNITS = ("degrees", "range_m100_100")
GRIPPER_UNIT = "percent"

_JOINTS = {"shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"}
_TYPES = ("so100", "so101", "so_follower", "so_leader", "koch", "lekiwi")
_TURN = 360.0  # degrees: beyond it the numbers are neither of the two
_NORMALISED = 100.0
_ROUNDING = 0.01  # a set in -100..100 may hold 100.0 plus the noise of float32

Source = Literal["option", "record", "ranges", "nothing"]


def decide_units(reader: DatasetReader, requested: str | None = None) -> tuple[str, ...] | str:
    """The unit of each action element, or "unstated".

    requested: "degrees" or "range_m100_100" decides for the body joints (grippers are percent). Else what a recorder
    of this toolkit noted; else, for arms of the SO family, a body joint beyond -100..100 proves degrees. Ranges within
    prove nothing. Errors: InputError for another request, or when the set has not one action feature.
    """
    return explain_units(reader, requested)[0]


def explain_units(reader: DatasetReader, requested: str | None = None) -> tuple[tuple[str, ...] | str, Source]:
    """The units and what decided them; see `decide_units`."""
    action = _action(reader)
    if requested is not None and requested != UNSTATED:
        if requested not in BODY_UNITS:
            raise InputError(
                f"'{requested}' is no unit of joints", where="dataset.units", todo="degrees or range_m100_100"
            )
        return _with_grippers(action, requested), "option"
    if UNSTATED not in action.units and "none" not in action.units:
        return action.units, "record"
    features = [f for f in reader.info.features.values() if f.kind in ("action", "state") and len(f.shape) == 1]
    if _is_so_arm(reader.info.robot, action) and any(_beyond(reader, f) for f in features):
        return _with_grippers(action, "degrees"), "ranges"
    return UNSTATED, "nothing"


def _action(reader: DatasetReader) -> Feature:
    actions = [f for f in reader.info.features.values() if f.kind == "action" and len(f.shape) == 1]
    exact = [f for f in actions if f.name == "action"]
    if len(exact or actions) != 1:
        raise InputError(f"has {len(actions)} action features, units need one", where="dataset")
    return (exact or actions)[0]


def is_gripper(name: str) -> bool:
    """Whether an element is a gripper's: its unit is percent whatever the joints' is."""
    return "gripper" in name.lower()


def _with_grippers(action: Feature, body: str) -> tuple[str, ...]:
    names = action.names or tuple("" for _ in range(action.shape[0]))
    return tuple(GRIPPER_UNIT if is_gripper(n) else body for n in names)


def _is_so_arm(robot: str, action: Feature) -> bool:
    joints = {n.rpartition(".")[0] if n.endswith(".pos") else n for n in action.names}
    known = any(any(j == k or j.endswith(f"_{k}") for j in joints) for k in _JOINTS)
    return known and (not robot or any(t in robot.lower() for t in _TYPES))


def _beyond(reader: DatasetReader, feature: Feature) -> bool:
    """Whether a body joint was recorded outside what -100..100 can hold, and inside a turn."""
    low, high = _extremes(reader, feature.name)
    body = _body(feature.names, feature.shape[0])
    reach = np.maximum(np.abs(low), np.abs(high))[body]
    return bool(len(reach) and reach.max() > _NORMALISED + _ROUNDING and reach.max() <= _TURN)


def _body(names: Sequence[str], size: int) -> list[int]:
    return [i for i in range(size) if not (names and is_gripper(names[i]))]


def _extremes(reader: DatasetReader, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows themselves: stored statistics may be those of a larger set."""
    ranges = [np.arange(e.start, e.start + e.length) for e in reader.info.episodes if not e.refused]
    if not ranges:
        return np.zeros(1), np.zeros(1)
    values = reader.rows(np.concatenate(ranges), [name])[name].astype(np.float64)
    return np.nanmin(values, axis=0), np.nanmax(values, axis=0)
