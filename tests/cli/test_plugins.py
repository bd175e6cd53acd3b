"""`rl plugins`: what it lists, shows, writes and checks, and what it says of wrong words."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rl import registry as plugins
from rl.api import InputError, MissingPart
from rl.cli import plugins as command
from rl.registry import discover
from tests.fixtures.distributions import lay_out, policy_module

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install("a-thing", text, ...) makes the process's registry that of the distributions laid out so far."""
    names = []

    def put(name, text, **given):
        names.append(given.get("entry") or name)
        monkeypatch.syspath_prepend(str(lay_out(tmp_path / name, name, {name.replace("-", "_"): text}, **given)))
        found = discover({"RL_PLUGINS": ",".join(names)})
        monkeypatch.setattr(command, "registry", lambda: found)
        monkeypatch.setattr(plugins, "registry", lambda: found)
        return found

    monkeypatch.syspath_prepend(str(FIXTURES))
    yield put
    for name in names:
        sys.modules.pop(name.replace("-", "_"), None)


def said(capsys, *words, code=0):
    assert command.main(list(words)) == code
    return capsys.readouterr().out


def test_the_list_gives_kind_name_summary_source_and_load_time(install, capsys):
    install("a-thing", policy_module("healthy"), version="2.3")
    line = next(line for line in said(capsys).splitlines() if line.startswith("policy"))
    assert line.split()[1] == "healthy"
    assert "a policy of a test" in line
    assert "a-thing 2.3" in line
    assert line.rstrip().endswith("ms")


def test_a_slow_plugin_is_marked(install, capsys):
    install("a-thing", policy_module("healthy", head="import time; time.sleep(0.03)"))
    assert "(slow)" in said(capsys)


def test_a_broken_plugin_is_listed_with_its_cause(install, capsys):
    install("broken-thing", "raise RuntimeError('the moon is full')")
    text = said(capsys)
    assert "broken" in text
    assert "broken-thing 1.0 (entry point 'broken-thing'): RuntimeError: the moon is full" in text


def test_names_claimed_twice_are_listed_with_both_distributions(install, capsys):
    install("a-thing", policy_module("same"))
    install("b-thing", policy_module("same"))
    assert "policy 'same': a-thing 1.0 (entry point 'a-thing') and b-thing 1.0" in said(capsys)


def test_only_one_kind_can_be_asked_for(install, capsys):
    install("a-thing", policy_module("healthy"))
    assert "healthy" in said(capsys, "--kind", "policy")
    assert "healthy" not in said(capsys, "list", "--kind=robot")


def test_the_list_is_read_by_machines_too(install, capsys):
    install("a-thing", policy_module("healthy"))
    install("b-thing", "1/0")
    found = json.loads(said(capsys, "--json"))
    assert [(p["kind"], p["name"], p["distribution"]) for p in found["plugins"]] == [
        ("policy", "healthy", "a-thing 1.0")
    ]
    assert found["broken"][0]["cause"] == "ZeroDivisionError: division by zero"
    assert found["clashes"] == []


