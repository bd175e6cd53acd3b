"""One optimisation step of every objective whose turn it is. Holds every method: one loss, two phases, several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rl.api.errors import InputError, RlError
from rl.api.protocols import Objective

if TYPE_CHECKING:
    from rl.api.protocols import Draws, Loss
    from rl.train.devices import Device
    from rl.train.optimizers import OptimizerFactory


class LossModule(nn.Module):
    """`policy.loss` as a forward pass: what wrappers for several devices or compilation take hold of."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, batch: Mapping[str, Any], draws: Draws, objective: str) -> Loss:
        found: Loss = self.policy.loss(batch, draws, objective)
        return found


class Learner:
    """Lowers the objectives of a policy, each with an optimiser of its own."""

    def __init__(self, policy: Any, device: Device, make: OptimizerFactory) -> None:
        self.policy, self.device, self.clip = policy, device, make.clip
        self.model = LossModule(policy)
        self.scaler = device.scaler()
        self.turns: list[tuple[Objective, list[nn.Parameter], torch.optim.Optimizer]] = []
        for objective in policy.objectives():
            named = matching(policy, objective)
            self.turns.append((objective, [p for _, p in named], make(named)))

    def step(self, step: int, batch: Mapping[str, Any], draws: Draws, rate: float) -> dict[str, Tensor]:
        """Lowers every objective that is due; returns the parts of the losses, still on the device.

        `rate` scales each group's own learning rate. Errors: RlError before any weight is touched when the loss or
        its gradient is not finite.
        """
        parts: dict[str, Tensor] = {}
        for objective, params, optimizer in self.turns:
            if not due(objective, step):
                continue
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate
            with self.device.autocast():
                loss = self.model(batch, draws, objective.name)
            optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss.total).backward()
            self.scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(params, self.clip if self.clip > 0 else float("inf"))
            if not torch.isfinite(norm) and not self.scaler.is_enabled():  # one wait a step: never step on a NaN
                raise NotFinite(objective.name, float(loss.total.detach()), float(norm))
            self.scaler.step(optimizer)
            self.scaler.update()
            parts |= {"loss" if len(self.turns) == 1 else f"{objective.name}_loss": loss.total.detach()}
            parts |= {name: value for name, value in loss.parts.items() if name not in parts}
            parts |= {"grdn" if len(self.turns) == 1 else f"{objective.name}_grdn": norm.detach()}
        self.policy.after_step(step)
        return parts

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {objective.name: optimizer for objective, _, optimizer in self.turns}


class NotFinite(RlError):
    """A loss or gradient that is not a number."""

    def __init__(self, objective: str, loss: float, norm: float) -> None:
        super().__init__(f"the loss of '{objective}' is {loss} and its gradient's norm {norm}")


def matching(policy: nn.Module, objective: Objective) -> list[tuple[str, nn.Parameter]]:
    """The trainable parameters that an objective lowers, by name."""
    named = [
        (name, param)
        for name, param in policy.named_parameters()
        if param.requires_grad and any(fnmatchcase(name, pattern) for pattern in objective.params)
    ]
    if not named:
        raise InputError(
            f"objective '{objective.name}' has no parameters: {', '.join(objective.params)}", where="policy"
        )
    return named


def due(objective: Objective, step: int) -> bool:
    """Whether it is this objective's turn at a step of the loop (steps count from 0)."""
    started = step >= objective.start and (objective.stop is None or step < objective.stop)
    return started and (step - objective.start) % objective.every == 0


def parameters_of(turns: Sequence[tuple[Objective, list[nn.Parameter], Any]]) -> int:
    """How many numbers are learnt."""
    return sum(p.numel() for p in {id(p): p for _, params, _ in turns for p in params}.values())
