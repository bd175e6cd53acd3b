"""Pretrained backbones: from a file, from torch's cache, or fetched. Never silently random."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rl.api import InputError, MissingPart
from rl.nn.checkpoint import read_pickle
from rl.process.tensor_files import header

if TYPE_CHECKING:
    from torch import Tensor

    from rl.nn.resnet import ResNet

SOURCE = "https://download.pytorch.org/models/"
SIZE_LIMIT = 400 << 20  # bytes; the largest of the files below has 230 MB
TIMEOUT = 20.0  # s without an answer
#: LeRobot's (torchvision's) name of trained weights -> first eight hex digits of the file's SHA-256
IMAGENET = {
    ("resnet18", "IMAGENET1K_V1"): "f37072fd",
    ("resnet34", "IMAGENET1K_V1"): "b627a593",
    ("resnet50", "IMAGENET1K_V1"): "0676ba61",
    ("resnet50", "IMAGENET1K_V2"): "11ad3fa6",
    ("resnet101", "IMAGENET1K_V1"): "63fe2227",
    ("resnet101", "IMAGENET1K_V2"): "cd907fc2",
    ("resnet152", "IMAGENET1K_V1"): "394f9c45",
    ("resnet152", "IMAGENET1K_V2"): "f82ba261",
}
OPTION = "--policy.pretrained_backbone_weights null"


def load_resnet(backbone: ResNet, name: str, weights: str, *, allow_pickle: bool = False) -> None:
    """Fill a backbone with trained weights, torchvision's tensor names; classifier and batch counters are left out.

    name: resnet18 ... weights: ResNet18_Weights.IMAGENET1K_V1, or the path of a safetensors or .pth file.
    Errors: MissingPart when a named file is neither cached nor to be fetched; InputError when a file does not fit.
    """
    tensors = _named(name, weights) if "_Weights." in weights else _file(Path(weights).expanduser(), allow_pickle)
    wanted = backbone.state_dict()
    given = {k: v for k, v in tensors.items() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
    missing, extra = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    misshapen = [k for k in wanted if k in given and given[k].shape != wanted[k].shape]
    for what, names in (("lack", missing), ("have the unexpected", extra), ("have the wrong shape for", misshapen)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"are not those of a {name}: they {what} {', '.join(names[:3])}{more}", where=f"weights {weights}"
            )
    backbone.load_state_dict(given)


def _named(name: str, weights: str) -> dict[str, Tensor]:
    """A published file by its name: torch's cache first, then fetched into it."""
    import torch

    version = weights.partition("_Weights.")[2]
    if version == "DEFAULT":
        version = "IMAGENET1K_V2" if (name, "IMAGENET1K_V2") in IMAGENET else "IMAGENET1K_V1"
    digits = IMAGENET.get((name, version))
    if digits is None or weights.partition("_Weights.")[0].lower() != name:
        known = ", ".join(f"ResNet{n.removeprefix('resnet')}_Weights.{v}" for n, v in IMAGENET if n == name)
        raise InputError(
            f"'{weights}' is no weights of {name}", where="pretrained_backbone_weights", todo=f"known: {known}"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{name}-{digits}.pth"
    if not path.is_file():
        _fetch(path, digits)
    found = _digest(path)
    if not found.startswith(digits):
        raise InputError(
            f"is damaged: its SHA-256 begins with {found[:8]}, not {digits}",
            where=str(path),
            todo="delete it, so that it is fetched again",
        )
    return read_pickle(path)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _file(path: Path, allow_pickle: bool) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"there is no file {path}",
            where="pretrained_backbone_weights",
            todo=f"give a safetensors file, a name as ResNet18_Weights.IMAGENET1K_V1, or {OPTION}",
        )
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        header(path)
        return load_file(path)
    if path.suffix not in (".pth", ".pt", ".bin"):
        raise InputError(f"{path.name} is neither safetensors nor .pth", where="pretrained_backbone_weights")
    if not allow_pickle:
        raise InputError(
            f"{path.name} is a pickle, which can run code",
            where="pretrained_backbone_weights",
            todo="convert it to safetensors, or add --policy.allow_pickle_weights to read its tensors",
        )
    return read_pickle(path)


def _fetch(path: Path, digits: str) -> None:
    """The published file into torch's cache: aside, checked, renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=path.name, suffix=".partial", dir=path.parent)
    except OSError as error:
        raise _unobtainable(path, f"{path.parent} cannot be written ({error.strerror})") from None
    try:
        with os.fdopen(handle, "wb") as out:
            _download(SOURCE + path.name, out)
            out.flush()
            os.fsync(out.fileno())
        found = _digest(Path(aside))
        if not found.startswith(digits):
            raise _unobtainable(path, f"what was fetched has SHA-256 {found[:8]}...")
        Path(aside).replace(path)
    finally:
        Path(aside).unlink(missing_ok=True)


def _download(address: str, out: IO[bytes]) -> None:
    name = address.rpartition("/")[2]
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            size = 0
            while block := answer.read(1 << 20):
                size += len(block)
                if size > SIZE_LIMIT:
                    raise _unobtainable(Path(name), "the answer is too large")
                out.write(block)
    except (OSError, urllib.error.URLError, ValueError) as error:
        reason = re.sub(r"\s+", " ", str(getattr(error, "reason", error)))
        raise _unobtainable(Path(name), f"fetching it failed: {reason}") from None


def _unobtainable(path: Path, why: str) -> MissingPart:
    return MissingPart(
        f"{path.name} is not in torch's cache, and {why}",
        where="pretrained_backbone_weights",
        todo=f"put the file into TORCH_HOME/hub/checkpoints, or start from random values with {OPTION}",
    )