def test_one_plugin_is_shown_with_paper_needs_options_and_source(install, capsys):
    needs = "(Need(module='torch', install='x[train]'), Need(module='not_there_at_all', install='x[more]'))"
    install("a-thing", policy_module("healthy", paper="'2304.13705'", aliases="('well',)", needs=needs))
    text = said(capsys, "show", "well")
    for words in (
        "policy healthy: a policy of a test",
        "2304.13705",
        "torch (installed)",
        'not_there_at_all (missing: pip install "x[more]")',
        "aliases",
        "preset    debug: chunk_size=4",
        "--policy.chunk_size int",
        ">= 1, <= 1000",
        "a-thing 1.0 (entry point 'a-thing')",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sho", "healthy"], "did you mean 'show'?"),
        (["show"], "NAME is missing"),
        (["show", "helthy"], "there is no plugin 'helthy'; did you mean 'healthy'?"),
        (["show", "healthy", "--kind", "robot"], "there is no robot 'healthy'"),
        (["show", "healthy", "--kind", "polcy"], "did you mean 'policy'?"),
        (["--jsn"], "did you mean '--json'?"),
        (["new", "thing", "--kind", "exporter"], "kind: 'exporter' is not"),
        (["new", "../thing"], "cannot be a plugin's name"),
        (["new", "healthy"], "there is a policy 'healthy' already"),
    ],
)
def test_wrong_words_are_told_in_one_line_with_the_nearest(words, told, install, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    install("a-thing", policy_module("healthy"))
    with pytest.raises(InputError) as found:
        command.main(words)
    assert told in str(found.value)
    assert "\n" not in str(found.value)


def test_a_broken_plugin_that_is_asked_for_is_told_with_its_cause(install):
    install("broken-thing", "raise RuntimeError('the moon is full')")
    with pytest.raises(InputError, match="'broken-thing' failed to load: RuntimeError: the moon is full"):
        command.main(["show", "broken-thing"])


@pytest.mark.parametrize("words", [["--help"], ["show", "--help"], ["new", "--help"], ["check", "-h"]])
def test_every_sub_command_has_help(words, capsys):
    text = said(capsys, *words)
    assert text.startswith("Usage: rl plugins")
    assert "--kind" in text


def test_a_new_distribution_is_written_where_it_is_asked_for(install, capsys, tmp_path):
    install("a-thing", policy_module("healthy"))
    text = said(capsys, "new", "my-arm", "--kind", "robot", "-o", str(tmp_path / "work"))
    folder = tmp_path / "work" / "rl-my-arm"
    assert str(folder) in text
    assert 'my-arm = "rl_my_arm"' in (folder / "pyproject.toml").read_text()
    assert (folder / "src" / "rl_my_arm" / "robot.py").is_file()


ROOM = """
from rl.api import EnvironmentSpec, Need, hookimpl
RL_API = 1

@hookimpl
def rl_environments():
    return [EnvironmentSpec(name="room", summary="a room", tasks=(),
        target="violators.environments:%s", config="violators.options:Options")]
"""


def test_a_plugin_that_keeps_the_contract_is_said_to(install, capsys):
    install("a-thing", ROOM % "Healthy")
    text = said(capsys, "check", "room")
    assert "keeps the contract" in text
    assert "ok    the same seed gives the same episode" in text


def test_a_broken_rule_is_shown_with_what_to_do_and_the_exit_code_is_1(install, capsys):
    install("a-thing", ROOM % "IgnoresTheSeed")
    text = said(capsys, "check", "room", code=1)
    assert "FAIL  the same seed gives the same episode" in text
    assert "draw from reset's seed alone" in text
    assert "1 broken" in text


def test_a_check_takes_the_plugins_own_options(install, capsys):
    install("a-thing", ROOM % "Healthy")
    assert "keeps the contract" in said(capsys, "check", "room", "--options.gain", "3")
    assert "no option 'environment.gian'" in said(capsys, "check", "room", "--options.gian", "3", code=1)


def test_a_check_without_what_the_plugin_needs_says_how_to_get_it(install):
    install("a-thing", policy_module("healthy", needs="(Need(module='not_there_at_all', install='x[more]'),)"))
    with pytest.raises(MissingPart, match=r'needs not_there_at_all; pip install "x\[more\]"'):
        command.main(["check", "healthy"])


def test_the_list_costs_little_and_imports_nothing_heavy():
    code = (
        "import sys; from rl.cli.plugins import main; main([]); "
        "heavy = [m for m in ('torch', 'numpy', 'cv2', 'av', 'pyarrow', 'rich', 'onnxruntime') if m in sys.modules]; "
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "act" in done.stdout
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert took < 1.0  # wanted 0.25, measured by the benchmark; a busy machine under test is slower


def test_a_target_that_cannot_be_imported_is_a_broken_rule(install, capsys):
    install("a-thing", policy_module("healthy", target="not_there_at_all:Thing"))
    out = said(capsys, "check", "healthy", code=1)
    assert "FAIL" in out
    assert "its target imports not_there_at_all" in out
    assert "Traceback" not in out


def test_the_options_of_a_teleoperator_are_shown_as_they_are_written(capsys):
    out = said(capsys, "show", "scripted")
    assert "--teleop.joints" in out
    assert "--teleoperator" not in out
