"""Rules for every kind: cheap to list, resolvable, documented, buildable, and honest about what is wrong or missing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from importlib import metadata
from typing import Any
from unittest import mock

from rl import registry as plugins
from rl.api.errors import InputError, MissingPart, RlError
from rl.config import build, plain
from rl.config.types import fields_of, is_tree, readable, unwrap_optional, walk
from rl.testing.conformance import Subject, Violation, require, rule, told

HEAVY = (
    "torch",
    "transformers",
    "cv2",
    "av",
    "pyarrow",
    "onnxruntime",
    "onnx",
    "mujoco",
    "pandas",
    "scipy",
    "matplotlib",
)
OPTIONAL = (
    *HEAVY,
    "gymnasium",
    "diffusers",
    "onnxscript",
    "torchvision",
    "peft",
    "rerun",
    "tensorboard",
    "wandb",
    "h5py",
)

_LIST = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps([name for name in json.loads(sys.argv[2]) if name in sys.modules]))
"""

_TARGET = """
import importlib, json, sys
blocked = set(json.loads(sys.argv[2]))
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Guard())
module, _, name = json.loads(sys.argv[1]).partition(":")
try:
    getattr(importlib.import_module(module), name)
except ModuleNotFoundError as error:
    print(json.dumps((error.name or "").partition(".")[0]))
else:
    print(json.dumps(""))
"""


@rule("is found by its name, without a clash", gate=True)
def found(subject: Subject) -> None:
    try:
        spec = subject.spec
    except InputError as error:
        broken = "; ".join(f"{source}: {cause}" for source, cause in subject.registry.broken.items())
        raise Violation(str(error), f"failed to load: {broken}" if broken else "") from error
    require(bool(spec.summary) and "\n" not in spec.summary, "its spec has no summary", "one line, for lists")
    require(not spec.summary.endswith("."), f"its summary ends with a full stop: '{spec.summary}'", "leave it out")
    for need in spec.needs:
        good = need.module.isidentifier() and bool(need.install) and "pip" not in need.install
        require(good, f"{need!r} is malformed", 'as in Need(module="torch", install="rl-toolkit[train]")')


@rule("is listed and configured without torch, transformers, cv2, av and the like")
def cheap(subject: Subject) -> None:
    source = subject.registry.source(subject.kind, subject.spec.name)
    entries = [e.module for e in metadata.entry_points(group=plugins.GROUP) if e.name == source.entry_point]
    for what, modules in (
        ("its module", entries[:1]),
        ("its config's module", [subject.spec.config.partition(":")[0]]),
    ):
        heavy = _apart(_LIST, modules, HEAVY)
        require(not heavy, f"{what} imports {', '.join(heavy)}", "import them inside the functions that use them")


@rule("target and config resolve", gate=True)
def resolves(subject: Subject) -> None:
    cls = _config_class(subject)
    require(
        dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen,  # type: ignore[attr-defined]
        f"its config {subject.spec.config} is not a frozen dataclass",
        "@dataclass(frozen=True, kw_only=True)",
    )
    declared = {need.module for need in subject.spec.needs}
    hidden = _apart(_TARGET, subject.spec.target, [name for name in OPTIONAL if name not in declared])
    todo = f'add Need(module="{hidden}", install="...") to the spec'
    require(not hidden, f"its target imports {hidden}, which the spec does not name", todo)
    try:
        target = subject.implementation
    except RlError:
        raise
    except Exception as error:
        raise Violation(f"its target {subject.spec.target} {told(error)}", "mend the import") from error
    require(callable(target), f"its target {subject.spec.target} is not a class")


def _config_class(subject: Subject) -> type:
    try:
        return subject.config_class
    except Exception as error:
        raise Violation(
            f"its config {subject.spec.config} {told(error)}", "name a dataclass as 'module:Name'"
        ) from error


@rule("every option has a documentation")
def documented(subject: Subject) -> None:
    bare = [name for name, item in walk(subject.config_class) if not item.doc.text and not item.choice]
    todo = 'Annotated[int, doc("what it does", unit="steps", ge=1)] = 1'
    require(not bare, f"option{'s' * (len(bare) > 1)} {', '.join(bare)} without documentation", todo)


@rule("its defaults build, its presets build, and what was built can be written and read", gate=True)
def builds(subject: Subject) -> None:
    cls = subject.config_class
    required = [name for name, item in fields_of(cls).items() if item.required and not is_tree(item.type)]
    absent = [name for name in required if name not in subject.options]
    require(
        not absent, f"options {', '.join(absent)} have no default", "give each a default, or give them to the check"
    )
    lots: dict[str, dict[str, Any]] = {"its defaults": {}, "the options given to the check": subject.options}
    lots |= {f"its preset {name}": dict(values) for name, values in getattr(cls, "PRESETS", {}).items()}
    for what, values in lots.items():
        given = {name: subject.options[name] for name in required} | values
        try:
            built = build(cls, given, subject.kind, subject.registry)
            again = build(cls, plain(built), subject.kind, subject.registry)
        except Exception as error:
            raise Violation(f"{what} do not build: {told(error)}") from error
        require(again == built, f"{what} are not the same after being written and read", "plain data types in options")


@rule("a wrong option is said")
def wrong_option_is_said(subject: Subject) -> None:
    cls, given = subject.config_class, subject.options
    for name, item in fields_of(cls).items():
        if item.choice or is_tree(item.type) or "map" in readable(item.type):
            continue
        for value in _odd_values(item.type):
            try:
                build(cls, {**given, name: value}, subject.kind, subject.registry)
            except RlError as error:
                require("\n" not in str(error), f"the error for {name}={value!r} has several lines", "one line")
            except Exception as error:
                what = f"option {name}={value!r}: {told(error)}"
                raise Violation(what, "bounds in doc(...), relations as InputError in __post_init__") from error


def _odd_values(annotation: Any) -> tuple[Any, ...]:
    wanted = readable(unwrap_optional(annotation))
    return (-1, 0, 10**9) if ("int" in wanted or "float" in wanted) and "list" not in wanted else ("", "no such value")


@rule("a missing need is said before anything is imported")
def missing_need_is_said(subject: Subject) -> None:
    real = importlib.util.find_spec
    for need in subject.spec.needs:
        gone = mock.patch.object(
            importlib.util, "find_spec", lambda name, n=need: None if name == n.module else real(name)
        )
        with gone:
            try:
                subject.registry.implementation(subject.kind, subject.name)
            except MissingPart as error:
                require(need.install in str(error), f"the error for a missing {need.module} does not say how to get it")
                continue
        raise Violation(f"a missing {need.module} is not said")


def _apart(code: str, *arguments: Any) -> Any:
    """The JSON that `code` prints in a fresh interpreter with this one's import path."""
    path = os.pathsep.join(p for p in sys.path if p)
    words = [sys.executable, "-c", code, *(json.dumps(a) for a in arguments)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=120)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Violation(f"it cannot be imported in a fresh interpreter: {last}")
    return json.loads(done.stdout.strip().splitlines()[-1])


RULES = (found, cheap, resolves, documented, builds, wrong_option_is_said, missing_need_is_said)
