"""A stranger's distribution, installed beside rl: it is listed, checked, trained, exported and deployed."""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("hatchling", reason="hatchling, which builds the sample distribution, is not installed")
pytest.importorskip("pip", reason="pip, which installs the sample distribution, is not installed")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory, checkout):
    """A fresh environment with rl-flow-lab 0.3.0, installed by pip from its own wheel, without network.

    rl and its extras come from the environment that runs the tests; only the stranger is new.
    """
    place = tmp_path_factory.mktemp("stranger")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "env"], check=True)
    (packages,) = (place / "env").glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({path!r})" for path in sys.path if path.endswith("site-packages")]
    (packages / "beside.pth").write_text("\n".join(lines) + "\n")
    shutil.copytree(checkout / "tests" / "fixtures" / "rl-flow-lab", place / "source")
    pip = [sys.executable, "-m", "pip", "--python", place / "env" / "bin" / "python", "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", place / "source"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def rl(stranger):
    """rl(*words) runs the program where the stranger is installed, and gives its output."""

    def run(*words, code=0, timeout=300):
        done = subprocess.run(
            [stranger / "env" / "bin" / "python", "-m", "rl.cli.main", *map(str, words)],
            cwd=stranger,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "160"},
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


@pytest.fixture
def still_arm(tmp_path):
    """A recording of an arm that hardly moves: even a policy of two steps then asks for poses nearby."""
    import numpy as np

    from rl.api import Feature
    from rl.registry import registry

    names = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    vector = {"shape": (6,), "names": tuple(f"{n}.pos" for n in names), "unit": ("degrees",) * 5 + ("percent",)}
    features = {
        "observation.state": Feature("observation.state", "state", **vector),
        "action": Feature("action", "action", **vector),
    }
    known = registry()
    made = known.implementation("format", "lerobot")(known.config_class("format", "lerobot")())
    writer = made.writer(tmp_path / "still", features, 25)
    rng = np.random.default_rng(0)
    pose = np.array([0, -55, 41, 29, -7, 15])
    for _ in range(2):
        writer.begin("stand still")
        for _ in range(20):
            row = (pose + 0.1 * rng.standard_normal(6)).astype(np.float32)
            writer.append({"observation.state": row, "action": row})
        writer.save()
    return tmp_path / "still"


def test_it_trains_and_is_exported_and_deploys(rl, stranger, still_arm):
    words = ["--policy.preset=debug", "--steps=2", "--batch_size=2", "--num_workers=0", "--device=cpu"]
    rl("train", "--policy", "lab-flow", "--dataset", still_arm, "--output_dir", "run", *words)
    assert (stranger / "run" / "checkpoints" / "last" / "pretrained_model" / "config.json").is_file()
    assert "lab-flow" in rl("info", "run")
    text = rl("export", "run/checkpoints/last", "--onnx", "-o", "bundle")
    assert (stranger / "bundle" / "manifest.json").is_file()
    assert "wrote bundle" in text
    arm = ("--robot", "so101", "--robot.port", "sim")
    rl("deploy", "bundle", *arm, "--dry-run")
    assert "p50" in rl("deploy", "bundle", *arm, "--duration", 1)
