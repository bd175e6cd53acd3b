"""The network of ACT (Zhao et al. 2023, arXiv 2304.13705), as LeRobot has it: names, order and arithmetic.

B batch, T chunk, A action, S state and D model width. Sequences are (B, length, D).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl.nn.resnet import ResNet


class Reconstruction(NamedTuple):
    """What the network makes of a batch."""

    actions: Tensor  # (B, T, A), normalised
    mu: Tensor | None  # (B, L) mean of the latent; None when the VAE did not run
    log_sigma_x2: Tensor | None  # (B, L) log of its variance


class Attention(nn.Module):
    """Multi-head attention under torch's own tensor names; rows of `in_proj_weight` are q, k, v."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None = None) -> Tensor:
        """(B, n, D) from queries (B, n, D), keys and values (B, m, D). ignored: (B, m) bool, true is not looked at."""
        width = query.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is key:
            qk = F.linear(query, weight[: 2 * width], bias[: 2 * width])
            q, k = qk[..., :width], qk[..., width:]
        else:
            q = F.linear(query, weight[:width], bias[:width])
            k = F.linear(key, weight[width : 2 * width], bias[width : 2 * width])
        v = F.linear(value, weight[2 * width :], bias[2 * width :])
        seen = None if ignored is None else ~ignored[:, None, None, :]
        mixed = F.scaled_dot_product_attention(
            self._split(q), self._split(k), self._split(v), seen, self.dropout if self.training else 0.0
        )
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, x.shape[-1] // self.heads)).transpose(1, 2)  # (B, heads, n, D / heads)


class _Block(nn.Module):
    """What both kinds of layer share: the feed-forward part and the dropout before each residual sum."""

    def __init__(self, config) -> None:
        super().__init__()
        width = config.dim_model
        self.pre_norm = config.pre_norm
        self.self_attn = Attention(width, config.n_heads, config.dropout)
        self.linear1 = nn.Linear(width, config.dim_feedforward)
        self.linear2 = nn.Linear(config.dim_feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.activation: Callable[[Tensor], Tensor] = F.relu if config.feedforward_activation == "relu" else F.gelu
        self.rate = config.dropout

    def feed(self, x: Tensor) -> Tensor:
        return self.drop(self.linear2(self.drop(self.activation(self.linear1(x)))))

    def drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.rate, self.training)


class EncoderLayer(_Block):
    def forward(self, x: Tensor, position: Tensor, ignored: Tensor | None) -> Tensor:
        if self.pre_norm:
            y = self.norm1(x)
            x = x + self.drop(self._attend(y, position, ignored))
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + self.drop(self._attend(x, position, ignored)))
        return self.norm2(x + self.feed(x))

    def _attend(self, x: Tensor, position: Tensor, ignored: Tensor | None) -> Tensor:
        placed = x + position
        return self.self_attn(placed, placed, x, ignored)


class DecoderLayer(_Block):
    def __init__(self, config) -> None:
        super().__init__(config)
        self.multihead_attn = Attention(config.dim_model, config.n_heads, config.dropout)
        self.norm3 = nn.LayerNorm(config.dim_model)

    def forward(self, x: Tensor, memory: Tensor, slots: Tensor, position: Tensor) -> Tensor:
        """x: (B, T, D); slots: position (1, T, D) of each action; memory, position: the encoder's (B, n, D)."""
        if self.pre_norm:
            y = self.norm1(x)
            x = x + self.drop(self.self_attn(placed := y + slots, placed, y))
            x = x + self.drop(self.multihead_attn(self.norm2(x) + slots, memory + position, memory))
            return x + self.feed(self.norm3(x))
        placed = x + slots
        x = self.norm1(x + self.drop(self.self_attn(placed, placed, x)))
        x = self.norm2(x + self.drop(self.multihead_attn(x + slots, memory + position, memory)))
        return self.norm3(x + self.feed(x))


class Encoder(nn.Module):
    """Layers, and a norm at the end when they normalise first."""

    def __init__(self, config, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(count))
        self.norm = nn.LayerNorm(config.dim_model) if config.pre_norm else nn.Identity()

    def forward(self, x: Tensor, position: Tensor, ignored: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, position, ignored)
        return self.norm(x)


