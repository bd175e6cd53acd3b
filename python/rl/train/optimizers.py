"""Optimisers with parameter groups, from a policy's recipe and the options that replace parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from rl.api.errors import InputError
from rl.api.protocols import Recipe
from rl.train.config import OptimizerOptions

CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class OptimizerFactory:
    """Makes an optimiser for named parameters. A group keeps the ratio of its rate to the recipe's."""

    def __init__(self, recipe: Recipe, options: OptimizerOptions) -> None:
        self.recipe, self.options = recipe, options
        self.name = options.type or recipe.optimizer
        if self.name not in CLASSES:
            raise InputError(
                f"there is no optimiser '{self.name}'", where="optimizer.type", todo=f"known: {', '.join(CLASSES)}"
            )
        self.lr = recipe.lr if options.lr is None else options.lr
        self.weight_decay = recipe.weight_decay if options.weight_decay is None else options.weight_decay
        self.clip = recipe.clip if options.grad_clip_norm is None else options.grad_clip_norm

    def __call__(self, named: Sequence[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        ratio = self.lr / self.recipe.lr
        groups: list[dict[str, Any]] = [{"params": [], "lr": self.lr, "weight_decay": self.weight_decay}]
        for group in self.recipe.groups:
            decay = self.weight_decay if group.weight_decay is None else group.weight_decay
            groups.append({"params": [], "lr": group.lr * ratio, "weight_decay": decay})
        for name, param in named:
            place = next((i for i, g in enumerate(self.recipe.groups, 1) if _fits(name, g.params)), 0)
            groups[place]["params"].append(param)
        filled = [g for g in groups if g["params"]]
        for options in filled:
            options["initial_lr"] = options["lr"]
        return CLASSES[self.name](filled, **self._extras())

    def _extras(self) -> dict[str, Any]:
        if self.name == "sgd":
            return {"lr": self.lr}
        return {
            "lr": self.lr,
            "betas": self.options.betas or self.recipe.betas,
            "eps": self.options.eps or self.recipe.eps,
        }


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
