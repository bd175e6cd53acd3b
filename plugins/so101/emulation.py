"""The emulated arm on a port of its own, for other programs: what `rl emulate` runs."""

from collections.abc import Mapping
from typing import Any

from rl.api import InputError
from rl.plugins.so101 import calibration

MAIN = {  # the field that a value without a name means; otherwise the rate
    "mute": "id", "unmute": "id", "reboot": "id", "stall": "ms", "echo": "on",
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
        named = {(name or MAIN.get(kind, "rate")): value for name, value in fields.items()}
        with _Refusals():
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
    """What the core refuses is the person's input."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError):
            what, _, todo = str(error).removeprefix("emulator: ").partition("; ")
            raise InputError(what, where="emulator", todo=todo) from None
