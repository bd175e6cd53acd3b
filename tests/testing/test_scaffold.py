"""`rl plugins new` writes distributions that install, are listed and pass their own conformance test."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rl.api import InputError
from rl.testing.scaffold import ENDINGS, placeholders, write_distribution

pytest.importorskip("hatchling", reason="hatchling, which builds the distributions, is not installed")


def built(folder: Path, place: Path) -> Path:
    """The distribution as an installer would lay it out: its wheel, built by its own backend, unpacked."""
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], cwd=folder, capture_output=True, text=True, check=True, timeout=120
    )
    target = place / "site"
    with zipfile.ZipFile(place / done.stdout.strip().splitlines()[-1]) as wheel:
        wheel.extractall(target)
    return target


@pytest.mark.parametrize("kind", sorted(ENDINGS))
def test_a_new_distribution_installs_and_passes_its_own_test(kind, tmp_path):
    folder = write_distribution(f"my-{kind}", kind, tmp_path / "work")
    site = built(folder, tmp_path)
    path = os.pathsep.join([str(site), *(p for p in sys.path if p)])
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(folder)]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("kind", sorted(ENDINGS))
def test_every_file_of_a_new_distribution_is_complete(kind, tmp_path):
    folder = write_distribution("thing", kind, tmp_path)
    texts = {p.relative_to(folder).as_posix(): p.read_text("utf-8") for p in folder.rglob("*") if p.is_file()}
    expected = {"pyproject.toml", "README.md", "src/rl_thing/__init__.py", "src/rl_thing/config.py"}
    assert expected | {"tests/test_conformance.py"} <= set(texts)
    assert [
        name for name, text in texts.items() if "@" in text.replace("@dataclass", "").replace("@hookimpl", "")
    ] == []
    for name, text in texts.items():
        if name.endswith(".py"):
            compile(text, name, "exec")


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/b", "/etc/x", "..", "", "My Policy", "x;y", "a--b", "-x", "x" * 60, "9lives", "a\nb", "ümlaut"],
)
def test_a_name_that_is_none_is_refused_and_writes_nothing(name, tmp_path):
    with pytest.raises(InputError, match="cannot be a plugin's name"):
        write_distribution(name, "policy", tmp_path / "here")
    assert list(tmp_path.iterdir()) == []


def test_a_usable_name_is_proposed():
    with pytest.raises(InputError, match=r"e\.g\. my-policy"):
        placeholders("My_Policy", "policy")


def test_a_folder_that_is_there_is_refused_and_kept(tmp_path):
    (tmp_path / "rl-thing").mkdir()
    (tmp_path / "rl-thing" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        write_distribution("thing", "robot", tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["rl-thing", "mine.txt"]


def test_a_name_that_an_installed_plugin_has_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is a policy 'act' already"):
        write_distribution("act", "policy", tmp_path, taken=["act"])


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left"):
        write_distribution("thing", "camera", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_distribution("thing", "camera", tmp_path / "file")


def test_the_names_are_those_of_the_kind():
    words = placeholders("rl-blue-arm", "robot")
    assert (words["DIST"], words["MODULE"], words["CLASS"]) == ("rl-blue-arm", "rl_blue_arm", "RlBlueArmRobot")
    assert placeholders("my-policy", "policy")["CLASS"] == "MyPolicy"
