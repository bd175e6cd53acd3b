"""Rules that robots, teleoperators and cameras share: quiet constructors, ports that are released, honest times."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rl.api import Feature
from rl.api.errors import RlError
from rl.config.types import fields_of
from rl.testing.conformance import Subject, Violation, quiet_constructor, require, told

SLOWEST_STOP = 5.0  # s


class MachineSubject(Subject):
    """A device under test. Without options it is looked for on port 'sim': the kit must never move a real arm unasked.

    unplug: pulls the (emulated) plug of a connected device.
    """

    def __init__(
        self, kind: str, name: str, options: dict[str, Any], unplug: Callable[[Any], None] | None = None
    ) -> None:
        super().__init__(kind, name, options)
        self.unplug = unplug
        with suppress(Exception):  # the rules of the listing tell what is wrong with a config
            if "port" in fields_of(self.config_class):
                self.options.setdefault("port", "sim")

    def make(self) -> Any:
        return self.implementation(self.config())


def made_quietly(subject: MachineSubject, feature_names: tuple[str, ...], kind: str) -> Any:
    """The device; Violation when making it does I/O, or when its features are not known, or not the same twice."""
    first, second = quiet_constructor(subject.make), subject.make()
    for name in feature_names:
        feature = getattr(first, name, None)
        require(isinstance(feature, Feature), f"'{name}' is no Feature before it is connected", "set it in __init__")
        require(
            feature == getattr(second, name), f"'{name}' is another Feature in the next instance", "of the config alone"
        )
    require(
        getattr(first, feature_names[-1]).kind == kind,
        f"'{feature_names[-1]}' is not of kind {kind}",
        "mend the Feature",
    )
    return first


def ended(what: str, call: Callable[[], Any], *, may_report: bool = False) -> None:
    """`call` must return soon, without an exception; an RlError passes when `may_report`."""
    begin = time.monotonic()
    try:
        call()
    except RlError as error:
        if not may_report:
            raise Violation(f"{what}: {told(error)}") from error
    except Exception as error:
        raise Violation(f"{what}: {told(error)}", "errors are RlError, one line") from error
    took = time.monotonic() - begin
    require(took <= SLOWEST_STOP, f"{what} took {took:.1f} s", "bound every wait")


def soon(what: str, look: Callable[[], Any], seconds: float = 5.0) -> Any:
    """The first result of `look` that is not None."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = look()
        if found is not None:
            return found
        time.sleep(0.005)
    raise Violation(f"{what} did not come within {seconds:g} s")
