"""Processor files in LeRobot's layout: policy_preprocessor.json, policy_postprocessor.json and the steps' tensors."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from rl.api import Features, InputError
from rl.api.protocols import ProcessorStep
from rl.config import build, plain
from rl.process.images import Images
from rl.process.pipeline import Processing, with_images
from rl.process.tensor_files import read_arrays, sync, write_arrays
from rl.registry import registry

PRE, POST = "policy_preprocessor", "policy_postprocessor"
JSON_LIMIT = 16 << 20  # bytes
STEPS_LIMIT = 64
_STEP_KEYS = {"registry_name", "config", "state_file"}


def read_processing(folder: Path, inputs: Features, outputs: Features) -> Processing:
    """The steps that a checkpoint's files describe; their own modes, features and statistics count.

    inputs: the policy's, which say the size of its pictures. outputs: the policy's.
    A feature with a mode but without statistics passes unchanged, with one warning; `Processing.require_statistics`
    refuses it. Errors: InputError naming the file, the step or the key that cannot be used.
    """
    pre, post = (_read_steps(Path(folder), name) for name in (PRE, POST))
    processing = Processing(with_images(pre, inputs), post)
    bare = processing.unscaled()
    if bare:
        warnings.warn(f"{folder}: no statistics for {', '.join(bare)}: passed on unchanged", stacklevel=2)
    return processing


def write_processing(folder: Path, processing: Processing) -> None:
    """The two JSON files and one tensor file for each step with a state, synced, into an existing folder.

    Errors: InputError for a step that has no `name` and `config` to be written.
    """
    _write_steps(Path(folder), PRE, [step for step in processing.pre if not isinstance(step, Images)])
    _write_steps(Path(folder), POST, list(processing.post))


def read_json(path: Path) -> Any:
    """A JSON file of limited size. Errors: InputError naming the file."""
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise InputError(f"is larger than {JSON_LIMIT} bytes", where=str(path))
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("is missing", where=str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON ({type(error).__name__})", where=str(path)) from None


def write_json(path: Path, content: Any, indent: int = 2) -> None:
    """JSON to a new file, synced."""
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    sync(path)


def _read_steps(folder: Path, pipeline: str) -> tuple[ProcessorStep, ...]:
    path = folder / f"{pipeline}.json"
    content = read_json(path)
    steps = content.get("steps") if isinstance(content, Mapping) else None
    if not isinstance(steps, list) or len(steps) > STEPS_LIMIT:
        raise InputError(f"holds no list of at most {STEPS_LIMIT} steps", where=str(path))
    return tuple(_read_step(folder, f"{path}: step {i}", entry) for i, entry in enumerate(steps))


def _read_step(folder: Path, where: str, entry: Any) -> ProcessorStep:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("registry_name"), str):
        raise InputError(
            "has no registry_name",
            where=where,
            todo="a step given as a Python class is not loaded; register it as a plugin of kind step",
        )
    unknown = sorted(set(entry) - _STEP_KEYS - ({"artifacts"} if not entry.get("artifacts") else set()))
    if unknown:
        raise InputError(f"has the unknown key '{unknown[0]}'", where=where)
    name, given = entry["registry_name"], entry.get("config", {})
    if not isinstance(given, Mapping):
        raise InputError("its config is not a map", where=where)
    known = registry()
    implementation = known.implementation("step", name)
    try:
        step: ProcessorStep = implementation(build(known.config_class("step", name), given))
        if entry.get("state_file") is not None:
            step.load(read_arrays(_inside(folder, entry["state_file"], where)))
    except InputError as error:
        detail = f"{error.where}: {error.what}" if error.where else error.what
        raise InputError(f"({name}) {detail}", where=where, todo=error.todo) from None
    return step


def _inside(folder: Path, name: Any, where: str) -> Path:
    """The file beside the JSON that a state file's name means; nothing outside the folder."""
    if not isinstance(name, str) or PurePosixPath(name).name != name or "\\" in name or "\0" in name:
        raise InputError(f"its state file {name!r} is not a plain file name", where=where)
    path = folder / name
    if not path.is_file():
        raise InputError(f"its state file {name} is missing", where=where)
    return path


def _write_steps(folder: Path, pipeline: str, steps: list[ProcessorStep]) -> None:
    entries = []
    for index, step in enumerate(steps):
        name, config = getattr(step, "name", ""), getattr(step, "config", None)
        if not name or config is None:
            raise InputError(f"{type(step).__name__} has no name and config, so no file can hold it", where=pipeline)
        entry: dict[str, Any] = {"registry_name": name, "config": _sparse(plain(config))}
        state = step.state()
        if state:
            file = f"{pipeline}_step_{index}_{name}.safetensors"
            write_arrays(folder / file, state)
            entry["state_file"] = file
        entries.append(entry)
    write_json(folder / f"{pipeline}.json", {"name": pipeline, "steps": entries})


def _sparse(config: dict[str, Any]) -> dict[str, Any]:
    """Without the one optional key that LeRobot leaves out when it says nothing."""
    return {k: v for k, v in config.items() if not (k == "normalize_observation_keys" and v is None)}
