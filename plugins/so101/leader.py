"""The SO-101 leader: an arm without torque that a person moves, on a bus of the core."""

from typing import Any

from rl.api import RlError
from rl.api.protocols import Intent, Snapshot
from rl.plugins.so101.arm import Arm, feature
from rl.plugins.so101.config import LeaderConfig


class So101Leader:
    """Its pose is the follower's goal, in the same units."""

    def __init__(self, config: LeaderConfig) -> None:  # touches no hardware
        self.config = config
        self.action = feature("action", "action", config.units)
        self._arm = Arm(config, leader=True)

    @property
    def simulated(self) -> bool:
        return self._arm.simulated

    @property
    def emulator(self) -> Any:
        """The emulated leader of port sim, None otherwise or before `connect`."""
        return self._arm.emulator

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the connection."""
        return tuple(self._arm.notes)

    def connect(self) -> None:
        self._arm.connect()

    def core(self) -> list[tuple[slice, Any]]:
        return [(slice(0, 6), self._connected())]

    def read(self) -> Intent:
        import numpy as np

        values, captured, _, _ = self._connected().read()
        return Intent(values.astype(np.float32), captured)

    def follow(self, snapshot: Snapshot) -> None:
        """The leader has no torque: it gives no feedback."""

    def close(self) -> None:
        self._arm.close()

    def fingerprint(self) -> str:
        return self._arm.fingerprint()

    def _connected(self) -> Any:
        if self._arm.bus is None:
            raise RlError("not connected", where="so101-leader", todo="call connect first")
        return self._arm.bus
