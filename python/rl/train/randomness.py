"""Random states: seeded once, saved with every checkpoint, restored on resume. LeRobot's file layout."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rl.api.errors import InputError

FILE = "rng_state.safetensors"


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed Python, NumPy and torch. `deterministic` also asks cuDNN for repeatable kernels."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def generator(device: torch.device, *key: int) -> torch.Generator:
    """A generator that depends on the key alone: the draws of step k are the same however the run got there."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    found = torch.Generator(device if device.type != "mps" else "cpu")
    found.manual_seed((int(state[0]) << 32 | int(state[1])) & (2**63 - 1))
    return found


def states() -> dict[str, Any]:
    """Every global random state as tensors."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    found = {
        "py_rng_version": torch.tensor([version]),
        "py_rng_state": torch.tensor(words, dtype=torch.int64),
        "py_rng_gauss": torch.tensor([float("nan") if gauss is None else gauss], dtype=torch.float64),
        "np_rng_state_values": torch.tensor(np.asarray(keys, dtype=np.int64)),
        "np_rng_state_index": torch.tensor([position]),
        "np_rng_has_gauss": torch.tensor([has_gauss]),
        "np_rng_cached_gaussian": torch.tensor([cached], dtype=torch.float64),
        "torch_rng_state": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        found["torch_cuda_rng_state"] = torch.cuda.get_rng_state()
    return found


def save(folder: Path) -> None:
    """Write the states into a checkpoint's training_state folder."""
    from safetensors.torch import save_file

    save_file(states(), folder / FILE)


def restore(folder: Path) -> None:
    """Continue with the states of a checkpoint. Errors: InputError when the file is not there or not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(folder / FILE)
        words = tuple(int(w) for w in found["py_rng_state"])
        gauss = float(found["py_rng_gauss"][0]) if "py_rng_gauss" in found else float("nan")
        random.setstate((int(found["py_rng_version"][0]), words, None if math.isnan(gauss) else gauss))
        keys = found["np_rng_state_values"].numpy().astype(np.uint32)
        position, has = int(found["np_rng_state_index"][0]), int(found["np_rng_has_gauss"][0])
        np.random.set_state(("MT19937", keys, position, has, float(found["np_rng_cached_gaussian"][0])))
        torch.set_rng_state(found["torch_rng_state"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"random states cannot be read ({error})", where=str(folder / FILE)) from None
    if torch.cuda.is_available() and "torch_cuda_rng_state" in found:
        torch.cuda.set_rng_state(found["torch_cuda_rng_state"])
