"""The conformance kit for teleoperators: `check_teleoperator` in a test of the plugin's own distribution."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rl.testing import listing
from rl.testing.conformance import Violation, check_rules, refused, require, rule
from rl.testing.machines import MachineSubject, ended, made_quietly

EVENTS = {"intervene", "success", "rerecord", "stop", "e-stop"}


class TeleoperatorSubject(MachineSubject):
    @contextmanager
    def connected(self) -> Iterator[Any]:
        device = self.make()
        try:
            device.connect()
            yield device
        finally:
            device.close()


@rule("__init__ does no I/O, and its action is known before connecting", gate=True)
def is_made_quietly(subject: TeleoperatorSubject) -> None:
    device = made_quietly(subject, ("action",), "action")
    action = device.action
    named = len(action.shape) == 1 and len(action.names) == action.shape[0]
    require(named, "'action' names no element each", "names=('shoulder.pos', ...), as the robot's")
    require("none" not in action.units, "'action' has no units", 'unit="degrees", or one each')


@rule("reading before connecting is refused")
def needs_connecting(subject: TeleoperatorSubject) -> None:
    refused("read() before connect()", subject.make().read, todo="raise InputError('not connected', ...)")


@rule("connected, it reads intents that fit its action, with honest times", gate=True)
def reads(subject: TeleoperatorSubject) -> None:
    import numpy as np

    with subject.connected() as device:
        before, last = subject.make().action, 0
        require(device.action == before, "its action changes as it connects", "features are of the config alone")
        for _ in range(5):
            intent = device.read()
            size = device.action.shape[0]
            require(
                np.shape(intent.values) == (size,), f"read().values has shape {np.shape(intent.values)}", f"({size},)"
            )
            require(bool(np.isfinite(intent.values).all()), "read().values are not finite")
            now = time.monotonic_ns()
            honest = last <= intent.captured <= now and now - intent.captured < 10_000_000_000
            require(honest, "read().captured goes back, or is no time of the monotonic clock", "time.monotonic_ns()")
            odd = set(intent.events) - EVENTS
            require(not odd, f"read().events holds {', '.join(sorted(odd))}", f"of {', '.join(sorted(EVENTS))}")
            last = intent.captured
            time.sleep(0.005)


@rule("it takes the robot's snapshot")
def follows(subject: TeleoperatorSubject) -> None:
    import numpy as np

    from rl.api.protocols import Snapshot

    with subject.connected() as device:
        size = device.action.shape[0]
        shot = Snapshot(np.zeros(size, np.float32), time.monotonic_ns(), np.zeros(size, np.float32))
        ended("follow(snapshot)", lambda: device.follow(shot))


@rule("one that asks for limits and an e-stop takes them, and forgets as often as it is told")
def attaches(subject: TeleoperatorSubject) -> None:
    import numpy as np

    from rl.api.protocols import Attaches, Axis, Snapshot

    with subject.connected() as device:
        asks = isinstance(device, Attaches)
        if not asks:
            return
        action, stops = device.action, list[float]()
        pairs = zip(action.names, action.units, strict=True)
        axes = [Axis(name, unit, -90.0, 90.0, 100.0, 1000.0) for name, unit in pairs]
        ended("attach(axes, estop)", lambda: device.attach(axes, lambda: stops.append(time.monotonic())))
        pose = np.linspace(-30.0, 30.0, len(axes)).astype(np.float32)
        for _ in range(3):
            ended("forget()", device.forget)
            shot = Snapshot(pose, time.monotonic_ns(), np.zeros(len(axes), np.float32))
            device.follow(shot)
            values = device.read().values
            require(bool(np.isfinite(values).all()), "read().values are not finite once it is attached")
        require(not stops, "it calls the e-stop though nobody asked for it")


@rule("close may be called twice and releases the port", gate=True)
def releases(subject: TeleoperatorSubject) -> None:
    device = subject.make()
    device.connect()
    ended("close()", device.close)
    ended("the second close()", device.close)
    try:
        with subject.connected() as again:
            again.read()
    except Exception as error:
        raise Violation(
            f"after close() it cannot be connected again: {error}", "close() gives every port back"
        ) from error
    if subject.unplug is None:
        return
    device = subject.make()
    device.connect()
    subject.unplug(device)
    ended("close() after the plug was pulled", device.close)


RULES = (*listing.RULES, is_made_quietly, needs_connecting, releases, reads, follows, attaches)


def subject(name: str, options: dict[str, Any]) -> TeleoperatorSubject:
    """The teleoperator on port 'sim' unless the options say another one."""
    return TeleoperatorSubject("teleoperator", name, options)


def check_teleoperator(name: str, *, unplug: Callable[[Any], None] | None = None, **options: Any) -> None:
    """Raises Violation, one line, for the first rule of the contract that the teleoperator breaks.

    options: its own; an option `port` is 'sim' unless given. unplug: pulls the plug of the connected, emulated device.
    """
    check_rules(TeleoperatorSubject("teleoperator", name, options, unplug), RULES)


__all__ = ["RULES", "TeleoperatorSubject", "check_teleoperator", "subject"]
