"""The SO-101 leader: an arm without torque that a person moves, on a bus of the core."""

from rl.api.protocols import Intent, Snapshot
from rl.plugins.so101.arm import Arm, OnArm, feature
from rl.plugins.so101.config import LeaderConfig


class So101Leader(OnArm):
    """Its pose is the follower's goal, in the same units."""

    def __init__(self, config: LeaderConfig) -> None:  # touches no hardware
        self.config = config
        self.action = feature("action", "action", config.units)
        self._arm = Arm(config, leader=True)

    def read(self) -> Intent:
        import numpy as np

        values, captured, _, _ = self._connected().read()
        return Intent(values.astype(np.float32), captured)

    def follow(self, snapshot: Snapshot) -> None:
        """The leader has no torque: it gives no feedback."""
