"""`rl train`: the words of its command line, LeRobot's spellings among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rl.config.command_line import Alias, CommandSpec, Note, Resolved
from rl.train.config import TrainConfig

NOWHERE = Note("nothing leaves this machine; accepted and ignored")
INSIDE = Note("PyAV reads every video here; accepted and ignored")


def _amp(value: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    on = str(value).lower() in ("true", "yes", "on", "1")
    return {"precision": "bf16" if on else "fp32"}, ()


def _push(value: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    on = str(value).lower() in ("true", "yes", "on", "1")
    return {}, (["publishing is not done by training; the checkpoint stays here"] if on else ["nothing is published"])


def _pretrained(value: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    if value is None or str(value).lower() in ("null", "none", "~"):
        return {}, ["no checkpoint to start from"]
    return {"policy.path": value}, ()


def _mixed(value: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    return {"precision": "fp32" if str(value).lower() == "no" else value}, ()


def _eval_freq(value: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
    note = "evaluation in a simulator during training is not part of this version"
    return {}, ["no evaluation during training, as asked" if str(value) == "0" else note]


ALIASES: dict[str, Alias] = {
    "policy.device": "device",
    "policy.use_amp": _amp,
    "accelerator.mixed_precision": _mixed,
    "policy.push_to_hub": _push,
    "policy.repo_id": NOWHERE,
    "policy.private": NOWHERE,
    "policy.tags": NOWHERE,
    "policy.license": Note("written into model cards only, which training does not make"),
    "policy.pretrained_path": _pretrained,
    "save_checkpoint_to_hub": NOWHERE,
    "eval_freq": _eval_freq,
    "env_eval_freq": _eval_freq,
    "dataset.video_backend": INSIDE,
    "dataset.return_uint8": Note("pictures travel as uint8 here, always"),
    "dataset.streaming": Note("the set is read from its folder"),
    "dataset.revision": Note("the folder is read as it is"),
    "dataset.repo_type": Note("the folder is read as it is"),
    "tolerance_s": Note("rows and pictures are paired by frame number, not by a tolerance"),
    "persistent_workers": Note("workers always persist"),
    "dataloader_multiprocessing_context": Note("workers are spawned"),
    "use_policy_training_preset": Note("given optimizer and scheduler options win over the policy's own, always"),
    "wandb.disable_artifact": Note("artefacts are never uploaded"),
    "wandb.add_tags": Note("no tags are added"),
}


def _base(kind: str, path: str) -> tuple[str, Mapping[str, Any]]:
    """The policy of a checkpoint, below the options of the command line (fine-tuning)."""
    from pathlib import Path

    from rl.config import plain
    from rl.nn import checkpoint

    found = checkpoint.describe(checkpoint.find(Path(path)))
    return found.policy, plain(found.config)


def _prelude(words: Sequence[str]) -> Sequence[str]:
    from rl.train.run import resume_words

    return resume_words(words)


SPEC = CommandSpec(
    name="train",
    tree=TrainConfig,
    summary="Train a policy from a data set: rl train --policy act --dataset FOLDER",
    aliases=ALIASES,
    values={"dataset": "dataset.root"},
    base=_base,
    prelude=_prelude,
    short={"-o": "output_dir"},
)


def run(resolved: Resolved) -> int:
    """Train, or continue a run; prints progress, the check at the end and where everything lies."""
    import os

    # OpenMP threads that spin while they wait cost other processes (data workers, a control loop) their cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from rl.train.run import start

    return start(resolved)
