"""The wheel from a clean tree, installed into empty environments of every supported Python: small, whole, and enough.

What is not on the machine (a Python, the bundle's makers) is said. Sizes are printed, with `-rP` or on failure.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
DEPLOY_LIMIT_MB = 220


def python_of(version: str) -> str | None:
    """An interpreter of that version on this machine."""
    if sys.version.startswith(version + "."):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found and works(found):
        return found
    roots = [Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"]
    known = sorted(p for root in roots if root.is_dir() for p in root.glob(f"{version}.*/bin/python"))
    return str(known[-1]) if known else None


def works(python: str) -> bool:
    return subprocess.run([python, "-c", "pass"], capture_output=True).returncode == 0


def run(*words: object, **more: object) -> subprocess.CompletedProcess:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=600, **more)
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="session")
def clean_tree(tmp_path_factory) -> Path:
    """The tracked files alone: what a stranger gets."""
    place = tmp_path_factory.mktemp("tree")
    names = run("git", "ls-files", "-z", cwd=CHECKOUT).stdout.split("\0")
    for name in filter(None, names):
        target = place / name
        if (CHECKOUT / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target)
    return place


@pytest.fixture(scope="session")
def builds() -> dict[str, Path]:
    """version -> environment. A parametrised fixture of the session would be made anew whenever the order of the tests
    changes the version."""
    return {}


@pytest.fixture(params=VERSIONS)
def installed(request, builds, clean_tree, tmp_path_factory) -> tuple[str, Path]:
    """(version, environment with rl-toolkit[deploy] from a wheel built by that Python)."""
    python = python_of(request.param)
    if python is None:
        pytest.skip(f"there is no python{request.param} on this machine")
    if request.param not in builds:
        builds[request.param] = install(python, clean_tree, tmp_path_factory.mktemp(f"py{request.param}"))
    return request.param, builds[request.param]


def install(python: str, tree: Path, place: Path) -> Path:
    run(python, "-m", "venv", place / "env")
    pip = (place / "env" / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
    constraints = ("-c", CHECKOUT / "constraints.txt")
    # The core's machine code is tested elsewhere: only this interpreter's wheel is built as a user's, the others fast.
    fast = {
        "SKBUILD_CMAKE_BUILD_TYPE": "Debug",
        "SKBUILD_CMAKE_ARGS": "-DCMAKE_CXX_FLAGS_DEBUG=-O0;-DCMAKE_UNITY_BUILD=ON",
    }
    build = {**os.environ, **({} if python == sys.executable else fast)}
    run(*pip, "wheel", "-q", "--no-deps", *constraints, "-w", place / "wheel", tree, env=build)
    (wheel,) = (place / "wheel").glob("rl_toolkit-*.whl")
    run(*pip, "install", "-q", *constraints, f"{wheel}[deploy]")
    return place / "env"


def rl(env: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return run(env / "bin" / "rl", *words, cwd=cwd, env=kept)


def test_the_wheel_works_in_an_empty_environment(installed, tmp_path):
    _, env = installed
    assert "train" in rl(env, "--help", cwd=tmp_path).stdout
    assert "chunk_size" in rl(env, "train", "--policy", "act", "--help", cwd=tmp_path).stdout
    listed = rl(env, "plugins", cwd=tmp_path).stdout
    assert {"act", "so101", "lerobot", "onnx"} <= set(listed.replace(",", " ").split())
    code = "import rl._core; from importlib.resources import files; (files('rl.configs') / 'demo.yaml').read_text()"
    run(env / "bin" / "python", "-c", code, cwd=tmp_path)


def test_the_emulated_arm_moves_with_the_deploy_install_alone(installed, tmp_path):
    _, env = installed
    words = ("--robot", "so101", "--robot.port", "sim", "--teleop", "so101-leader", "--teleop.port", "sim")
    assert "p50" in rl(env, "teleop", *words, "--duration", "1", cwd=tmp_path).stdout


def test_a_missing_extra_is_one_line_with_the_command(installed, tmp_path):
    _, env = installed
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    words = ["train", "--policy", "act", "--dataset", str(tmp_path)]  # said before the data set is looked at
    done = subprocess.run([env / "bin" / "rl", *words], capture_output=True, text=True, env=kept, cwd=tmp_path)
    assert done.returncode == 3
    assert "rl-toolkit[" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_deploy_install_stays_small(installed, record_property):
    version, env = installed
    (packages,) = env.glob("lib/python*/site-packages")
    tools = [d for d in packages.iterdir() if d.name.split("-")[0] in ("pip", "setuptools", "pkg_resources")]
    size = (bytes_in(env) - sum(map(bytes_in, tools))) / 1e6
    record_property(f"deploy_install_mb_python_{version}", round(size, 1))
    assert size <= DEPLOY_LIMIT_MB


def bytes_in(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
