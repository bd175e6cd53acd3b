"""Runs import-linter over the package as it is installed: python/rl with plugins/ as rl.plugins.

In a checkout the two lie side by side, and an editable install joins them by an import hook that import-linter's walk
over files cannot follow; so they are laid together in a scratch folder first.
"""

import shutil
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> int:
    """0 when every contract of pyproject.toml holds."""
    with tempfile.TemporaryDirectory() as place:
        leave_out = shutil.ignore_patterns("__pycache__", "*.so", "plugins", "configs")
        shutil.copytree(CHECKOUT / "python" / "rl", Path(place) / "rl", ignore=leave_out)
        shutil.copytree(CHECKOUT / "plugins", Path(place) / "rl" / "plugins", ignore=leave_out)
        sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
        sys.path.insert(0, place)
        for name in [m for m in sys.modules if m == "rl" or m.startswith("rl.")]:
            del sys.modules[name]
        from importlinter.cli import lint_imports

        return int(lint_imports(config_filename=str(CHECKOUT / "pyproject.toml"), no_cache=True))


if __name__ == "__main__":
    sys.exit(main())
