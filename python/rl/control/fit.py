"""Whether a policy fits a robot: elements, units, cameras, calibration. What differs is said with both lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rl.api.errors import InputError
from rl.api.features import Feature, Features
from rl.control.cameras import PREFIX, role_of

SAME = {"deg": "degrees", "range_0_100": "percent", "%": "percent", "normalized": "range_m100_100"}
UNSTATED = ("unstated", "none", "")


@dataclass(frozen=True)
class Wanted:
    """What a policy (or a recording) says of the robot that it was made with."""

    inputs: Features
    outputs: Features
    robot: str = ""
    fingerprint: str = ""  # of the calibration; '' when not known

    @property
    def action(self) -> Feature:
        return next(f for f in self.outputs.values() if f.kind == "action")

    @property
    def cameras(self) -> list[Feature]:
        return [f for f in self.inputs.values() if f.kind == "image"]


def unit(name: str) -> str:
    """One spelling for each unit."""
    return SAME.get(name, name)


def elements(feature: Feature) -> str:
    """'[shoulder_pan.pos, ...] in degrees x5, percent'."""
    names = ", ".join(feature.names) if feature.names else f"{feature.shape[0]} unnamed"
    runs: list[list[str]] = []
    for one in map(unit, feature.units):
        if runs and runs[-1][0] == one:
            runs[-1].append(one)
        else:
            runs.append([one])
    return f"[{names}] in " + ", ".join(run[0] + (f" x{len(run)}" if len(run) > 1 else "") for run in runs)


def stated(wanted: Wanted) -> bool:
    """Whether every unit of state and action is said."""
    vectors = [wanted.action, *(f for f in wanted.inputs.values() if f.kind == "state")]
    return not any(one in UNSTATED for feature in vectors for one in feature.units)


def with_units(wanted: Wanted, units: str, robot: Feature) -> Wanted:
    """The same with unstated units filled in: the gripper's as the robot has it, the rest as said."""

    def filled(feature: Feature) -> Feature:
        if feature.kind not in ("state", "action") or len(feature.units) != len(robot.units):
            return feature
        pairs = zip(feature.units, robot.units, strict=True)
        return replace(
            feature, unit=tuple((own if own == "percent" else units) if u in UNSTATED else u for u, own in pairs)
        )

    return replace(
        wanted,
        inputs={name: filled(f) for name, f in wanted.inputs.items()},
        outputs={name: filled(f) for name, f in wanted.outputs.items()},
    )


def settle_units(
    wanted: Wanted, robot: Feature, given: str | None, *, simulated: bool, what: str
) -> tuple[Wanted, str]:
    """Units for what states none, and a warning ('' when there is none to give).

    On hardware they must be given; the emulated arm takes degrees, with a warning. Errors: InputError.
    """
    if stated(wanted):
        return wanted, ""
    if given is None and not simulated:
        raise InputError(
            f"{what} does not say in which unit its joints are", todo="--units degrees, or --units range_m100_100"
        )
    warning = "" if given else f"warning: {what} does not say its units; degrees are assumed on the emulated arm"
    return with_units(wanted, given or "degrees", robot), warning


def misfits(wanted: Wanted, state: Feature, action: Feature, cameras: Features, rename: Mapping[str, str]) -> list[str]:
    """Everything that does not fit, each with both sides. rename: camera of the robot -> the policy's."""
    found = []
    if not _same(wanted.action, action):
        found.append(f"the policy's actions are {elements(wanted.action)}, the robot's are {elements(action)}")
    for feature in wanted.inputs.values():
        if feature.kind == "state" and not _same(feature, state):
            found.append(f"the policy's state is {elements(feature)}, the robot's is {elements(state)}")
        elif feature.kind not in ("state", "image", "language"):
            found.append(f"the policy needs {feature.name} ({feature.kind}), which a robot does not give")
    offered = {rename.get(name, name): feature for name, feature in cameras.items()}
    needed = {feature.name: feature for feature in wanted.cameras}
    lacking = [name for name in needed if name not in offered]
    if lacking:
        have = ", ".join(role_of(name) for name in offered) or "none"
        want = ", ".join(f"{role_of(n)} {_size(f)}" for n, f in needed.items())
        found.append(f"the policy's cameras are {want}, the robot's are {have}")
    both = sorted(name for name in needed.keys() & offered.keys() if needed[name].shape != offered[name].shape)
    found += [f"camera {role_of(n)} gives {_size(offered[n])}, the policy wants {_size(needed[n])}" for n in both]
    return found


def missing_cameras(wanted: Wanted, cameras: Features, rename: Mapping[str, str]) -> list[Feature]:
    """Cameras that the policy needs and nobody gives."""
    offered = {rename.get(name, name) for name in cameras}
    return [feature for feature in wanted.cameras if feature.name not in offered]


def full_names(rename: Mapping[str, str]) -> dict[str, str]:
    """A map between camera roles as one between feature names."""
    return {_full(a): _full(b) for a, b in rename.items()}


def check_calibration(wanted: Wanted, fingerprint: str, *, simulated: bool, what: str = "the policy") -> str:
    """A warning to print, or ''. Errors: InputError when both calibrations are known and differ on hardware."""
    if not wanted.fingerprint:
        return f"warning: {what} does not say with which calibration it was made; the arm starts at v_soft"
    if wanted.fingerprint == fingerprint or not fingerprint:
        return ""
    if simulated:
        return f"note: {what} was made with calibration {wanted.fingerprint}, the emulated arm has {fingerprint}"
    raise InputError(
        f"{what} was made with calibration {wanted.fingerprint}, this arm has {fingerprint}",
        where="calibration",
        todo="use the arm and calibration file of the recording",
    )


def _same(a: Feature, b: Feature) -> bool:
    names = not a.names or not b.names or a.names == b.names
    return a.shape == b.shape and names and tuple(map(unit, a.units)) == tuple(map(unit, b.units))


def _size(feature: Feature) -> str:
    return "x".join(str(n) for n in feature.shape[:2]) + " (height x width)"


def _full(name: str) -> str:
    return name if name.startswith("observation.") else PREFIX + name
