"""Learning rates over a run, as pure functions of the step: a resumed run needs nothing but its step."""

from __future__ import annotations

import math
from collections.abc import Callable

from rl.api.errors import InputError
from rl.api.protocols import Recipe
from rl.config import nearest
from rl.train.config import SchedulerOptions

Schedule = Callable[[int], float]  # step from 0 -> factor on every group's own rate


def constant(step: int) -> float:
    return 1.0


def constant_with_warmup(warmup: int) -> Schedule:
    """Linear from 0 over `warmup` steps, then 1."""
    return lambda step: min(1.0, (step + 1) / max(1, warmup))


def cosine_decay_with_warmup(warmup: int, decay: int, lowest: float) -> Schedule:
    """Linear rise, then half a cosine to `lowest` (a factor) at step `decay`, then `lowest`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        along = min(1.0, (step - warmup) / max(1, decay - warmup))
        return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * along))

    return factor


def build_schedule(recipe: Recipe, options: SchedulerOptions, steps: int, lr: float) -> tuple[Schedule, str]:
    """The schedule and a sentence that says it. A decay longer than the run is scaled to fit."""
    name = options.type or recipe.schedule
    given = dict(recipe.schedule_options)
    warmup = given.get("num_warmup_steps", 0) if options.num_warmup_steps is None else options.num_warmup_steps
    decay = given.get("num_decay_steps", steps) if options.num_decay_steps is None else options.num_decay_steps
    if decay > steps:
        warmup, decay = round(warmup * steps / decay), steps
    if name == "constant":
        return constant, "constant"
    if name == "constant_with_warmup":
        return constant_with_warmup(warmup), f"constant after {warmup} steps of warm-up"
    if name == "cosine_decay_with_warmup":
        lowest = given.get("decay_lr", 0.0) if options.decay_lr is None else options.decay_lr
        told = f"cosine to {lowest:g} at step {decay} after {warmup} steps of warm-up"
        return cosine_decay_with_warmup(warmup, decay, lowest / lr), told
    known = ("constant", "constant_with_warmup", "cosine_decay_with_warmup")
    raise InputError(f"there is no schedule '{name}'", where="scheduler.type", todo=nearest(name, known))
