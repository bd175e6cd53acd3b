"""The conformance kit for robots: `check_robot` in a test of the plugin's own distribution, on an emulated arm."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rl.testing import listing
from rl.testing.conformance import LeftOut, Violation, check_rules, refused, require, rule
from rl.testing.machines import MachineSubject, ended, made_quietly


class RobotSubject(MachineSubject):
    @contextmanager
    def connected(self) -> Iterator[Any]:
        """A connected robot that is stopped and closed behind the block, whatever happens in it."""
        robot = self.make()
        try:
            robot.connect()
            yield robot
        finally:
            _end(robot)


def _end(robot: Any) -> None:
    try:
        robot.stop("off")
    except Exception:  # noqa: BLE001  the rules about stopping tell of it; here the port must become free
        robot.close()
        return
    robot.close()


def _driven(robot: Any) -> set[int]:
    """The action's elements that the core moves."""
    size = robot.action.shape[0]
    return {i for part, _ in robot.core() for i in range(*part.indices(size))}


@rule("__init__ does no I/O, and features are known before connecting", gate=True)
def is_made_quietly(subject: RobotSubject) -> None:
    robot = made_quietly(subject, ("state", "action"), "action")
    require(robot.state.kind == "state", "'state' is not of kind state", "mend the Feature")
    for feature in (robot.state, robot.action):
        one_dimension = len(feature.shape) == 1 and len(feature.names) == feature.shape[0]
        require(one_dimension, f"'{feature.name}' names no element each", "names=('shoulder.pos', ...)")
        require("none" not in feature.units, f"'{feature.name}' has no units", 'unit="degrees", or one each')
    joints = subject.spec.joints
    same = not joints or len(joints) == robot.action.shape[0]
    require(same, f"the spec names {len(joints)} joints, the action has {robot.action.shape[0]} elements")


@rule("axes match the action")
def axes_match(subject: RobotSubject) -> None:
    robot = subject.make()
    axes, action = robot.axes, robot.action
    names = tuple(axis.name for axis in axes)
    require(names == tuple(action.names), f"axes are {names}, the action's names {action.names}", "one Axis an element")
    units = tuple(axis.unit for axis in axes)
    require(units == action.units, f"axes are in {units}, the action in {action.units}", "the same units")
    for axis in axes:
        bounded = math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low < axis.high
        require(bounded, f"axis '{axis.name}' goes from {axis.low} to {axis.high}", "low < high, both finite")
        moves = 0 < axis.max_speed < math.inf and 0 < axis.max_acceleration < math.inf
        require(moves, f"axis '{axis.name}' has no finite speed and acceleration", "max_speed, max_acceleration > 0")


@rule("a command before connecting is refused")
def needs_connecting(subject: RobotSubject) -> None:
    import numpy as np

    robot = subject.make()
    rest = np.array([(axis.low + axis.high) / 2 for axis in robot.axes], dtype=np.float32)
    todo = "raise InputError('not connected', ...)"
    refused("a command before connect()", lambda: robot.command(rest, time.monotonic_ns()), todo=todo)
    refused("a snapshot before connect()", robot.snapshot, todo=todo)


@rule("connected, it keeps its features, and its snapshot fits them", gate=True)
def snapshots(subject: RobotSubject) -> None:
    import numpy as np

    with subject.connected() as robot:
        before = subject.make()
        same = (robot.state, robot.action) == (before.state, before.action)
        require(same, "its features change as it connects", "features are of the config alone")
        begin = time.monotonic_ns()
        for _ in range(3):
            shot = robot.snapshot()
            size = robot.state.shape[0]
            require(
                np.shape(shot.values) == (size,), f"snapshot().values has shape {np.shape(shot.values)}", f"({size},)"
            )
            require(np.shape(shot.age) == (size,), f"snapshot().age has shape {np.shape(shot.age)}", "one s an element")
            require(bool(np.isfinite(shot.values).all()), "snapshot().values are not finite")
            require(bool((np.asarray(shot.age) >= 0).all()), "snapshot().age is negative")
            sane = begin - 10_000_000_000 < shot.captured <= time.monotonic_ns()
            require(
                sane, f"snapshot().captured {shot.captured} is no time of the monotonic clock", "time.monotonic_ns()"
            )