class Decoder(nn.Module):
    def __init__(self, config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_decoder_layers))
        self.norm = nn.LayerNorm(config.dim_model)

    def forward(self, x: Tensor, memory: Tensor, slots: Tensor, position: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, memory, slots, position)
        return self.norm(x)


class ACT(nn.Module):
    """Observations (and, when it learns, actions) to a chunk of actions.

    state, environment: feature sizes, None when there is no such feature. cameras: whether there are pictures.
    """

    def __init__(self, config, *, state: int | None, environment: int | None, cameras: bool, action: int) -> None:
        super().__init__()
        width, latent = config.dim_model, config.latent_dim
        self.width, self.latent, self.chunk = width, latent, config.chunk_size
        if config.use_vae:
            self.vae_encoder = Encoder(config, config.n_vae_encoder_layers)
            self.vae_encoder_cls_embed = nn.Embedding(1, width)
            if state is not None:
                self.vae_encoder_robot_state_input_proj = nn.Linear(state, width)
            self.vae_encoder_action_input_proj = nn.Linear(action, width)
            self.vae_encoder_latent_output_proj = nn.Linear(width, 2 * latent)
            tokens = config.chunk_size + (1 if state is None else 2)
            self.register_buffer("vae_encoder_pos_enc", torch.from_numpy(sinusoids(tokens, width))[None])
        if cameras:
            self.backbone = ResNet(config.vision_backbone, dilated=config.replace_final_stride_with_dilation)
            self.encoder_img_feat_input_proj = nn.Conv2d(self.backbone.channels, width, 1)
        self.encoder, self.decoder = Encoder(config, config.n_encoder_layers), Decoder(config)
        if state is not None:
            self.encoder_robot_state_input_proj = nn.Linear(state, width)
        if environment is not None:
            self.encoder_env_state_input_proj = nn.Linear(environment, width)
        self.encoder_latent_input_proj = nn.Linear(latent, width)
        self.encoder_1d_feature_pos_embed = nn.Embedding(1 + (state is not None) + (environment is not None), width)
        self.decoder_pos_embed = nn.Embedding(config.chunk_size, width)
        self.action_head = nn.Linear(width, action)
        self.fixed_positions: tuple[Tensor, ...] = ()  # of each camera, where sizes are known once and for all
        self._tables: dict[tuple[int, int, torch.device, torch.dtype], Tensor] = {}
        for parameter in (*self.encoder.parameters(), *self.decoder.parameters()):
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, state: Tensor | None, environment: Tensor | None, images: list[Tensor], latent: Tensor) -> Tensor:
        """(B, T, A) from state (B, S), environment (B, E), pictures (B, 3, H, W) of any sizes, latent (B, L)."""
        memory, position = self._observed(state, environment, images, latent)
        slots = self.decoder_pos_embed.weight[None]  # (1, T, D)
        empty = memory.new_zeros(latent.shape[0], self.chunk, self.width)
        return self.action_head(self.decoder(empty, memory, slots, position))

    def encode_actions(self, state: Tensor | None, actions: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior of the latent: mean and log variance, each (B, L). actions: (B, T, A); padded: (B, T) bool."""
        rows = actions.shape[0]
        tokens = [self.vae_encoder_cls_embed.weight.expand(rows, 1, -1)]
        if state is not None:
            tokens.append(self.vae_encoder_robot_state_input_proj(state)[:, None])
        seen = padded.new_zeros(rows, len(tokens))
        tokens.append(self.vae_encoder_action_input_proj(actions))
        ignored = torch.cat([seen, padded], 1)
        first = self.vae_encoder(torch.cat(tokens, 1), self.vae_encoder_pos_enc, ignored)[:, 0]
        mu, log_sigma_x2 = self.vae_encoder_latent_output_proj(first).split(self.latent, -1)
        return mu, log_sigma_x2

    def _observed(
        self, state: Tensor | None, environment: Tensor | None, images: list[Tensor], latent: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The encoder's output and positions, (B, n, D) and (1, n, D): latent, state, environment, then pixels."""
        tokens = [self.encoder_latent_input_proj(latent)]
        if state is not None:
            tokens.append(self.encoder_robot_state_input_proj(state))
        if environment is not None:
            tokens.append(self.encoder_env_state_input_proj(environment))
        sequence, positions = [torch.stack(tokens, 1)], [self.encoder_1d_feature_pos_embed.weight]
        for camera, image in enumerate(images):
            pixels = self.encoder_img_feat_input_proj(self._seen(image))  # (B, D, h, w)
            sequence.append(pixels.flatten(2).transpose(1, 2))
            positions.append(self.fixed_positions[camera] if self.fixed_positions else self.positions_of(pixels))
        position = torch.cat(positions)[None]
        return self.encoder(torch.cat(sequence, 1), position), position

    def _seen(self, image: Tensor) -> Tensor:
        """The backbone's map of pictures (B, 3, H, W); the fast way when no gradient or graph is wanted."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing() or self.training:
            return self.backbone(image)
        return self.backbone.inferred(image)

    def positions_of(self, pixels: Tensor) -> Tensor:
        """Positions (h * w, D) of the pixels of a map (B, D, h, w), kept for each size."""
        height, width = pixels.shape[-2:]
        key = (height, width, pixels.device, self.action_head.weight.dtype)
        if key in self._tables:
            return self._tables[key]
        table = torch.from_numpy(pixel_positions(height, width, self.width)).to(key[2], key[3])
        if not torch.compiler.is_compiling():  # a traced tensor is no value to keep
            self._tables[key] = table
        return table


def sinusoids(count: int, width: int) -> np.ndarray:
    """(count, width) float32: sin for even columns, cos for odd, of i / 10000^(2 floor(j / 2) / width).

    Computed in float64 and rounded once, which gives the tables of LeRobot's files bit for bit.
    """
    column = np.arange(width)
    angle = np.arange(count)[:, None] / np.power(10000.0, 2 * (column // 2) / width)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


def pixel_positions(height: int, width: int, model: int) -> np.ndarray:
    """(height * width, model) float32: the first half of the columns from the row, the second from the column.

    Positions start at 1 and are divided by (size + 1e-6), times 2 pi; frequencies 10000^(2 floor(j / 2) / half); sin
    and cos alternate. In float32, as LeRobot computes them.
    """
    half = model // 2
    column = np.arange(half)
    frequency = np.power(np.float32(10000), (2 * (column // 2) / half).astype(np.float32)).astype(np.float32)

    def along(size: int) -> np.ndarray:
        places = np.arange(1, size + 1, dtype=np.float32) / np.float32(size + 1e-6) * np.float32(2 * np.pi)
        angle = places[:, None] / frequency  # (size, half)
        return np.where(column % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)

    rows, columns = along(height), along(width)
    both = np.concatenate(
        [np.broadcast_to(rows[:, None], (height, width, half)), np.broadcast_to(columns[None], (height, width, half))],
        -1,
    )
    return both.reshape(height * width, model)


def latent_of(mu: Tensor, log_sigma_x2: Tensor, noise: Tensor) -> Tensor:
    """A draw of the posterior: mu + sigma * noise, all (B, L)."""
    return mu + (log_sigma_x2 / 2).exp() * noise


def absolute_error(predicted: Tensor, wanted: Tensor, padded: Tensor) -> Tensor:
    """Mean |predicted - wanted| over the steps that are real, of the whole batch at once; 0 when none is. ()"""
    real = ~padded
    total = ((predicted - wanted).abs() * real[..., None]).sum()
    return total / (real.sum() * wanted.shape[-1]).clamp(min=1)


def divergence(mu: Tensor, log_sigma_x2: Tensor) -> Tensor:
    """KL of the posterior against a standard normal: sum over the latent, mean over the batch. ()"""
    return (-0.5 * (1 + log_sigma_x2 - mu.square() - log_sigma_x2.exp())).sum(-1).mean()
