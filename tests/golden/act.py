"""ACT against a golden folder: training loss, gradients, optimiser, evaluation, chunk and control steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rl.nn import checkpoint as checkpoints
from rl.nn.draws import RecordedDraws
from rl.process.pipeline import Processing

Tensors = Mapping[str, torch.Tensor]


def check(folder: Path, golden: Mapping[str, Any], inputs: Mapping[str, np.ndarray], comparison: Any) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    case = Case(folder, golden, inputs, comparison)
    case.processed()
    case.training()
    case.gradients()
    case.all_padded()
    case.evaluation()
    case.chunks()
    case.steps()
    case.optimiser()


class Case:
    """One folder. Every method computes one group of tensors and hands them over."""

    def __init__(
        self, folder: Path, golden: Mapping[str, Any], inputs: Mapping[str, np.ndarray], comparison: Any
    ) -> None:
        self.golden, self.inputs, self.out = golden, inputs, comparison
        self.checkpoint = checkpoints.describe(folder)
        self.old = self.checkpoint.layout == "0.3.3"
        self.policy = checkpoints.load_policy(self.checkpoint)
        # the reference never resizes: pictures enter at the size of the bank, whatever the config says
        self.processing: Processing = checkpoints.load_processing(self.checkpoint).keeping_sizes()
        self.batch = self._batch("batch", tuple(f"batch/{name}" for name in ("action", "action_is_pad")))
        self.ready: Tensors = self.processing.apply(self.batch)

    # --- groups

    def processed(self) -> None:
        for name, value in self.ready.items():
            if name == "action" or name.endswith("_is_pad"):
                self.out.tensor(f"norm/{name}", value)
                continue
            now = value[:, -1]
            self.out.tensor(f"norm/{name}", now)
            if now.dim() == 4:
                self.out.tensor(f"norm/{name}/mean", now.double().mean((-2, -1)))

    def training(self) -> None:
        self.policy.train()
        with torch.no_grad():
            debug = Watch(self.policy)
            made = self.policy.reconstruct(self.ready, self._noise())
            debug.close()
            loss = self.policy.loss(self.ready, self._noise())
        debug.hand_over(self.out)
        self.out.tensor("train/actions_hat", made.actions)
        if made.mu is not None:
            self.out.tensors({"train/mu": made.mu, "train/log_sigma_x2": made.log_sigma_x2})
        self._losses("train_current" if self.old else "train", loss.total, loss.parts)
        if self.old:
            total, parts = self._old_loss()
            self._losses("train", total.detach(), parts)

    def gradients(self) -> None:
        self._gradient("grad", lambda: self._old_loss()[0] if self.old else self._loss())
        if self.old:
            self._gradient("grad_current", self._loss)

    def all_padded(self) -> None:
        padded = dict(self.ready) | {"action_is_pad": torch.ones_like(self.ready["action_is_pad"])}
        self.policy.train()
        with torch.no_grad():
            loss = self.policy.loss(padded, self._noise())
        self._losses("all_padded", loss.total, loss.parts)

    def evaluation(self) -> None:
        self.policy.eval()
        with torch.no_grad():
            loss = self.policy.loss(self.ready, RecordedDraws({}))
        self._losses("eval_current" if self.old else "eval", loss.total, loss.parts)

    def chunks(self) -> None:
        chunk = self._predict(self.ready)
        self.out.tensor("chunk/normalized", chunk)
        self.out.tensor("chunk/action", self.processing.invert_actions(chunk))

    def steps(self) -> None:
        """Through the runtime's queue or ensembler: on the network's values, and on robot units as deployment does."""
        if not any(name.startswith("steps/") for name in self.out.wanted):
            return
        recipe = self.policy.recipe()
        if recipe.ensemble is not None:
            sys.modules["rl_golden_compare"].core()
        observations = self._batch("steps")
        length = len(self.inputs["steps/reset_before"])
        ready = [self._one(observations, i) for i in range(length)]
        seen: dict[int, np.ndarray] = {}

        def network(observation: Mapping[str, Any]) -> np.ndarray:
            i = int(observation["index"])
            if i not in seen:
                seen[i] = self._predict(ready[i])[0].numpy()
            return seen[i]

        def robot(observation: Mapping[str, Any]) -> np.ndarray:
            return np.asarray(self.processing.invert_actions(torch.from_numpy(network(observation))), np.float32)

        for name, infer in {"steps/action_normalized": network, "steps/action": robot}.items():
            actions, queried = self._walk(infer, recipe.execute, recipe.ensemble, length)
            self.out.tensors({name: actions, "steps/queried": queried})

    def optimiser(self) -> None:
        """Four losses on one batch with three steps between; the policy is fresh, as nothing before changed it."""
        if "optimizer" not in self.golden:
            return
        options, policy = self.golden["optimizer"], self.policy.train()
        optimizer = self._optimizer()
        self._check_recipe(options)
        before = {name: p.detach().clone() for name, p in policy.named_parameters()}
        losses, norms = [], []
        noise = self.inputs.get("opt/vae_noise")
        for i in range(len(self.out.wanted.get("opt/loss", (0,) * 4))):
            draws = RecordedDraws({} if noise is None else {"vae_noise": torch.from_numpy(noise[i])})
            loss = policy.loss(self.ready, draws).total
            losses.append(loss.item())
            if i == len(self.out.wanted["opt/total_norm"]):
                break
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norms.append(torch.nn.utils.clip_grad_norm_(policy.parameters(), policy.recipe().clip).item())
            optimizer.step()
        after = dict(policy.named_parameters())
        moved = [(after[n].detach() - before[n]).double().norm() for n in self.golden.get("delta_names", ())]
        self.out.tensors({"opt/loss": losses, "opt/total_norm": norms, "opt/delta_norm": moved})
        self.out.tensors({f"opt/value/{name}": p.detach() for name, p in after.items()})

    # --- parts of them

    def _noise(self) -> RecordedDraws:
        noise = self.inputs.get("train/vae_noise")
        return RecordedDraws({} if noise is None else {"vae_noise": torch.from_numpy(noise)})

    def _loss(self) -> torch.Tensor:
        return self.policy.loss(self.ready, self._noise()).total

    def _old_loss(self) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """The loss of 0.3.3: padded elements count as zero error, but they count."""
        made = self.policy.reconstruct(self.ready, self._noise())
        error = (made.actions - self.ready["action"]).abs() * ~self.ready["action_is_pad"][..., None]
        parts = {"l1_loss": error.mean()}
        total = error.mean()
        if made.mu is not None:
            s = made.log_sigma_x2
            parts["kld_loss"] = (-0.5 * (1 + s - made.mu**2 - s.exp())).sum(-1).mean()
            total = total + self.policy.config.kl_weight * parts["kld_loss"]
        return total, {name: value.detach() for name, value in parts.items()}

    def _losses(self, group: str, total: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> None:
        self.out.tensor(f"{group}/loss", total)
        self.out.tensors({f"{group}/{name}": value for name, value in parts.items()})

    def _gradient(self, group: str, loss: Callable[[], torch.Tensor]) -> None:
        if not any(name.startswith(f"{group}/") for name in self.out.wanted):
            return
        self.policy.train().zero_grad(set_to_none=True)
        loss().backward()
        grads = {n: p.grad for n, p in self.policy.named_parameters() if p.grad is not None}
        norms = {n: float(g.double().norm()) for n, g in grads.items()}  # float64: a float32 sum is off by 1e-4
        total = float(np.sqrt(sum(norm**2 for norm in norms.values())))
        noisy = 1e-5 * float(self.out.wanted.get(f"{group}/total_norm", total))
        zero = set(self.golden.get("grad_zero", ()))
        names = self.golden.get("grad_names", [])
        slack = np.array([noisy if n in zero else 0.0 for n in names])
        self.out.tensor(f"{group}/norm", [norms.get(n, 0.0) for n in names], atol=slack)
        self.out.tensor(f"{group}/total_norm", total)
        groups = {
            "backbone": [n for n in norms if ".backbone." in n],
            "rest": [n for n in norms if ".backbone." not in n],
        }
        for name, members in groups.items():
            self.out.tensor(f"{group}/group_norm/{name}", np.sqrt(sum(norms[n] ** 2 for n in members)))
        for name, grad in grads.items():
            self.out.tensor(f"{group}/value/{name}", grad, atol=noisy if name in zero else 0.0)

    def _predict(self, ready: Tensors) -> torch.Tensor:
        self.policy.eval()
        with torch.no_grad():
            chunk, _ = self.policy.predict(ready, RecordedDraws({}), self.policy.start(1))
        return chunk

    def _walk(
        self, infer: Callable[[Mapping[str, Any]], np.ndarray], execute: int, ensemble: float | None, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        from rl.runtime.stepper import Stepper

        stepper = Stepper(infer, execute, ensemble)
        actions, queried = [], []
        for i, reset in enumerate(self.inputs["steps/reset_before"]):
            if reset:
                stepper.reset()
            action, asked = stepper.step({"index": np.int64(i)})
            actions.append(action)
            queried.append(asked)
        return np.stack(actions), np.array(queried, dtype=bool)

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW with the groups of the policy's own recipe."""
        recipe, rest = self.policy.recipe(), dict(self.policy.named_parameters())
        groups: list[dict[str, Any]] = []
        for group in recipe.groups:
            members = [name for name in rest if any(fnmatch(name, pattern) for pattern in group.params)]
            decay = recipe.weight_decay if group.weight_decay is None else group.weight_decay
            groups.append({"params": [rest.pop(name) for name in members], "lr": group.lr, "weight_decay": decay})
        groups.insert(0, {"params": list(rest.values())})
        return torch.optim.AdamW(
            groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay
        )

    def _check_recipe(self, options: Mapping[str, Any]) -> None:
        """The recipe says what the folder's optimiser says; a difference shows as a miss of every opt/ tensor."""
        recipe = self.policy.recipe()
        told = (recipe.optimizer, recipe.lr, list(recipe.betas), recipe.eps, recipe.weight_decay, recipe.clip)
        keys = ("type", "lr", "betas", "eps", "weight_decay", "grad_clip_norm")
        wanted = tuple(options[key] for key in keys)
        if told != wanted:
            raise AssertionError(f"the recipe says {told}, the folder {wanted}")

    # --- raw batches

    def _batch(self, group: str, more: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
        """Raw observations as the pipeline takes them: vectors (B, 1, n), pictures uint8 (B, 1, H, W, 3)."""
        batch: dict[str, torch.Tensor] = {}
        rows = self.inputs.get(f"{group}/image_index")
        for name, values in self.inputs.items():
            kind, _, feature = name.partition("/")
            if kind == "images" and rows is not None:
                bank = np.moveaxis(values, 1, -1)  # (K, H, W, 3)
                batch[feature] = torch.from_numpy(np.ascontiguousarray(bank[rows]))[:, None]
            elif kind == group and feature.startswith("observation."):
                batch[feature] = torch.from_numpy(np.ascontiguousarray(values))[:, None]
        for name in more:
            batch[name.partition("/")[2]] = torch.from_numpy(np.ascontiguousarray(self.inputs[name]))
        return batch

    def _one(self, observations: Mapping[str, torch.Tensor], i: int) -> Tensors:
        return self.processing.apply({name: values[i : i + 1] for name, values in observations.items()})


class Watch:
    """Intermediate results of one forward: backbone maps of sample 0, and the three transformers, sequence first."""

    def __init__(self, policy: Any) -> None:
        self.cameras = [f"debug/backbone/{camera.name}" for camera in policy.cameras]
        self.maps: list[torch.Tensor] = []
        self.found: dict[str, torch.Tensor] = {}
        self.handles = []
        for name in ("vae_encoder", "encoder", "decoder"):
            if hasattr(policy.model, name):
                module = getattr(policy.model, name)
                self.handles.append(module.register_forward_hook(self._keeper(f"debug/{name}")))
        if self.cameras:
            hook = policy.model.backbone.register_forward_hook(lambda module, given, out: self.maps.append(out[:1]))
            self.handles.append(hook)

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()

    def hand_over(self, comparison: Any) -> None:
        for name, value in (*zip(self.cameras, self.maps, strict=True), *self.found.items()):
            comparison.tensor(name, value)

    def _keeper(self, name: str) -> Callable[..., None]:
        def keep(module: torch.nn.Module, given: Any, out: torch.Tensor) -> None:
            self.found[name] = out.transpose(0, 1)

        return keep
