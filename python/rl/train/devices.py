"""Where the arithmetic runs and in which precision."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch

from rl.api.errors import InputError, MissingPart
from rl.train.config import Precision


class Device:
    """A torch device with a precision. `auto` takes CUDA, then MPS, then the CPU; a named one must be there."""

    def __init__(self, name: str, precision: Precision) -> None:
        self.name = _chosen(name)
        self.device = torch.device(self.name)
        self.precision = precision
        if precision == "fp16" and self.device.type != "cuda":
            raise InputError(
                f"fp16 needs a GPU, the device is {self.name}", where="precision", todo="use --precision bf16"
            )

    def put(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays as tensors on the device; texts stay as they are."""
        moved: dict[str, Any] = {}
        for name, value in batch.items():
            if isinstance(value, (list, tuple)):
                moved[name] = value
                continue
            tensor = torch.as_tensor(value)
            moved[name] = tensor.to(self.device, non_blocking=True) if self.device.type != "cpu" else tensor
        return moved

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Mixed precision of the forward pass; nothing in fp32."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss in fp16; does nothing otherwise."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")


def _chosen(name: str) -> str:
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(
            f"there is no device '{name}'", where="device", todo="use auto, cpu, cuda, cuda:1 or mps"
        ) from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise MissingPart(f"device '{name}' is not there", where="device", todo="use --device auto or --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MissingPart("device 'mps' is not there", where="device", todo="use --device auto or --device cpu")
    return name
