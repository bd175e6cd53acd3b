"""Checkpoints of a run: LeRobot's folder layout, written aside, synced and renamed; resume reads them back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rl.api.errors import InputError
from rl.train import randomness


def folder_of(run: Path, step: int, steps: int) -> Path:
    """checkpoints/000200; as many digits as the last step has, at least six."""
    return run / "checkpoints" / f"{step:0{max(6, len(str(steps)))}d}"


def last_step(run: Path) -> Path:
    """The folder of the newest whole checkpoint. Errors: InputError when there is none."""
    checkpoints = run / "checkpoints"
    found = sorted(p for p in checkpoints.glob("*") if p.name.isdigit() and (p / "training_state").is_dir())
    if not found:
        raise InputError("holds no checkpoint to continue from", where=str(run))
    return max(found, key=lambda p: int(p.name))


def write(run: Path, step: int, steps: int, model: Any, state: Any) -> Path:
    """One checkpoint: `model(folder)` fills pretrained_model, `state(folder)` training_state.

    The folder appears under its final name only when it is whole; `last` is then moved to it in one step.
    """
    final = folder_of(run, step, steps)
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "training_state").mkdir(parents=True)
    model(partial / "pretrained_model")
    state(partial / "training_state")
    _sync(partial)
    if final.exists():  # a run continued from an older checkpoint comes by again
        old = final.with_name(f".{final.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
        partial.rename(final)
        shutil.rmtree(old)
    else:
        partial.rename(final)
    link = final.parent / ".last"
    link.unlink(missing_ok=True)
    link.symlink_to(final.name)
    link.replace(final.parent / "last")
    _sync_folder(final.parent)
    return final


def save_state(folder: Path, step: int, batch_size: int, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
    """training_state: step, optimisers (one file an objective; the first has LeRobot's name), random states."""
    from safetensors.torch import save_file

    (folder / "training_step.json").write_text(json.dumps({"step": step, "num_processes": 1, "batch_size": batch_size}))
    for position, (name, optimizer) in enumerate(optimizers.items()):
        suffix = "" if position == 0 else f"_{name}"
        found = optimizer.state_dict()
        tensors = {
            f"state/{index}/{key}": torch.as_tensor(value).contiguous()
            for index, entry in found["state"].items()
            for key, value in entry.items()
        }
        save_file(tensors, folder / f"optimizer_state{suffix}.safetensors")
        (folder / f"optimizer_param_groups{suffix}.json").write_text(json.dumps(found["param_groups"]))
    randomness.save(folder)


def load_state(folder: Path, optimizers: Mapping[str, torch.optim.Optimizer]) -> int:
    """Restores what `save_state` wrote; returns the step. Errors: InputError naming the file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for position, (name, optimizer) in enumerate(optimizers.items()):
        suffix = "" if position == 0 else f"_{name}"
        path = folder / f"optimizer_state{suffix}.safetensors"
        try:
            tensors = load_file(path)
            groups = json.loads((folder / f"optimizer_param_groups{suffix}.json").read_text())
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(f"cannot be read ({error})", where=str(path)) from None
        state: dict[int, dict[str, Any]] = {}
        for key, tensor in tensors.items():
            _, index, field = key.split("/")
            state.setdefault(int(index), {})[field] = tensor
        wanted = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        try:
            optimizer.load_state_dict({"state": state, "param_groups": groups})
            for group, options in zip(optimizer.param_groups, wanted, strict=True):
                group.update(options)  # the resolved tree decides: an option given on resume has its effect
        except ValueError as error:
            raise InputError(f"does not fit this policy ({error})", where=str(path)) from None
    randomness.restore(folder)
    try:
        return int(json.loads((folder / "training_step.json").read_text())["step"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read ({error})", where=str(folder / "training_step.json")) from None


def _sync(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for path in [*(p for p in folder.rglob("*") if p.is_dir()), folder]:
        _sync_folder(path)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
