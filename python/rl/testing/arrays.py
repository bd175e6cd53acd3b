"""Batches and observations of the right shapes for any features: what the policy rules are tried with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rl.api import Feature, Features

if TYPE_CHECKING:
    import torch


def tensor_of(feature: Feature, rows: int, steps: int, generator: torch.Generator) -> torch.Tensor:
    """Normalised values of a feature: (rows, steps, *shape), images (rows, steps, C, H, W), language (rows, L)."""
    import torch

    shape: tuple[int, ...] = (rows, steps, *feature.shape)
    if feature.kind == "image":
        height, width, channels = feature.shape
        shape = (rows, steps, channels, height, width)
    elif feature.kind == "language":
        shape = (rows, *feature.shape)
    dtype = "float32" if feature.kind == "image" else feature.dtype
    if dtype == "bool":
        return torch.rand(shape, generator=generator) < 0.5
    if "int" in dtype:
        return torch.randint(2, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def observation_of(inputs: Features, act: Mapping[str, Sequence[int]], rows: int, seed: int) -> dict[str, Any]:
    """What `predict` takes: every input with the offsets that the policy acts on."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return {name: tensor_of(f, rows, len(act.get(name, (0,))), generator) for name, f in inputs.items()}


def batch_of(
    features: Features, train: Mapping[str, Sequence[int]], padding: Sequence[str], seed: int
) -> dict[str, Any]:
    """What `loss` takes. padding: for each row "none", "half" (of the steps after now) or "all" (but now)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    batch: dict[str, Any] = {}
    for name, feature in features.items():
        offsets = train.get(name, (0,))
        batch[name] = tensor_of(feature, len(padding), len(offsets), generator)
        if feature.kind != "language":
            batch[f"{name}_is_pad"] = torch.tensor([_padded(offsets, kind) for kind in padding])
    return batch


def _padded(offsets: Sequence[int], kind: str) -> list[bool]:
    last, first = max((*offsets, 0)), min((*offsets, 0))
    keep = {"none": (first, last), "half": (0, last // 2), "all": (0, 0)}[kind]
    return [not keep[0] <= offset <= keep[1] for offset in offsets]
