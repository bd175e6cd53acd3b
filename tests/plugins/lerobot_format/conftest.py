"""A tiny recorded set and a copy of the reference's."""

import shutil
from pathlib import Path

import pytest

from rl.plugins.lerobot_format.writer import LeRobotWriter
from tests.plugins.lerobot_format.sets import FPS, LENGTHS, TASKS, features, record


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes; do not change it."""
    root = tmp_path_factory.mktemp("recorded") / "set"
    with LeRobotWriter(root, features(), FPS) as writer:
        for episode, (length, task) in enumerate(zip(LENGTHS, TASKS, strict=True)):
            record(writer, episode, length, task)
    return root


@pytest.fixture
def tiny(recorded: Path, tmp_path: Path) -> Path:
    """A copy of `recorded` to damage, without the writer's own folder."""
    shutil.copytree(recorded, tmp_path / "set", ignore=shutil.ignore_patterns(".rl"))
    return tmp_path / "set"


@pytest.fixture
def golden(shared: Path, tmp_path: Path) -> Path:
    """A copy of the reference's 111-row set, several episodes a file, to damage."""
    shutil.copytree(shared / "golden" / "dataset_v30" / "dataset", tmp_path / "golden")
    for path in (tmp_path / "golden").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (tmp_path / "golden").chmod(0o755)
    return tmp_path / "golden"
