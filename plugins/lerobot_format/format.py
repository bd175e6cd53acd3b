"""The door to reader and writer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rl.api import Features
from rl.plugins.lerobot_format.config import LeRobotConfig

if TYPE_CHECKING:
    from rl.plugins.lerobot_format.reader import LeRobotReader
    from rl.plugins.lerobot_format.writer import LeRobotWriter


class LeRobotFormat:
    """LeRobotDataset v3.0 folders."""

    def __init__(self, config: LeRobotConfig | None = None) -> None:
        self.config = config or LeRobotConfig()

    def reader(self, root: Path) -> LeRobotReader:
        """InputError, naming file and rule, when the set cannot be read."""
        from rl.plugins.lerobot_format.reader import LeRobotReader

        return LeRobotReader(Path(root), self.config)

    def writer(self, root: Path, features: Features, fps: float) -> LeRobotWriter:
        """Creates the set or appends to it. InputError when features or rate differ from what is there."""
        from rl.plugins.lerobot_format.writer import LeRobotWriter

        return LeRobotWriter(Path(root), features, fps, self.config)
