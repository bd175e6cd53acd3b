"""Every file in configs/ is a whole, valid configuration of the command that its folder names."""

from pathlib import Path

import pytest

from rl.cli.commands import spec_of
from rl.config.command_line import resolve
from rl.registry import registry

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TRAIN = sorted((CONFIGS / "train").glob("*.yaml"))
ROBOTS = sorted((CONFIGS / "robots").glob("*.yaml"))


@pytest.mark.parametrize("path", TRAIN, ids=lambda p: p.stem)
def test_a_training_file_resolves(path):
    found = resolve(spec_of("train"), ["--config", str(path), "--dataset", "somewhere"], registry())
    assert found.config.policy is not None
    assert set(found.sources.values()) == {path.name, "option"}


@pytest.mark.parametrize("path", ROBOTS, ids=lambda p: p.stem)
def test_a_robot_file_resolves(path):
    found = resolve(spec_of("teleop"), ["--config", str(path)], registry())
    assert found.config.robot is not None


def test_the_demo_file_resolves():
    assert resolve(spec_of("demo"), ["--config", str(CONFIGS / "demo.yaml")], registry()).config is not None


def test_configs_travel_with_the_package():
    from importlib.resources import files

    assert (files("rl.configs") / "demo.yaml").is_file()
