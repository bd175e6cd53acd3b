"""Checkpoints in LeRobot's layout, today's and that of 0.3.3: found, described, loaded strictly, saved whole.

Importing this module does not import torch.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rl.api import Features, InputError
from rl.api.protocols import TranslatesWeights
from rl.config import build, plain
from rl.nn.about import About, described, read_about, write_about
from rl.process.features import read_features, write_features
from rl.process.files import PRE, read_json, read_processing, write_json, write_processing
from rl.process.modes import modes_by_kind
from rl.process.pipeline import Processing
from rl.process.tensor_files import Entry, header, sync
from rl.registry import registry

if TYPE_CHECKING:
    import torch

    from rl.nn.module import PolicyModule

__all__ = ["About", "Checkpoint", "describe", "find", "load_policy", "load_processing", "save"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PICKLES = ("pytorch_model.bin", "model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl")
#: what every config.json of LeRobot holds, in its order; the policy's own fields come after (n_obs_steps: second)
COMMON = {
    "device": "cpu",
    "use_amp": False,
    "use_peft": False,
    "push_to_hub": False,
    "repo_id": None,
    "private": None,
    "tags": None,
    "license": None,
    "pretrained_path": None,
    "pretrained_revision": None,
}
_OLD_STATISTICS = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")
_SHOWN = 12  # names listed in one message


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder after its files were looked at; no weight has been read."""

    folder: Path
    policy: str  # registry name
    config: Any  # the policy's config
    inputs: Features
    outputs: Features
    layout: Literal["current", "0.3.3"]
    about: About


def find(path: str | Path) -> Path:
    """The model folder that is meant by itself, a step's folder, `checkpoints/last`, a run, or a hub id in the cache.

    Errors: InputError when nothing is there; nothing is downloaded.
    """
    given = Path(path).expanduser()
    if given.is_file() and given.name in (CONFIG, WEIGHTS, "train_config.json"):
        given = given.parent
    tails = ("", "pretrained_model", "checkpoints/last/pretrained_model", "last/pretrained_model", "checkpoints/last")
    for tail in tails:
        if (given / tail / CONFIG).is_file():
            return given / tail
    if given.exists():
        raise InputError(
            "holds no checkpoint",
            where=str(path),
            todo=f"looked for {CONFIG} there and in {', '.join(tails[1:4])}",
        )
    cached = _cached(str(path))
    if cached is not None:
        return cached
    raise InputError("there is no such checkpoint", where=str(path), todo="give a run, a checkpoint or a model folder")


def describe(folder: str | Path) -> Checkpoint:
    """Policy, config, features and layout of a model folder.

    Errors: InputError naming file and key: unknown or unusable options, no features, pickled or missing weights.
    """
    folder = Path(folder)
    path = folder / CONFIG
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise InputError("has no 'type' that names a policy", where=str(path))
    known = registry()
    try:
        policy = known.canonical("policy", content["type"])
    except InputError as error:
        raise InputError(error.what, where=str(path), todo=error.todo) from None
    about = read_about(folder)
    inputs, outputs = (
        read_features(content.get(key), f"{path}: {key}") for key in ("input_features", "output_features")
    )
    options = {k: v for k, v in content.items() if k not in (*COMMON, "type", "input_features", "output_features")}
    if isinstance(options.get("normalization_mapping"), dict):  # a type that the file leaves out is not normalised
        absent = dict.fromkeys(("VISUAL", "STATE", "ACTION"), "IDENTITY")
        options["normalization_mapping"] = absent | options["normalization_mapping"]
    config = _options(known.config_class("policy", policy), options, path)
    own = {k: v for k, v in about.policy_options.items() if k in getattr(type(config), "OWN", ())}
    return Checkpoint(
        folder=folder,
        policy=policy,
        config=replace(config, **own) if own else config,
        inputs=described(inputs, about),
        outputs=described(outputs, about),
        layout=_layout(folder),
        about=about,
    )


