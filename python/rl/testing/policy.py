"""The conformance kit for policies: `check_policy` in a test of the plugin's own distribution."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import Any

from rl.api import Feature, Features
from rl.testing import listing
from rl.testing.arrays import batch_of, observation_of
from rl.testing.conformance import Subject, Violation, check_rules, quiet_constructor, require, rule
from rl.testing.programs import eager, run_program, tensor_like

SECONDS = 5.0  # what one training step and one prediction of the `debug` size may cost
MODES = ("mean_std", "min_max", "quantiles", "quantile10", "identity")
CLOSE = 2e-5  # rows are computed in other orders in another batch: not bit for bit


class PolicySubject(Subject):
    """A policy of the `debug` size, with the options given on top, and the features that it is tried with."""

    def __init__(self, name: str, inputs: Features, outputs: Features, options: dict[str, Any]) -> None:
        super().__init__("policy", name, options)
        self.inputs, self.outputs = dict(inputs), dict(outputs)

    def make(self, seed: int = 0, **changed: Any) -> Any:
        import torch

        debug = getattr(self.config_class, "PRESETS", {}).get("debug", {})
        config = self.config(**{**debug, **self.options, **changed})
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return self.implementation(config, self.inputs, self.outputs)

    @cached_property
    def policy(self) -> Any:
        return self.make().eval()

    @property
    def features(self) -> Features:
        return {**self.inputs, **self.outputs}

    def observe(self, rows: int, seed: int = 1) -> dict[str, Any]:
        return observation_of(self.inputs, self.policy.windows().act, rows, seed)

    def batch(self, *padding: str, seed: int = 1) -> dict[str, Any]:
        return batch_of(self.features, self.policy.windows().train, padding, seed)

    def chunk(self, observation: dict[str, Any], draws: Any = None, policy: Any = None) -> tuple[Any, Any]:
        """One prediction without gradients, from the state before an episode."""
        import torch

        policy = policy or self.policy
        with torch.no_grad():
            begin = policy.start(len(next(iter(observation.values()))))
            chunk, after = policy.predict(observation, draws or fresh(), begin)
        return chunk, after


def fresh(seed: int = 3) -> Any:
    """Draws that note what they gave, the same at every call."""
    import torch

    from rl.nn.draws import NotingDraws

    return NotingDraws(torch.Generator().manual_seed(seed))


@rule("is a torch module, made from config and features alone", gate=True)
def is_made_quietly(subject: PolicySubject) -> None:
    import torch

    made = quiet_constructor(subject.make)
    require(isinstance(made, torch.nn.Module), "it is no torch.nn.Module", "derive it from rl.nn.PolicyModule")
    for name in ("windows", "recipe", "objectives", "loss", "after_step", "start", "predict", "program"):
        require(callable(getattr(made, name, None)), f"it has no {name}()", "derive it from rl.nn.PolicyModule")
    named = dict(made.inputs) == subject.inputs and dict(made.outputs) == subject.outputs
    require(
        named, "its inputs and outputs are not the features it was given", "super().__init__(config, inputs, outputs)"
    )


@rule("has a preset `debug`, and its windows and recipe can be used", gate=True)
def declares(subject: PolicySubject) -> None:
    presets = getattr(subject.config_class, "PRESETS", {})
    require("debug" in presets, "its config has no preset 'debug'", 'PRESETS: ClassVar = {"debug": {...}}, tiny')
    windows, recipe = subject.policy.windows(), subject.policy.recipe()
    for what, offsets, known in (("train", windows.train, subject.features), ("act", windows.act, subject.inputs)):
        for name, steps in offsets.items():
            require(
                name in known, f"windows().{what} names '{name}', which it was not given", "use its features' names"
            )
            rising = list(steps) == sorted(set(steps)) and len(steps) > 0
            require(rising, f"windows().{what}['{name}'] {tuple(steps)} is not rising", "sort the offsets")
    ahead = [name for name, steps in windows.act.items() if max(steps) > 0]
    require(not ahead, f"windows().act looks into the future of {', '.join(ahead)}", "only offsets <= 0")
    odd = [mode for mode in recipe.normalise.values() if mode not in MODES]
    require(not odd, f"recipe().normalise has the unknown mode {', '.join(odd)}", f"one of {', '.join(MODES)}")
    require(recipe.lr > 0 and recipe.execute >= 1, "recipe() has a rate or an execution horizon below what is usable")


@rule("the loss is finite on padded batches, and only its draws are random", gate=True)
def loss_is_finite(subject: PolicySubject) -> None:
    import torch

    for padding in (("none", "half", "all"), ("none", "none"), ("all", "all")):
        for objective in subject.policy.objectives():
            policy = copy.deepcopy(subject.policy)
            loss = policy.loss(subject.batch(*padding), fresh(), objective.name)
            what = f"loss '{objective.name}' of a batch with padding {'/'.join(padding)}"
            require(loss.total.shape == (), f"{what} has shape {tuple(loss.total.shape)}", "one number")
            todo = "mind the mask '<name>_is_pad': a row may have no padded step, or one real one"
            require(bool(torch.isfinite(loss.total)), f"{what} is {float(loss.total.detach())}", todo)
            bad = [name for name, part in loss.parts.items() if not bool(torch.isfinite(part).all())]
            require(not bad, f"parts {', '.join(bad)} of {what} are not finite", todo)
            again = copy.deepcopy(subject.policy).loss(subject.batch(*padding), fresh(), objective.name)
            todo = "take random numbers from `draws`, by name"
            require(torch.equal(loss.total, again.total), f"{what} differs at the same draws", todo)


@rule("gradients reach every parameter of an objective")
def gradients_reach(subject: PolicySubject) -> None:
    import torch

    for objective in subject.policy.objectives():
        policy = subject.make().train()
        wanted = {
            name: p
            for name, p in policy.named_parameters()
            if p.requires_grad and any(fnmatchcase(name, pattern) for pattern in objective.params)
        }
        require(bool(wanted), f"objective '{objective.name}' matches no parameter", "its patterns: fnmatch over names")
        policy.loss(subject.batch("none", "half", "all"), fresh(), objective.name).total.backward()
        bare = [name for name, p in wanted.items() if p.grad is None]
        todo = "use it in the loss, take it out of the objective's patterns, or set requires_grad=False"
        what = f"no gradient of '{objective.name}' reaches {', '.join(bare[:4])}" + (" ..." if len(bare) > 4 else "")
        require(not bare, what, todo)
        odd = [name for name, p in wanted.items() if not bool(torch.isfinite(p.grad).all())]
        require(
            not odd,
            f"the gradient of '{objective.name}' is not finite at {', '.join(odd[:4])}",
            "mind roots and logs at 0",
        )


@rule("predict returns a chunk, and a state of start's keys and shapes", gate=True)
def predicts(subject: PolicySubject) -> None:
    import torch

    (action,) = (f for f in subject.outputs.values() if f.kind == "action")
    execute = subject.policy.recipe().execute
    for rows in (1, 3):
        begin = subject.policy.start(rows)
        chunk, after = subject.chunk(subject.observe(rows))
        fits = chunk.ndim == 3 and (len(chunk), *chunk.shape[2:]) == (rows, *action.shape)
        require(fits, f"the chunk has shape {tuple(chunk.shape)} for {rows} rows", f"(B, Ta, {action.shape[0]})")
        require(chunk.shape[1] >= execute, f"the chunk has {chunk.shape[1]} rows, recipe().execute is {execute}")
        require(bool(torch.isfinite(chunk).all()), "the chunk is not finite")
        same = {n: (v.shape, v.dtype) for n, v in begin.items()} == {n: (v.shape, v.dtype) for n, v in after.items()}
        told = {name: tuple(v.shape) for name, v in after.items()}
        require(
            same, f"predict returns the state {told} for {rows} rows, start gave another", "same names, shapes, dtypes"
        )


@rule("predict is pure: it changes nothing and remembers nothing")
def is_pure(subject: PolicySubject) -> None:
    import torch

    policy, seen = subject.policy, subject.observe(2)
    held = {**dict(policy.named_parameters()), **dict(policy.named_buffers())}
    before = {name: t.detach().clone() for name, t in held.items()}
    given = {name: t.clone() for name, t in seen.items()}
    generator = torch.get_rng_state()
    first, _ = subject.chunk(seen)
    todo = "take random numbers from `draws`, by name"
    require(torch.equal(generator, torch.get_rng_state()), "predict draws from torch's own generator", todo)
    changed = [name for name, t in held.items() if not torch.equal(t, before[name])]
    require(not changed, f"predict changes {', '.join(changed[:3])}", "pass what must be remembered as state")
    touched = [name for name, t in seen.items() if not torch.equal(t, given[name])]
    require(not touched, f"predict changes its input {', '.join(touched)}", "no operation in place on what it is given")
    subject.chunk(subject.observe(2, seed=9))
    again, _ = subject.chunk(seen)
    what = "predict gives another chunk for the same observation, draws and state"
    require(torch.equal(first, again), what, "pass what must be remembered as state: no queue, no counter")


@rule("rows of a batch do not mix")
def rows_do_not_mix(subject: PolicySubject) -> None:
    seen, other = subject.observe(3), subject.observe(3, seed=9)
    changed = {name: t.clone() for name, t in seen.items()}
    for name, t in other.items():
        changed[name][1] = t[1]
    first, second = subject.chunk(seen)[0], subject.chunk(changed)[0]
    rest = max(float((first - second)[i].abs().max()) for i in (0, 2))
    todo = "no means, normalisation or flattening over dimension 0"
    require(rest <= CLOSE, f"rows of a batch mix: row 0 or 2 of the chunk moved by {rest:.2g} as row 1 changed", todo)


@rule("saved and loaded, it gives the same chunk")
def survives_saving(subject: PolicySubject) -> None:
    import torch
    from safetensors.torch import load, save

    tensors = {name: t.contiguous().clone() for name, t in subject.policy.state_dict().items()}
    other = subject.make(seed=5).eval()
    todo = "keep what predict needs in parameters or buffers"
    other.load_state_dict(load(save(tensors)), strict=True)
    seen = subject.observe(2)
    same = torch.equal(subject.chunk(seen)[0], subject.chunk(seen, policy=other)[0])
    require(same, "another instance with the same weights gives another chunk", todo)
    with TemporaryDirectory() as folder:
        stored = _through_checkpoint(subject, folder).eval()
        same = torch.equal(subject.chunk(seen)[0], subject.chunk(seen, policy=stored)[0])
        require(same, "read from its checkpoint it gives another chunk", todo)


def _through_checkpoint(subject: PolicySubject, folder: str) -> Any:
    """The policy as `rl train` writes it and `rl export` reads it."""
    from pathlib import Path

    from rl.nn import checkpoint
    from rl.process.pipeline import Processing

    target = Path(folder) / "pretrained_model"
    about = checkpoint.About(fps=30.0)
    checkpoint.save(target, subject.policy, subject.spec.name, Processing((), ()), about, train_config=None)
    return checkpoint.load_policy(checkpoint.describe(target))


@rule("its program gives what predict gives")
def program_has_parity(subject: PolicySubject) -> None:
    import torch

    from rl.nn.draws import RecordedDraws

    seen = subject.observe(1)
    program = subject.policy.program(seen)
    for seed in (1, 9):
        seen = subject.observe(1, seed)
        noted = fresh(seed)
        chunk, after = subject.chunk(seen, noted)
        drawn = noted.values()
        declared = {draw.name: tuple(draw.shape) for draw in program.draws}
        asked = {name: tuple(t.shape) for name, t in drawn.items()}
        require(
            declared == asked, f"program().draws are {declared}, predict asks for {asked}", "declare the same draws"
        )
        again, _ = subject.chunk(seen, RecordedDraws(drawn))
        require(
            torch.equal(chunk, again), "predict gives another chunk when its draws are recorded", "name each draw once"
        )
        values = run_program(program, eager(program), {**seen, **drawn, **subject.policy.start(1)}, tensor_like)
        require(program.chunk in values, f"no call gives program().chunk '{program.chunk}'")
        off = float((values[program.chunk] - chunk).abs().max())
        require(off <= CLOSE, f"its program's chunk is off by {off:.2g} from predict", "the same arithmetic in both")
        for output, place in program.state.items():
            off = float((values[output] - after[place]).abs().max())
            require(off <= CLOSE, f"its program's state '{place}' is off by {off:.2g} from predict")


def _debug_cost(subject: PolicySubject) -> float:
    begin = time.process_time()
    policy = subject.make().train()
    for objective in policy.objectives():
        policy.loss(subject.batch("none", "half"), fresh(), objective.name).total.backward()
    subject.chunk(subject.observe(1), policy=policy.eval())
    return time.process_time() - begin


@rule("the size `debug` trains a step and predicts in 5 s of CPU")
def debug_is_small(subject: PolicySubject) -> None:
    took = min(_debug_cost(subject) for _ in range(2))  # the first may pay for what torch imports late
    require(took <= SECONDS, f"the size 'debug' took {took:.1f} s", "make the preset smaller")


RULES = (
    *listing.RULES,
    is_made_quietly,
    declares,
    loss_is_finite,
    gradients_reach,
    predicts,
    is_pure,
    rows_do_not_mix,
    survives_saving,
    program_has_parity,
    debug_is_small,
)


def subject(name: str, options: dict[str, Any]) -> PolicySubject:
    """The policy with the first set of usual features that it accepts: an arm's state, and a small picture."""
    state = Feature("observation.state", "state", (6,), unit="deg")
    image = Feature("observation.images.front", "image", (64, 64, 3), "uint8")
    action = Feature("action", "action", (6,), unit="deg")
    tried = [
        PolicySubject(name, {f.name: f for f in some}, {action.name: action}, options)
        for some in ((state, image), (state,))
    ]
    for one in tried:
        try:
            one.policy.program(one.observe(1))
        except Exception:  # noqa: BLE001  the rules will tell: this only looks for features that fit
            continue
        return one
    return tried[0]


def check_policy(name: str, inputs: Features, outputs: Features, /, **options: Any) -> None:
    """Raises Violation, one line, for the first rule of the contract that the policy breaks.

    inputs, outputs: features to try it with. options: its own, on top of the preset `debug`.
    Errors: MissingPart when something it needs is not installed.
    """
    with one_thread():
        check_rules(PolicySubject(name, inputs, outputs, options), RULES)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one thread have one order: the same numbers give the same result."""
    try:
        import torch
    except ModuleNotFoundError:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


__all__ = ["RULES", "PolicySubject", "Violation", "check_policy", "subject"]
