"""Options of ACT: LeRobot's fields under LeRobot's names and defaults."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from rl.api import InputError
from rl.config import doc
from rl.process.modes import lerobot_modes, modes_by_kind

NORMALISATION = {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}


@dataclass(frozen=True, kw_only=True)
class ACTConfig:
    """Action chunking with transformers (arXiv 2304.13705)."""

    n_obs_steps: Annotated[int, doc("observations given to the policy; ACT takes one", unit="steps", ge=1, le=1)] = 1
    chunk_size: Annotated[int, doc("actions predicted at once", unit="steps", ge=1, le=10_000)] = 100
    n_action_steps: Annotated[
        int | None,
        doc("actions used of each chunk; null: the whole chunk, or 1 with temporal_ensemble_coeff", unit="steps", ge=1),
    ] = None
    normalization_mapping: Annotated[
        dict[str, str],
        doc("feature type (VISUAL, STATE, ENV, ACTION) to MEAN_STD, MIN_MAX, QUANTILES, QUANTILE10 or IDENTITY"),
    ] = field(default_factory=lambda: dict(NORMALISATION))
    vision_backbone: Annotated[
        Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"], doc("network that sees the pictures")
    ] = "resnet18"
    pretrained_backbone_weights: Annotated[
        str | None,
        doc(
            "what the backbone starts from: ResNet18_Weights.IMAGENET1K_V1 or the like, a safetensors or .pth file; "
            "null: random values"
        ),
    ] = "ResNet18_Weights.IMAGENET1K_V1"
    replace_final_stride_with_dilation: Annotated[
        bool, doc("dilate the backbone's last stage: a map twice as fine (resnet50 and deeper)")
    ] = False
    pre_norm: Annotated[bool, doc("layer norm before each block of the transformer, not after")] = False
    dim_model: Annotated[int, doc("width of the transformer; divisible by n_heads and by 4", ge=4, le=16_384)] = 512
    n_heads: Annotated[int, doc("attention heads", ge=1, le=256)] = 8
    dim_feedforward: Annotated[int, doc("width inside the feed-forward blocks", ge=1, le=131_072)] = 3200
    feedforward_activation: Annotated[Literal["relu", "gelu"], doc("activation of the feed-forward blocks")] = "relu"
    n_encoder_layers: Annotated[int, doc("layers of the encoder", ge=1, le=128)] = 4
    n_decoder_layers: Annotated[
        int, doc("layers of the decoder; 1, as the authors' code in effect has", ge=1, le=128)
    ] = 1
    use_vae: Annotated[bool, doc("learn a latent style of the demonstrations (conditional VAE)")] = True
    latent_dim: Annotated[int, doc("size of the latent", ge=1, le=16_384)] = 32
    n_vae_encoder_layers: Annotated[int, doc("layers of the VAE's encoder", ge=1, le=128)] = 4
    temporal_ensemble_coeff: Annotated[
        float | None,
        doc(
            "predict at every step and average what overlapping chunks say, weights exp(-c * i), i = 0 the oldest; "
            "null: off"
        ),
    ] = None
    dropout: Annotated[float, doc("dropout in the transformer", ge=0, lt=1)] = 0.1
    kl_weight: Annotated[float, doc("weight of the KL part of the loss", ge=0)] = 10.0
    optimizer_lr: Annotated[float, doc("learning rate of AdamW", gt=0)] = 1e-5
    optimizer_weight_decay: Annotated[float, doc("weight decay of AdamW", ge=0)] = 1e-4
    optimizer_lr_backbone: Annotated[float, doc("learning rate of the backbone", ge=0)] = 1e-5
    allow_pickle_weights: Annotated[bool, doc("read a .pth file of pretrained_backbone_weights (tensors only)")] = False

    PRESETS: ClassVar = {
        "debug": {
            "chunk_size": 8,
            "dim_model": 32,
            "n_heads": 2,
            "dim_feedforward": 64,
            "n_encoder_layers": 1,
            "n_vae_encoder_layers": 1,
            "latent_dim": 8,
            "pretrained_backbone_weights": None,
        }
    }
    #: options of this toolkit alone: LeRobot's config.json must not hold them
    OWN: ClassVar = ("allow_pickle_weights",)

    def __post_init__(self) -> None:
        modes = modes_by_kind(NORMALISATION) | modes_by_kind(self.normalization_mapping, "normalization_mapping")
        object.__setattr__(self, "normalization_mapping", lerobot_modes(modes))
        ensembling = self.temporal_ensemble_coeff is not None
        if self.n_action_steps is None:
            object.__setattr__(self, "n_action_steps", 1 if ensembling else self.chunk_size)
        used = self.n_action_steps or 1
        if ensembling and used != 1:
            raise _conflict(
                f"n_action_steps {self.n_action_steps} does not go with "
                f"temporal_ensemble_coeff {self.temporal_ensemble_coeff}, which predicts at every step",
                "use --policy.n_action_steps 1",
            )
        if used > self.chunk_size:
            raise _conflict(
                f"n_action_steps {self.n_action_steps} is more than chunk_size {self.chunk_size}",
                f"use --policy.n_action_steps {self.chunk_size} or less",
            )
        self._check_network()

    def _check_network(self) -> None:
        if self.dim_model % self.n_heads:
            raise _conflict(f"dim_model {self.dim_model} is not divisible by n_heads {self.n_heads}")
        if self.dim_model % 4:
            raise _conflict(f"dim_model {self.dim_model} is not divisible by 4, as positions in pictures want")
        if self.replace_final_stride_with_dilation and self.vision_backbone in ("resnet18", "resnet34"):
            raise _conflict(
                f"replace_final_stride_with_dilation does not go with vision_backbone {self.vision_backbone}",
                "use --policy.vision_backbone resnet50",
            )
        named, _, version = (self.pretrained_backbone_weights or "").partition("_Weights.")
        if version and named.lower() != self.vision_backbone:
            wanted = f"ResNet{self.vision_backbone.removeprefix('resnet')}_Weights.IMAGENET1K_V1"
            raise _conflict(
                f"pretrained_backbone_weights {self.pretrained_backbone_weights} is not for "
                f"vision_backbone {self.vision_backbone}",
                f"use --policy.pretrained_backbone_weights {wanted}, or null",
            )


def _conflict(what: str, todo: str = "") -> InputError:
    return InputError(what, where="policy", todo=todo)
