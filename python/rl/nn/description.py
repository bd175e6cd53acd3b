"""What a policy's manifest says before any file of a bundle is written. See `rl.runtime.manifest` for its types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from rl.api import Feature, Features, InputError
from rl.api.protocols import Call, Graph, ProcessorStep, Program
from rl.config import plain
from rl.nn.program import policy_action, robot_inputs, split
from rl.process.images import Images
from rl.process.normalise import Normalise, Unnormalise, statistics_sha256
from rl.process.pipeline import Processing

if TYPE_CHECKING:
    from rl.nn.checkpoint import About
    from rl.nn.module import PolicyModule

SCHEMA = 1
PREFIX = "observation.images."


def describe(
    name: str, policy: PolicyModule, processing: Processing, about: About, program: Program, kind: str
) -> dict[str, Any]:
    """The manifest of `program` (from `deployable`) without paths, sums, parity and sample.

    name: the policy's in the registry. kind: of the graph files, as exporters and runtimes name it.
    Errors: InputError when the checkpoint does not say its rate, or a host step cannot be written.
    """
    if not about.fps:
        raise InputError("the checkpoint does not say the rate of its data", where="export", todo="give --fps")
    host, inside = split(processing)
    names = {new: old for old, new in processing.renamed.items()}
    inputs = robot_inputs(policy, processing, about, program)
    recipe, action = policy.recipe(), policy_action(policy)
    windows = {names.get(key, key): list(steps) for key, steps in policy.windows().act.items()}
    chunk = chunk_length(policy, program)
    return {
        "schema": SCHEMA,
        "kind": "rl-bundle",
        "policy": name,
        "inputs": [_feature(f) for f in inputs.values()],
        "outputs": [_feature(f) for f in (action,)],
        "rate": {
            "fps": float(about.fps),
            "chunk": chunk,
            "execute": min(recipe.execute, chunk),
            "ensemble": recipe.ensemble,
            "row_due": "row k of a chunk is due k periods (k / fps s) after its observation",
        },
        "windows": {key: steps for key, steps in windows.items() if key in inputs},
        "program": _program(program, kind),
        "processing": {
            "pre": [_step(step) for step in host.pre],
            "post": [_step(step) for step in host.post],
            "inside": list(_words(inside)),
            "resize": _resizing(inputs, policy.inputs, names),
            "statistics_sha256": about.statistics_sha256 or statistics_sha256(processing.statistics),
        },
        "cameras": list(_cameras(inputs, policy.inputs, processing.renamed)),
        "robot": about.robot,
        "calibration": about.calibration,
        "dataset": dict(about.dataset),
        "tasks": list(about.tasks),
        "precision": "float32",
        "versions": dict(about.versions),
    }


def chunk_length(policy: PolicyModule, program: Program) -> int:
    """Rows of a chunk: as the graph that makes it gives them, else as the config says."""
    return _rows(program) or int(getattr(policy.config, "chunk_size", 1))


def _rows(program: Program) -> int:
    """The chunk's second axis as its graph gives it on the example, 0 when no graph gives one of three axes."""
    import torch

    for graph in program.graphs:
        if program.chunk in graph.outputs:
            with torch.no_grad():
                made = graph.module(*graph.example)[graph.outputs.index(program.chunk)]
            return int(made.shape[1]) if made.ndim == 3 else 0
    return 0


def _feature(feature: Feature) -> dict[str, Any]:
    return asdict(feature)


def _program(program: Program, kind: str) -> dict[str, Any]:
    return {
        "graphs": [_graph(graph, kind) for graph in program.graphs],
        "calls": [_call(call) for call in program.calls],
        "chunk": program.chunk,
        "state": dict(program.state),
        "start": list(program.start),
        "draws": [{"name": d.name, "shape": list(d.shape), "law": d.law, "high": d.high} for d in program.draws],
    }


def _graph(graph: Graph, kind: str) -> dict[str, Any]:
    return {
        "name": graph.name,
        "kind": kind,
        "path": "",
        "precision": "float32",
        "inputs": [
            {
                "name": name,
                "dtype": str(value.dtype).removeprefix("torch."),
                "shape": list(value.shape),
                "free": {str(axis): label for axis, label in graph.dynamic.get(name, {}).items()},
            }
            for name, value in zip(graph.inputs, graph.example, strict=True)
        ],
        "outputs": list(graph.outputs),
    }


def _call(call: Call) -> dict[str, Any]:
    schedule = {name: [float(v) for v in values] for name, values in call.schedule.items()}
    return {
        "graph": call.graph,
        "repeat": call.repeat,
        "until": call.until,
        "carry": dict(call.carry),
        "schedule": schedule,
    }


def _step(step: ProcessorStep) -> dict[str, Any]:
    name, config = getattr(step, "name", ""), getattr(step, "config", None)
    if not name or config is None:
        what = f"the step {type(step).__name__} has no name and config, so no bundle can hold it"
        raise InputError(what, where="export")
    return {"step": name, "config": plain(config), "state": ""}


def _words(inside: Processing) -> Iterable[str]:
    for step in inside.pre:
        if isinstance(step, Images):
            yield "images: uint8 HWC to float CHW in 0..1, resized to the network's size"
        elif isinstance(step, Normalise):
            yield "normalise " + ", ".join(f"{kind}: {mode}" for kind, mode in step.modes.items())
        else:
            yield getattr(step, "name", type(step).__name__)
    for step in inside.post:
        if isinstance(step, Unnormalise):
            yield "actions back to robot units"
        else:
            yield "inverse of " + getattr(step, "name", type(step).__name__)


def _resizing(inputs: Features, network: Features, names: Mapping[str, str]) -> str:
    images = {names.get(name, name): f for name, f in network.items() if f.kind == "image"}
    if all(inputs[name].shape == wanted.shape for name, wanted in images.items() if name in inputs):
        return "none: pictures come at the network's size"
    return "bilinear, triangle filter widened when shrinking (antialiased), half-pixel centres"


def _cameras(inputs: Features, network: Features, renamed: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    for name, feature in inputs.items():
        if feature.kind == "image":
            yield {
                "role": name.removeprefix(PREFIX),
                "feature": name,
                "size": list(feature.shape[:2]),
                "network_size": list(network[renamed.get(name, name)].shape[:2]),
            }


def start_values(program: Program) -> dict[str, Any]:
    """The state's first values as arrays, whatever the policy gave."""
    return {name: np.asarray(value) for name, value in program.start.items()}


def action_scale(processing: Processing, action: Feature) -> tuple[float, ...]:
    """What an error of each action element is measured by: its deviation, or half its range; 1 without statistics.

    An element that hardly moves counts at least a thousandth of the liveliest.
    """
    entry = processing.statistics.get(action.name, {})
    ranges: Sequence[tuple[str, str]] = (("min", "max"), ("q01", "q99"), ("q10", "q90"))
    scale = np.ones(action.shape)
    if "std" in entry:
        scale = np.asarray(entry["std"], dtype=np.float64)
    else:
        for low, high in ranges:
            if low in entry and high in entry:
                scale = (np.asarray(entry[high], dtype=np.float64) - np.asarray(entry[low], dtype=np.float64)) / 2
                break
    floor = max(float(np.max(scale)) * 1e-3, 1e-9)
    return tuple(float(value) for value in np.maximum(scale, floor).reshape(-1))