def load_policy(
    checkpoint: Checkpoint, *, device: str = "cpu", strict: bool = True, allow_pickle: bool = False
) -> "PolicyModule":
    """The policy with its weights, in evaluation mode, float32, on `device`.

    strict: every tensor of the policy must be in the file with its shape, and none beside; False: what fits is
    loaded and the rest is named in one warning. allow_pickle: read pickled weights, tensors only.
    Errors: InputError listing the missing, unexpected and misshapen tensors.
    """
    import torch

    cls = registry().implementation("policy", checkpoint.policy)
    with torch.random.fork_rng(devices=[]):  # random values that are overwritten must not move the caller's generator
        policy = cls(checkpoint.config, checkpoint.inputs, checkpoint.outputs)
    wanted = policy.state_dict()
    if (checkpoint.folder / WEIGHTS).is_file():
        _check_names(checkpoint, policy, wanted, header(checkpoint.folder / WEIGHTS), strict)
    tensors = {k: v for k, v in _tensors(checkpoint.folder, allow_pickle).items() if not _ignored(checkpoint, k)}
    if isinstance(policy, TranslatesWeights):
        tensors = dict(policy.translate(tensors))
    _check_shapes(
        checkpoint,
        {k: tuple(v.shape) for k, v in wanted.items()},
        {k: tuple(v.shape) for k, v in tensors.items()},
        strict,
    )
    fitting = {k: v for k, v in tensors.items() if k in wanted and v.shape == wanted[k].shape}
    policy.load_state_dict(fitting, strict=False)
    loaded: PolicyModule = policy.to(device).eval()
    return loaded


def load_processing(checkpoint: Checkpoint) -> Processing:
    """The steps before and behind the policy: from the processor files, or from the weights of the old layout."""
    if checkpoint.layout == "current":
        return read_processing(checkpoint.folder, checkpoint.inputs, checkpoint.outputs)
    from rl.nn.old_layout import old_processing

    modes = modes_by_kind(getattr(checkpoint.config, "normalization_mapping", {}))
    return old_processing(checkpoint.folder / WEIGHTS, modes, checkpoint.inputs, checkpoint.outputs)


def save(
    folder: str | Path,
    policy: Any,
    name: str,
    processing: Processing,
    about: About,
    *,
    train_config: Mapping[str, Any] | None = None,
) -> Path:
    """A model folder that LeRobot reads too, written aside and renamed. Returns the folder.

    policy: a PolicyModule. name: its registry name. train_config: LeRobot's file of the whole training tree.
    Errors: InputError when the folder is there already.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError("is there already", where=str(folder))
    aside = folder.with_name(folder.name + ".partial")
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(parents=True)
    write_json(aside / CONFIG, _config_json(policy, name), indent=4)
    _write_weights(aside / WEIGHTS, policy)
    write_processing(aside, processing)
    options = plain(policy.config)
    kept = {k: options[k] for k in getattr(type(policy.config), "OWN", ()) if k in options}
    write_about(aside, replace(about, policy_options=kept))
    if train_config is not None:
        write_json(aside / "train_config.json", dict(train_config), indent=4)
    sync(aside)
    aside.rename(folder)
    sync(folder.parent)
    return folder


# --- finding


def _cached(name: str) -> Path | None:
    """The newest snapshot of a hub id in the local cache."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
        return None
    home = Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser())
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}"
    try:
        revision = (cache / "refs" / "main").read_text().strip()
    except OSError:
        raise InputError(
            f"is neither a folder nor in the cache {cache.parent}",
            where=name,
            todo="download it first, then give its folder",
        ) from None
    snapshot = cache / "snapshots" / revision
    if not re.fullmatch(r"[0-9a-f]{7,64}", revision) or not (snapshot / CONFIG).is_file():
        raise InputError(f"its snapshot in {cache} is not complete", where=name)
    return snapshot


# --- reading


def _options(cls: type, options: dict[str, Any], path: Path) -> Any:
    try:
        return build(cls, options)
    except InputError as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        raise InputError(what, where=str(path), todo=error.todo) from None


