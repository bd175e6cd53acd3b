"""A stranger's distribution, installed beside rl: it is listed, checked, trained, exported and deployed."""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("hatchling", reason="hatchling, which builds the sample distribution, is not installed")
pytest.importorskip("pip", reason="pip, which installs the sample distribution, is not installed")
DATA = "so101-wrist-v30"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory, checkout):
    """Where rl-flow-lab 0.3.0 is installed, from its own wheel, by pip, without network."""
    place = tmp_path_factory.mktemp("stranger")
    shutil.copytree(checkout / "tests" / "fixtures" / "rl-flow-lab", place / "source")
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", place / "site"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, place / "source"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def rl(stranger):
    """rl(*words) runs the program where the stranger is installed, and gives its output."""
    path = os.pathsep.join([str(stranger / "site"), *(p for p in sys.path if p)])

    def run(*words, code=0, timeout=300):
        done = subprocess.run(
            [sys.executable, "-m", "rl.cli.main", *map(str, words)],
            cwd=stranger,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "160"},
        )
        assert done.returncode == code, done.stdout[-1500:] + done.stderr[-1500:]
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return run


def test_it_is_listed_with_its_distribution(rl):
    line = next(line for line in rl("plugins").splitlines() if "lab-flow" in line)
    assert "rl-flow-lab 0.3.0" in line


def test_its_options_are_in_the_help_of_training(rl):
    text = rl("train", "--policy", "lab-flow", "--help")
    assert "--policy.num_steps" in text
    assert "Euler steps from noise to actions" in text


def test_it_keeps_the_contract_by_name(rl):
    text = rl("plugins", "check", "lab-flow")
    assert "keeps the contract" in text
    assert "FAIL" not in text


def test_it_trains_and_is_exported_and_deploys(rl, stranger, shared):
    words = ["--policy.preset=debug", "--steps=2", "--batch_size=2", "--num_workers=0", "--device=cpu"]
    words += ["--open_loop_samples=4", "--dataset.image_size=32,48"]
    rl("train", "--policy", "lab-flow", "--dataset", shared / "data" / DATA, "--output_dir", "run", *words)
    assert (stranger / "run" / "checkpoints" / "last" / "pretrained_model" / "config.json").is_file()
    assert "lab-flow" in rl("info", "run")
    text = rl("export", "run/checkpoints/last", "--torchscript", "-o", "bundle")
    assert (stranger / "bundle" / "manifest.json").is_file()
    assert "wrote bundle" in text
    rl("deploy", "bundle", "--robot", "so101", "--robot.port", "sim", "--dry-run")
