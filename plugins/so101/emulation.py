"""The emulated arm on a port of its own, for other programs: what `rl emulate` runs."""

from collections.abc import Mapping
from typing import Any

from rl.api import InputError
from rl.plugins.so101 import calibration

RATE = "rate"  # the field that a value without a name means, unless it is another one:
FIRST = {"stall": "ms", "echo": "on"} | dict.fromkeys(
    ("mute", "unmute", "overload", "reboot", "twin", "baud", "model", "hand"), "id"
)
USUAL = {"overload": {"on": 1.0}, "echo": {"on": 1.0}}  # what is not said
EXAMPLES = {
    "late": "late rate=0.01 ms=30", "split": "split rate=0.01 ms=3", "twin": "twin id=3 of=4",
    "baud": "baud id=3 code=4", "model": "model id=3 number=1284",
}  # fmt: skip
HAND = "hand"  # no fault, but said in the same way: hand id=1 encoder=2000


def follower(moving: bool, profile: str, seed: int) -> "EmulatedArm":
    """Errors: InputError for a profile that there is not, or a follower that should move by itself."""
    return EmulatedArm("so101-follower", moving, profile, seed)


def leader(moving: bool, profile: str, seed: int) -> "EmulatedArm":
    """`moving`: it waves by itself. Errors: InputError for a profile that there is not."""
    return EmulatedArm("so101-leader", moving, profile, seed)


class EmulatedArm:
    """rl.api.protocols.Emulated."""

    def __init__(self, kind: str, moving: bool, profile: str, seed: int) -> None:
        from rl import _core

        with _Refusals():
            self._core: Any = _core.Emulator(kind, wave=moving, profile=profile, seed=seed)  # type: ignore[arg-type]

    @property
    def port(self) -> str:
        return str(self._core.port)

    def calibration(self) -> str:
        return calibration.text(calibration.of_core(self._core.calibration()))

    def fault(self, kind: str, fields: Mapping[str, float]) -> None:
        first = FIRST.get(kind, RATE)
        if "" in fields and first in fields:
            raise InputError(f"fault '{kind}': {first} is given twice", where="emulator")
        named = USUAL.get(kind, {}) | {(name or first): value for name, value in fields.items()}
        with _Refusals(EXAMPLES.get(kind, "")):
            if kind != HAND:
                self._core.fault(kind, **named)
            elif set(named) != {"id", "encoder"} or not named["id"].is_integer():
                raise InputError("hand needs a joint and a place", todo="hand id=1 encoder=2000")
            else:
                self._core.carry(int(named["id"]), named["encoder"])

    def goal_times(self) -> Any:
        """(n,) ns, monotonic: when goals had reached the servos, oldest first."""
        return self._core.goal_times()

    def statistics(self) -> Mapping[str, int]:
        return dict(self._core.statistics())

    def close(self) -> None:
        self._core.close()


class _Refusals:
    """What the core refuses is the person's input. example: of what would be taken."""

    def __init__(self, example: str = "") -> None:
        self.example = example

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError):
            what, _, todo = str(error).removeprefix("emulator: ").partition("; ")
            todo = todo or (f"e.g. {self.example}" if self.example else "")
            raise InputError(what, where="emulator", todo=todo) from None
