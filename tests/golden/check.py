#!/usr/bin/env python3
"""Compare this project with golden folders: `python tests/golden/check.py DIR...`

Reads any directory of layout rl-golden/1 and decides by its golden.json what to compute. Prints each tensor's largest
absolute and relative error and the share of its tolerance. Exit codes: 0 all inside, 1 a miss (also a tensor that was
not compared), 2 not a readable golden folder, 3 a kind or policy that is not known here yet, or a part of this
project that is not built.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from rl.api import MissingPart, RlError

HERE = Path(__file__).resolve().parent
REFERENCE = HERE.parents[2] / "shared" / "golden"  # beside the checkout


def sibling(name: str) -> ModuleType:
    """A module of this folder, under a name that no installed package has."""
    return _module(f"rl_golden_{name}", HERE / f"{name}.py")


def reference(folder: Path) -> ModuleType:
    """materialize.py: the copy beside the checkout, else the one beside the golden folder."""
    for parent in (REFERENCE, folder.parent, folder.parent.parent):
        if (parent / "materialize.py").is_file():
            return _module("rl_golden_materialize", parent / "materialize.py")
    raise NotReadable(f"materialize.py is neither in {REFERENCE} nor beside {folder}")


def _module(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


compare = sibling("compare")
NotKnown, NotReadable = compare.NotKnown, compare.NotReadable


def check(folder: Path) -> list:
    """The compared rows of one folder. Raises NotKnown, NotReadable."""
    golden = read_golden(folder)
    checker = checker_of(golden)
    if golden["kind"] == "dataset":
        return _dataset(checker, folder, golden)
    files = reference(folder)
    try:
        inputs, outputs = (_tensors(files, folder / f"{name}.safetensors") for name in ("inputs", "outputs"))
    except (OSError, ValueError, KeyError) as error:
        raise NotReadable(f"{folder}: inputs or outputs cannot be read ({error})") from None
    comparison = compare.Comparison(golden, outputs)
    with tempfile.TemporaryDirectory(prefix="rl-golden-") as scratch:
        if "weights" in golden:
            _materialized(files, folder, scratch)
        try:
            checker(Path(scratch), golden, inputs, comparison)
        except MissingPart as error:
            raise NotKnown(f"{folder}: {error}") from None
        except RlError as error:  # the project refuses what the reference ran: a miss, with its words
            comparison.rows["(refused)"] = compare.Row("(refused)", False, note=str(error))
    return comparison.finished()


def _materialized(files: ModuleType, folder: Path, out: str) -> None:
    try:
        files.materialize(folder, out)
    except (SystemExit, OSError, KeyError) as error:  # the script ends itself when the recipe does not give the sum
        raise NotReadable(f"{folder}: the weights cannot be made ({error})") from None


def _dataset(checker: Callable, folder: Path, golden: dict) -> list:
    rows: list = []
    try:
        whole = checker(
            folder,
            golden,
            lambda name, absolute, relative, hit: rows.append(compare.Row(name, hit, absolute, relative)),
        )
    except LookupError as error:
        raise NotKnown(f"{folder}: {error} is not known yet") from None
    if not whole and all(row.hit for row in rows):
        rows.append(compare.Row("(whole)", False, note="the data set is not reproduced"))
    return rows


def _tensors(files: ModuleType, path: Path) -> dict:
    return {name: array.copy() for name, array in files.numpy_safetensors(path).items()}  # writable, as torch wants


def read_golden(folder: Path) -> dict:
    if not folder.is_dir():
        raise NotReadable(f"{folder}: there is no such folder")
    if not (folder / "golden.json").is_file():
        raise NotKnown(f"{folder}: has no golden.json, so nothing says what it holds")
    try:
        golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    except ValueError:
        raise NotReadable(f"{folder}: golden.json is not JSON") from None
    if not isinstance(golden, dict) or "kind" not in golden:
        raise NotReadable(f"{folder}: golden.json has no kind")
    return golden


def checker_of(golden: dict) -> Callable:
    kind, policy = golden["kind"], golden.get("policy")
    pieces: dict[str, str] = {
        "normalizer": "normaliser",
        "temporal_ensembler": "ensembler",
        "aggregation": "aggregation",
    }
    if kind == "policy":
        if policy != "act":
            raise NotKnown(f"policy '{policy}' is not known yet")
        return sibling("act").check
    if kind in pieces:
        return getattr(sibling("pieces"), pieces[kind])
    if kind == "dataset":
        if not (HERE / "datasets.py").is_file():
            raise NotKnown("kind 'dataset' is not known yet")
        return sibling("datasets").check_dataset
    raise NotKnown(f"kind '{kind}' is not known yet")


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")


def report(folder: Path, rows: list) -> int:
    """Print the table of one folder; the number of misses."""
    misses = sum(not row.hit for row in rows)
    if not rows:
        say(f"{folder}: nothing was compared")
        return 1
    say(f"{folder}: {len(rows)} tensors, {misses} misses")
    width = max(len(row.name) for row in rows)
    for row in rows:
        mark = "ok  " if row.hit else "MISS"
        numbers = f"abs {row.absolute:9.2e}  rel {row.relative:9.2e}  of tolerance {row.share:8.2%}"
        say(f"  {mark} {row.name:{width}}  {numbers}  {row.note}".rstrip())
    return misses


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="+")
    codes = {0}
    for folder in parser.parse_args(arguments).folder:
        try:
            codes.add(1 if report(folder, check(folder.resolve())) else 0)
        except NotKnown as error:
            say(f"{folder}: {error}" if str(folder) not in str(error) else error)
            codes.add(3)
        except NotReadable as error:
            say(error)
            codes.add(2)
    return next(code for code in (1, 2, 3, 0) if code in codes)


if __name__ == "__main__":
    sys.exit(main())