@rule("core() names buses with their own parts of the action")
def core_fits(subject: RobotSubject) -> None:
    with subject.connected() as robot:
        size = robot.action.shape[0]
        taken: set[int] = set()
        for part, bus in robot.core():
            elements = set(range(*part.indices(size)))
            good = part.stop is not None and part.stop <= size and elements and not elements & taken
            require(bool(good), f"core() has the part {part} of {size} elements", "parts inside the action, none twice")
            require(bus is not None, f"core() has no bus for {part}")
            taken |= elements


@rule("a command with a NaN is refused whole")
def refuses_nan(subject: RobotSubject) -> None:
    import numpy as np

    with subject.connected() as robot:
        if len(_driven(robot)) == robot.action.shape[0]:
            raise LeftOut("the core moves every axis, and refuses it there")
        before = np.array(robot.snapshot().values, copy=True)
        wrong = np.array([axis.low + 0.9 * (axis.high - axis.low) for axis in robot.axes], dtype=np.float32)
        for value in (np.nan, np.inf):
            wrong[-1] = value
            todo = "look at all values before anything is sent; raise InputError"
            refused(f"a command with {value}", lambda: robot.command(wrong, time.monotonic_ns()), todo=todo)
        time.sleep(0.1)
        moved = float(np.abs(np.asarray(robot.snapshot().values) - before).max())
        span = max(axis.high - axis.low for axis in robot.axes)
        require(
            moved < 0.01 * span, f"a refused command moved it by {moved:.3g}", "look at all values before any is sent"
        )


@rule("a command is limited, and what was sent is returned")
def returns_what_was_sent(subject: RobotSubject) -> None:
    import numpy as np

    with subject.connected() as robot:
        if len(_driven(robot)) == robot.action.shape[0]:
            raise LeftOut("the core moves every axis, and limits it there")
        far = np.array([axis.high + 10 * (axis.high - axis.low) for axis in robot.axes], dtype=np.float32)
        sent = np.asarray(robot.command(far, time.monotonic_ns()))
        require(sent.shape == far.shape, f"command() returns shape {sent.shape}", "what was sent, (A,)")
        over = [axis.name for axis, value in zip(robot.axes, sent, strict=True) if value > axis.high + 1e-4]
        require(
            not over, f"a command beyond the limits of {', '.join(over)} was sent", "clip to the axes' low and high"
        )


@rule("stop may be called twice, and after the plug was pulled")
def stops(subject: RobotSubject) -> None:
    for policy in ("hold", "rest", "off"):
        with subject.connected() as robot:
            ended(f"stop('{policy}')", lambda r=robot, p=policy: r.stop(p))  # type: ignore[misc]
            ended(f"the second stop('{policy}')", lambda r=robot, p=policy: r.stop(p))  # type: ignore[misc]
    if subject.unplug is None:
        return
    robot = subject.make()
    robot.connect()
    try:
        subject.unplug(robot)
        ended("stop('off') after the plug was pulled", lambda: robot.stop("off"), may_report=True)
    finally:
        ended("close() after the plug was pulled", robot.close)


@rule("close may be called twice and releases the port", gate=True)
def releases(subject: RobotSubject) -> None:
    robot = subject.make()
    robot.connect()
    robot.stop("off")
    robot.close()
    ended("the second close()", robot.close)
    try:
        with subject.connected() as again:
            again.snapshot()
    except Violation:
        raise
    except Exception as error:
        raise Violation(
            f"after close() it cannot be connected again: {error}", "close() gives every port back"
        ) from error


RULES = (
    *listing.RULES,
    is_made_quietly,
    axes_match,
    needs_connecting,
    releases,
    snapshots,
    core_fits,
    refuses_nan,
    returns_what_was_sent,
    stops,
)


def subject(name: str, options: dict[str, Any]) -> RobotSubject:
    """The robot on port 'sim' unless the options say another one."""
    return RobotSubject("robot", name, options)


def check_robot(name: str, *, unplug: Callable[[Any], None] | None = None, **options: Any) -> None:
    """Raises Violation, one line, for the first rule of the contract that the robot breaks.

    Give it an emulator or a fake: it is connected, stopped, and, where Python moves it, sent commands. options: its
    own; an option `port` is 'sim' unless given. unplug: a function of the connected robot that pulls the plug of its
    emulator; without it, that rule is tried with the plug in.
    """
    check_rules(RobotSubject("robot", name, options, unplug), RULES)


__all__ = ["RULES", "RobotSubject", "check_robot", "subject"]
