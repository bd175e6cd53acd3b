"""Writes a bundle aside, tries it, and only then gives it its name."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.api import InputError, RlError
from rl.api.protocols import Program
from rl.export import parity
from rl.export.config import SAMPLES, TOLERANCE
from rl.export.parity import Expectation
from rl.export.report import Report
from rl.export.trials import Recorded, dataset_of, trials
from rl.nn import checkpoint as checkpoints
from rl.nn.checkpoint import About
from rl.nn.description import action_scale, describe, start_values
from rl.nn.program import EagerChunk, deployable, policy_action, split
from rl.process.pipeline import Processing
from rl.process.tensor_files import sync, write_arrays
from rl.registry import registry
from rl.runtime import manifest as manifests
from rl.runtime.actor import Actor, runtime_for
from rl.runtime.bundle import Bundle, sha256
from rl.runtime.interpreter import Interpreter

if TYPE_CHECKING:
    from rl.nn.module import PolicyModule

GRAPHS, VALUES, SAMPLE = "graphs", "start.safetensors", "sample.safetensors"


def export(
    source: str | Path,
    exporter: str,
    out: str | Path,
    *,
    tolerance: float = TOLERANCE,
    samples: int = SAMPLES,
    dataset: str | None = None,
    fps: float | None = None,
    options: Mapping[str, Any] | None = None,
    before_write: Callable[[Program], None] | None = None,
) -> Report:
    """Exports a run, checkpoint or model folder. See `export_policy`.

    dataset: root of the set that the tried inputs come from; None: the one it was trained on, when that is still
    there. fps: rate of the data when the checkpoint does not say it.
    """
    require(exporter)
    folder = checkpoints.find(source)
    checkpoint = checkpoints.describe(folder)
    about = replace(checkpoint.about, fps=checkpoint.about.fps or fps)
    return export_policy(
        checkpoints.load_policy(checkpoint),
        checkpoint.policy,
        checkpoints.load_processing(checkpoint),
        about,
        exporter,
        out,
        tolerance=tolerance,
        samples=samples,
        dataset=dataset or dataset_of(folder),
        must_have_dataset=dataset is not None,
        options=options,
        before_write=before_write,
    )


def export_policy(
    policy: PolicyModule,
    name: str,
    processing: Processing,
    about: About,
    exporter: str,
    out: str | Path,
    *,
    tolerance: float = TOLERANCE,
    samples: int = SAMPLES,
    dataset: str | None = None,
    must_have_dataset: bool = False,
    options: Mapping[str, Any] | None = None,
    before_write: Callable[[Program], None] | None = None,
) -> Report:
    """Writes the bundle `out` of a policy in memory, after comparing it with eager PyTorch.

    tolerance: largest |exported - eager| / max(scale, |eager|), scale being each action element's deviation or half
    range. samples: recorded or likely inputs tried, besides six extreme ones. before_write: is given the program when
    eager PyTorch has been run and the graphs have not been written (a test changes weights there).
    Errors: InputError when `out` exists, RlError when the graphs differ by more than the tolerance (nothing is left
    behind), MissingPart when exporter or runtime need an extra.
    """
    begin, out = time.perf_counter(), Path(out)
    if out.exists():
        raise InputError("is there already", where=str(out), todo="choose another folder, or remove it")
    runtime = require(exporter)
    kind = registry().get("exporter", exporter).graph  # type: ignore[attr-defined]
    program = deployable(policy, processing, about)
    plain = describe(name, policy, processing, about, program, kind)
    expectation, recorded = _expect(policy, processing, program, plain, dataset, must_have_dataset, samples)
    if before_write is not None:
        before_write(program)
    scale = action_scale(processing, policy_action(policy))
    with _aside(out) as folder:
        _write_files(folder, plain, program, processing, expectation, exporter, options)
        actor = _opened(folder, plain, runtime)
        outputs, exported_ms = parity.compare(actor, expectation, scale)
        actor.close()
        for output, error in outputs.items():
            if not error.max_rel <= tolerance:
                raise RlError(
                    f"{kind} graphs differ from eager PyTorch: '{output}' by {error.max_rel:.2g} of its scale "
                    f"({error.max_abs:.3g} at most; input '{error.worst}'), {tolerance:g} is allowed",
                    where="parity",
                    todo="nothing was written; report it, or allow more with --tolerance",
                )
        plain["parity"] = parity.manifest_entry(
            outputs, expectation, tolerance, scale, f"eager PyTorch {_version('torch')}, CPU, float32"
        )
        plain["files"] = _sums(folder)
        _write_bytes(folder / manifests.NAME, manifests.encode(plain))
        manifests.read(folder)  # what this program would refuse, it does not write
    action = policy_action(policy)
    return Report(
        folder=out, policy=name, kind=kind, outputs=outputs, unit=", ".join(dict.fromkeys(action.units)),
        tolerance=tolerance, inputs=len(expectation.cases), real=plain["parity"]["real"], source=recorded.source,
        eager_ms=expectation.eager_ms, exported_ms=exported_ms,
        bytes=sum(entry["bytes"] for entry in plain["files"].values()), seconds=time.perf_counter() - begin,
    )  # fmt: skip


def require(exporter: str) -> str:
    """Name of the runtime that tries what this exporter writes. MissingPart when either needs an extra."""
    known = registry()
    known.implementation("exporter", exporter)
    runtime = runtime_for(known.get("exporter", exporter).graph)  # type: ignore[attr-defined]
    known.implementation("runtime", runtime)
    return runtime


def _expect(
    policy: PolicyModule,
    processing: Processing,
    program: Program,
    plain: Mapping[str, Any],
    dataset: str | None,
    must: bool,
    samples: int,
) -> tuple[Expectation, Recorded]:
    """Eager results for every trial, before anything is written."""
    manifest = manifests.parse(plain, where="export")
    inputs = manifest.features("inputs")
    recorded = Recorded(dataset, inputs, manifest.windows, must)
    renamed = processing.renamed
    statistics = {name: processing.statistics.get(renamed.get(name, name), {}) for name in inputs}
    task = manifest.tasks[0] if manifest.tasks else ""
    tried = trials(inputs, manifest.windows, statistics, recorded, samples, task)
    make_draws = Interpreter(manifest.program, None).draws  # type: ignore[arg-type]
    eager = EagerChunk(policy, processing)
    return parity.expect(eager, tried, make_draws, stateful=bool(program.state)), recorded


def _write_files(
    folder: Path,
    plain: dict[str, Any],
    program: Program,
    processing: Processing,
    expectation: Expectation,
    exporter: str,
    options: Mapping[str, Any] | None,
) -> None:
    """Graphs, start values, sample and host states; enters their paths into the manifest."""
    from rl.config import build

    known = registry()
    config = build(known.config_class("exporter", exporter), dict(options or {}), where=exporter)
    (folder / GRAPHS).mkdir()
    _require_plain_names(program)
    files = known.implementation("exporter", exporter)(config).write(program, folder / GRAPHS)
    written = {file.graph: file for file in files}
    for entry in plain["program"]["graphs"]:
        entry["path"] = f"{GRAPHS}/{written[entry['name']].path}"
        entry["precision"] = written[entry["name"]].precision
    values = start_values(program)
    if values:
        write_arrays(folder / VALUES, values)
        plain["program"]["values"] = VALUES
    case = expectation.cases[0]
    observation = {f"observation/{k}": v for k, v in case.trial.window.items()}
    drawn = {f"draw/{k}": v for k, v in case.draws[0].items()}
    write_arrays(folder / SAMPLE, {**observation, **drawn, "expected": case.chunks[0][0]})
    plain["sample"] = SAMPLE
    plain["sample_task"] = case.trial.task
    for place, steps in zip(("pre", "post"), (split(processing)[0].pre, split(processing)[0].post), strict=True):
        for number, step in enumerate(steps):
            state = step.state()
            if state:
                path = f"{place}_{number}.safetensors"
                write_arrays(folder / path, state)
                plain["processing"][place][number]["state"] = path
    packages = ("rl-toolkit", "torch", "numpy", *PACKAGES.get(exporter, ()))
    plain["versions"] = {**plain["versions"], **{name: _version(name) for name in packages}}


PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


def _opened(folder: Path, plain: Mapping[str, Any], runtime: str) -> Actor:
    """The written graphs in their runtime, through the same code that a robot uses."""
    from rl.config import build

    known = registry()
    listed = {**plain, "files": _sums(folder)}
    bundle = Bundle(manifests.parse(listed, where="export"), folder)
    config = build(known.config_class("runtime", runtime), {}, where="runtime")
    return Actor(bundle, known.implementation("runtime", runtime)(config, folder, bundle.graph_files()))


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when the body ends well, and is removed when it does not."""
    aside = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", where=str(out)) from None
    try:
        yield aside
        for folder, _, names in os.walk(aside):
            for path in (*(Path(folder) / name for name in names), Path(folder)):
                sync(path)
        aside.rename(out)
        sync(out.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _require_plain_names(program: Program) -> None:
    names = [graph.name for graph in program.graphs]
    odd = next((name for name in names if not name.isidentifier()), None)
    if odd is not None or len(set(names)) != len(names):
        raise InputError(f"graphs {', '.join(names)}: names must be identifiers, each its own", where="export")


def _sums(folder: Path) -> dict[str, dict[str, Any]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != manifests.NAME)
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size} for path in paths
    }


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    sync(path)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
