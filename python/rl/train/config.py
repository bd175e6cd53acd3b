"""Options of `rl train`: the tree that its command line, its files and the run's copy are views of."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from rl.api.errors import InputError
from rl.config import Choice, Selected, doc

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Which recordings are learnt from, and how they are read."""

    root: Annotated[str | None, doc("folder of the data set")] = None
    repo_id: Annotated[
        str | None, doc("name on the hub; also the folder below HF_LEROBOT_HOME when no root is given")
    ] = None
    format: Annotated[str | None, doc("data set format; found out when not given")] = None
    episodes: Annotated[tuple[int, ...] | None, doc("only these episodes")] = None
    exclude_episodes: Annotated[tuple[int, ...], doc("leave these episodes out")] = ()
    eval_split: Annotated[float, doc("share of the episodes held out for the check at the end", ge=0, lt=1)] = 0.1
    image_size: Annotated[
        tuple[int, int] | None, doc("height,width to decode pictures to; null keeps theirs", ge=8)
    ] = None
    units: Annotated[
        Literal["degrees", "range_m100_100"] | None, doc("unit of the body joints, when the set does not say it")
    ] = None
    use_imagenet_stats: Annotated[bool, doc("normalise pictures with ImageNet's mean and deviation")] = True


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """Each given value replaces the one of the policy's own recipe."""

    type: Annotated[Literal["adam", "adamw", "sgd"] | None, doc("optimiser; null: the policy's")] = None
    lr: Annotated[float | None, doc("learning rate; parameter groups keep their ratio to it", gt=0)] = None
    weight_decay: Annotated[float | None, doc("weight decay", ge=0)] = None
    betas: Annotated[tuple[float, float] | None, doc("decay of the two moments", ge=0, lt=1)] = None
    eps: Annotated[float | None, doc("added to the denominator", gt=0)] = None
    grad_clip_norm: Annotated[float | None, doc("largest norm of the gradient; 0 = off", ge=0)] = None


@dataclass(frozen=True, kw_only=True)
class SchedulerOptions:
    """The learning rate over the run; null: the policy's own."""

    type: Annotated[
        Literal["constant", "constant_with_warmup", "cosine_decay_with_warmup"] | None,
        doc("schedule; null: the policy's"),
    ] = None
    num_warmup_steps: Annotated[int | None, doc("steps of linear rise", unit="steps", ge=0)] = None
    num_decay_steps: Annotated[
        int | None, doc("steps until the lowest rate; null: the whole run", unit="steps", ge=1)
    ] = None
    decay_lr: Annotated[float | None, doc("lowest rate", ge=0)] = None


@dataclass(frozen=True, kw_only=True)
class WandbOptions:
    """Weights & Biases; the run's own files are written either way."""

    enable: Annotated[bool, doc("send metrics to Weights & Biases")] = False
    project: Annotated[str, doc("project")] = "rl-toolkit"
    entity: Annotated[str | None, doc("user or team")] = None
    notes: Annotated[str | None, doc("notes shown with the run")] = None
    run_id: Annotated[str | None, doc("id of a run to continue")] = None
    mode: Annotated[Literal["online", "offline", "disabled"] | None, doc("null: WANDB_MODE decides")] = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What `rl train` does."""

    policy: Annotated[Selected | None, Choice("policy"), doc("the policy to train: --policy act")] = None
    dataset: DatasetOptions = field(default_factory=DatasetOptions)
    output_dir: Annotated[str | None, doc("the run's folder; null: outputs/train/DATE/TIME_JOB")] = None
    job_name: Annotated[str | None, doc("name of the run; null: the policy's")] = None
    resume: Annotated[bool | str, doc("continue a run: its folder, or true with --config or --output_dir")] = False
    steps: Annotated[int, doc("optimiser steps", unit="steps", ge=1)] = 100_000
    batch_size: Annotated[int, doc("samples a step", ge=1)] = 8
    num_workers: Annotated[int, doc("processes that load data; 0: in this one", ge=0, le=256)] = 4
    prefetch_factor: Annotated[int, doc("batches that each worker prepares ahead", ge=1)] = 4
    seed: Annotated[int, doc("seed of weights, order and noise", ge=0)] = 1000
    device: Annotated[str, doc("auto, cpu, cuda, cuda:1, mps")] = "auto"
    precision: Annotated[Precision, doc("arithmetic of the forward and backward pass")] = "fp32"
    cudnn_deterministic: Annotated[bool, doc("repeatable GPU kernels, slower")] = False
    log_freq: Annotated[int, doc("steps between lines of the log", unit="steps", ge=1)] = 200
    save_checkpoint: Annotated[bool, doc("write checkpoints")] = True
    save_freq: Annotated[int, doc("steps between checkpoints; 0: only the last", unit="steps", ge=0)] = 20_000
    eval_steps: Annotated[int, doc("steps between losses on held-out episodes; 0 = never", unit="steps", ge=0)] = 0
    open_loop_samples: Annotated[int, doc("held-out frames of the check at the end; 0 = none", ge=0)] = 64
    rename_map: Annotated[dict[str, str], doc("name in the data set -> name the policy knows")] = field(
        default_factory=dict
    )
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    scheduler: SchedulerOptions = field(default_factory=SchedulerOptions)
    wandb: WandbOptions = field(default_factory=WandbOptions)

    def __post_init__(self) -> None:
        if self.dataset.eval_split and self.dataset.episodes is not None and self.dataset.exclude_episodes:
            both = set(self.dataset.episodes) & set(self.dataset.exclude_episodes)
            if both:
                raise InputError(f"episode {min(both)} is both chosen and excluded", where="dataset.exclude_episodes")
