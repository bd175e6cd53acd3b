"""Runs import-linter or mypy over the package as it is installed: python/rl with plugins/ as rl.plugins.

    python tests/guards/assembled.py lint-imports|mypy

In a checkout the two lie side by side, and an editable install joins them by an import hook that neither tool's walk
over files can follow; so they are laid together in a scratch folder first.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SETTINGS = str(CHECKOUT / "pyproject.toml")


def assemble(place: Path) -> None:
    """The installed layout, in `place`."""
    leave_out = shutil.ignore_patterns("__pycache__", "*.so", "plugins", "configs")
    shutil.copytree(CHECKOUT / "python" / "rl", place / "rl", ignore=leave_out)
    shutil.copytree(CHECKOUT / "plugins", place / "rl" / "plugins", ignore=leave_out)


def lint_imports(place: Path) -> int:
    """0 when every contract of pyproject.toml holds."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
    sys.path.insert(0, str(place))
    from importlinter.cli import lint_imports as check

    return int(check(config_filename=SETTINGS, no_cache=True))


def mypy(place: Path) -> int:
    """mypy's exit code; paths in its messages begin at rl/."""
    cache = CHECKOUT / ".mypy_cache"
    command = [sys.executable, "-m", "mypy", "--config-file", SETTINGS, "--cache-dir", str(cache)]
    return subprocess.run(command, cwd=place, env={**os.environ, "MYPYPATH": str(place)}).returncode


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        assemble(place)
        return {"lint-imports": lint_imports, "mypy": mypy}[sys.argv[1]](place)


if __name__ == "__main__":
    sys.exit(main())