def _layout(folder: Path) -> Literal["current", "0.3.3"]:
    if (folder / f"{PRE}.json").is_file():
        return "current"
    if (folder / "adapter_config.json").is_file():
        raise InputError("holds an adapter, not whole weights", where=str(folder), todo="merge it into its base first")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"has no {WEIGHTS}{_pickled_note(folder)}", where=str(folder))
    if any(name.startswith(_OLD_STATISTICS) for name in header(folder / WEIGHTS)):
        return "0.3.3"
    raise InputError(
        f"has no {PRE}.json, and no statistics in its weights",
        where=str(folder),
        todo="copy the processor files of the same checkpoint beside the weights",
    )


def _pickled_note(folder: Path) -> str:
    found = [name for name in PICKLES if (folder / name).is_file()]
    return f"; {found[0]} is a pickle, which can run code and is not read unless asked for" if found else ""


def _ignored(checkpoint: Checkpoint, name: str) -> bool:
    """Tensors that are no part of the policy: the counters of batch norms, and the old layout's statistics."""
    old = checkpoint.layout == "0.3.3" and name.startswith(_OLD_STATISTICS)
    return old or name.endswith(".num_batches_tracked")


def _check_names(
    checkpoint: Checkpoint, policy: Any, wanted: Mapping[str, "torch.Tensor"], found: Mapping[str, Entry], strict: bool
) -> None:
    """Before anything is read: the file's header against the policy, unless the policy translates names."""
    if not isinstance(policy, TranslatesWeights):
        given = {k: e.shape for k, e in found.items() if not _ignored(checkpoint, k) or k in wanted}
        if strict:
            _check_shapes(checkpoint, {k: tuple(v.shape) for k, v in wanted.items()}, given, strict)


def _check_shapes(
    checkpoint: Checkpoint,
    wanted: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
    strict: bool,
) -> None:
    faults = {
        "missing": sorted(set(wanted) - set(given)),
        "unexpected": sorted(set(given) - set(wanted)),
        "misshapen": [
            f"{k} {list(given[k])} (wanted {list(wanted[k])})"
            for k in sorted(set(wanted) & set(given))
            if given[k] != wanted[k]
        ],
    }
    text = "; ".join(f"{len(names)} {word}: {_listed(names)}" for word, names in faults.items() if names)
    if text and strict:
        raise InputError(
            f"the weights do not fit the policy '{checkpoint.policy}': {text}", where=str(checkpoint.folder)
        )
    if text:
        import warnings

        warnings.warn(f"{checkpoint.folder}: the weights do not fit the policy: {text}", stacklevel=3)


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _tensors(folder: Path, allow_pickle: bool) -> dict[str, "torch.Tensor"]:
    path = folder / WEIGHTS
    if path.is_file():
        from safetensors.torch import load_file

        return load_file(path)
    pickled = next((folder / name for name in PICKLES if (folder / name).is_file()), None)
    if pickled is None or not allow_pickle:
        raise InputError(f"has no {WEIGHTS}{_pickled_note(folder)}", where=str(folder))
    return read_pickle(pickled)


def read_pickle(path: Path) -> dict[str, "torch.Tensor"]:
    """A pickled state dict, tensors only. Errors: InputError when it holds anything else."""
    import pickle

    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"is no file of tensors ({type(error).__name__})", where=str(path)) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise InputError("is no map of names to tensors", where=str(path))
    return found


# --- writing


def _config_json(policy: Any, name: str) -> dict[str, Any]:
    own = getattr(type(policy.config), "OWN", ())
    options = {k: v for k, v in plain(policy.config).items() if k not in own}
    head: dict[str, Any] = {"type": name}
    if "n_obs_steps" in options:
        head["n_obs_steps"] = options.pop("n_obs_steps")
    head["input_features"] = write_features(policy.inputs)
    head["output_features"] = write_features(policy.outputs)
    return head | COMMON | options


def _write_weights(path: Path, policy: Any) -> None:
    from safetensors.torch import save_file

    tensors = {k: v.detach().cpu().contiguous() for k, v in policy.state_dict().items()}
    save_file(tensors, path, metadata={"format": "pt"})
    sync(path)
