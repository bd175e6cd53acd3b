"""Every command in the README and in docs/ runs. Fenced `console` blocks, top to bottom, in one folder a page.

Sizes are cut so that the suite stays short: training runs 2 steps, motion and recording last 2 s. Nothing else of a
command is changed.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
SHORTER = {"--steps": "2", "--duration": "2", "--episode-time": "2", "--save_freq": "2"}
BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)


def commands(page: Path) -> list[str]:
    """The lines after `$ ` of a page's console blocks; a trailing backslash joins lines."""
    found = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        joined = block.replace("\\\n", " ")
        found += [line[2:].split("  #")[0].strip() for line in joined.splitlines() if line.startswith("$ ")]
    return found


def shortened(command: str) -> list[str]:
    words = [word.replace("CONFIGS", str(CHECKOUT / "configs")) for word in shlex.split(command)]
    for at, word in enumerate(words[:-1]):
        if word in SHORTER:
            words[at + 1] = SHORTER[word]
    return words


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_command_of_a_page_runs(page, tmp_path, shared):
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "2"}
    ran = 0
    for command in commands(page):
        words = shortened(command)
        if words[0] != "rl" or words[1:2] == ["demo"]:  # `rl demo` and make have tests of their own
            continue
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        ran += 1
    assert ran > 0 or "console" not in page.read_text()


def test_every_page_is_linked_from_the_readme():
    readme = PAGES[0].read_text()
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in readme] == []
