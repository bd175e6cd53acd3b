"""Action chunking with transformers (Zhao et al. 2023, arXiv 2304.13705)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rl.api import Feature, Features, InputError
from rl.api.protocols import Draws, Group, Loss, Prefix, Program, Recipe, Windows
from rl.nn import PolicyModule
from rl.nn.module import whole_program
from rl.plugins.act.network import ACT, Reconstruction, absolute_error, divergence, latent_of
from rl.process.modes import modes_by_kind

if TYPE_CHECKING:
    from rl.api.protocols import Batch


class ACTPolicy(PolicyModule):
    """One observation to the next `chunk_size` actions. Tensor names are LeRobot's.

    inputs: `observation.state` (optional), features of kind image in the order of their tokens, at most one of kind
    environment_state. outputs: one of kind action. Errors: InputError when there is neither picture nor environment
    state, or a picture is not RGB.
    """

    def __init__(self, config: Any, inputs: Features, outputs: Features) -> None:
        super().__init__(config, inputs, outputs)
        self.action = self._action()
        self.state = next(
            (f for f in self.inputs.values() if f.kind == "state" and f.name == "observation.state"), None
        )
        self.environment = self.only("environment_state") if self.named("environment_state") else None
        self.cameras = [f for f in self.inputs.values() if f.kind == "image"]
        self._check()
        self.model = ACT(
            config,
            state=self.state.shape[0] if self.state else None,
            environment=self.environment.shape[0] if self.environment else None,
            cameras=bool(self.cameras),
            action=self.action.shape[0],
        )

    def prepare(self) -> None:
        """The backbone's pretrained weights. Errors: MissingPart when they cannot be had, never silently random."""
        if self.cameras and self.config.pretrained_backbone_weights is not None:
            from rl.nn.pretrained import load_resnet

            load_resnet(
                self.model.backbone,
                self.config.vision_backbone,
                self.config.pretrained_backbone_weights,
                allow_pickle=self.config.allow_pickle_weights,
            )

    def windows(self) -> Windows:
        return Windows(train={self.action.name: tuple(range(self.config.chunk_size))}, act={})

    def recipe(self) -> Recipe:
        config = self.config
        groups = (Group(("model.backbone.*",), lr=config.optimizer_lr_backbone),) if self.cameras else ()
        return Recipe(
            "adamw",
            config.optimizer_lr,
            weight_decay=config.optimizer_weight_decay,
            clip=10.0,
            groups=groups,
            normalise=modes_by_kind(config.normalization_mapping),
            execute=config.n_action_steps,
            ensemble=config.temporal_ensemble_coeff,
        )

    def loss(self, batch: Batch, draws: Draws, objective: str = "policy") -> Loss:
        """Mean absolute error of the real steps, plus the weighted KL part while the VAE learns (training mode)."""
        made = self.reconstruct(batch, draws)
        error = absolute_error(made.actions, batch[self.action.name], batch[f"{self.action.name}_is_pad"])
        if made.mu is None or made.log_sigma_x2 is None:
            return Loss(error, {"l1_loss": error.detach()})
        kld = divergence(made.mu, made.log_sigma_x2)
        return Loss(error + self.config.kl_weight * kld, {"l1_loss": error.detach(), "kld_loss": kld.detach()})

    def reconstruct(self, batch: Batch, draws: Draws) -> Reconstruction:
        """The chunk for a batch with its actions: their latent in training mode with the VAE, else a zero latent."""
        mu = log_sigma_x2 = None
        if self.training and self.config.use_vae:
            actions = batch[self.action.name]  # (B, T, A)
            mu, log_sigma_x2 = self.model.encode_actions(
                self._now(batch, self.state), actions, batch[f"{self.action.name}_is_pad"]
            )
            latent = latent_of(mu, log_sigma_x2, draws.normal("vae_noise", tuple(mu.shape)))
        else:
            latent = self._no_latent(batch)
        return Reconstruction(self._chunk(batch, latent), mu, log_sigma_x2)

    def predict(
        self, observation: Batch, draws: Draws, state: Batch, prefix: Prefix | None = None
    ) -> tuple[Tensor, Batch]:
        return self._chunk(observation, self._no_latent(observation)), {}

    def program(self, sample: Batch) -> Program:
        """One graph, without what only training uses: no VAE encoder, batch norms folded into the convolutions."""
        used = {f.name: sample[f.name] for f in (self.state, self.environment, *self.cameras) if f is not None}
        twin = copy.copy(self)
        twin._modules = {"model": _for_inference(self.model, [used[camera.name][:, -1] for camera in self.cameras])}
        return whole_program(twin, used)

    def _chunk(self, batch: Batch, latent: Tensor) -> Tensor:
        images = [batch[camera.name][:, -1] for camera in self.cameras]  # each (B, 3, H, W)
        return self.model(self._now(batch, self.state), self._now(batch, self.environment), images, latent)

    def _no_latent(self, batch: Batch) -> Tensor:
        some = next(batch[f.name] for f in (*self.cameras, self.environment, self.state) if f is not None)
        return torch.zeros(some.shape[0], self.config.latent_dim, device=some.device, dtype=some.dtype)

    @staticmethod
    def _now(batch: Batch, feature: Feature | None) -> Tensor | None:
        return None if feature is None else batch[feature.name][:, -1]

    def _action(self) -> Feature:
        found = [f for f in self.outputs.values() if f.kind == "action"]
        if len(found) != 1:
            raise InputError(f"wants one output of kind action, there are {len(found)}", where="act")
        return found[0]

    def _check(self) -> None:
        if not self.cameras and self.environment is None:
            raise InputError(
                "needs at least one picture or the environment's state",
                where="act",
                todo=f"the data set gives: {', '.join(self.inputs) or 'nothing'}",
            )
        for camera in self.cameras:
            if camera.shape[-1] != 3:
                raise InputError(f"'{camera.name}' has {camera.shape[-1]} channels, not 3 (RGB)", where="act")
        for vector in (self.state, self.environment, self.action):
            if vector is not None and len(vector.shape) != 1:
                raise InputError(f"'{vector.name}' has shape {vector.shape}, not one axis", where="act")


def _for_inference(model: ACT, images: list[Tensor]) -> ACT:
    """A copy for pictures of these sizes that shares its weights, save the folded backbone, without the VAE."""
    twin = copy.copy(model)
    twin._modules = {name: module for name, module in model._modules.items() if not name.startswith("vae_encoder")}
    twin._buffers = {name: buffer for name, buffer in model._buffers.items() if not name.startswith("vae_encoder")}
    if images:
        twin._modules["backbone"] = model.backbone.folded()
        with torch.no_grad():
            twin.fixed_positions = tuple(model.positions_of(model.backbone(image)) for image in images)
    return twin
