"""What a run learns: the data set, the policy's features in it, and the policy itself, new or fine-tuned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl.api import Feature, Features, InputError
from rl.config import Selected
from rl.train.config import DatasetOptions, TrainConfig


@dataclass(frozen=True)
class Task:
    """A data set as one policy sees it."""

    reader: Any  # DatasetReader, renamed
    inputs: Features  # images at the training size, HWC
    outputs: Features
    recorded: Mapping[str, tuple[int, int]]  # image feature -> (height, width) in the set
    statistics: Mapping[str, Mapping[str, Any]]
    train_episodes: tuple[int, ...]
    held_out: tuple[int, ...]
    units: tuple[str, ...]  # of the action's elements; "unstated" where nothing says it
    notes: tuple[str, ...]


def with_size_of_checkpoint(config: TrainConfig) -> TrainConfig:
    """Fine-tuning sees pictures at the size that the checkpoint was trained at, unless another is asked for."""
    if config.policy is None or config.policy.path is None or config.dataset.image_size is not None:
        return config
    from rl.nn import checkpoint

    found = checkpoint.describe(checkpoint.find(Path(config.policy.path)))
    sizes = {f.shape[:2] for f in found.inputs.values() if f.kind == "image"}
    if len(sizes) != 1:
        return config
    height, width = sizes.pop()
    return dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, image_size=(height, width)))


def open_task(config: TrainConfig) -> Task:
    """Open the data set and decide what goes in, what comes out and what is held out."""
    from rl.data import RenamedReader, open_dataset
    from rl.data.home import dataset_root
    from rl.data.statistics import statistics_for

    options = config.dataset
    reader = open_dataset(dataset_root(options.root, options.repo_id), format=options.format)
    if config.rename_map:
        reader = RenamedReader(reader, config.rename_map)
    inputs, outputs = policy_features(reader.info.features)
    units, notes = units_of(reader, options, next(iter(outputs.values())))
    recorded = {name: (f.shape[0], f.shape[1]) for name, f in inputs.items() if f.kind == "image"}
    inputs = _in_units(_resized(inputs, options.image_size), units)
    outputs = _in_units(outputs, units)
    train, held = split_episodes(reader, options, config.seed)
    if recorded and hasattr(reader, "check_frames"):  # those of the check at the end too: not after hours of training
        reader.check_frames(list(recorded), [*train, *held])
    statistics = statistics_for(reader, [*inputs, *outputs])
    found = (*reader.info.notes, *notes)
    return Task(reader, inputs, outputs, recorded, statistics, train, held, units, found)


def units_of(reader: Any, options: DatasetOptions, action: Feature) -> tuple[tuple[str, ...], list[str]]:
    """The unit of each action element, and what a person should know about how it was found."""
    from rl.data.units import UNSTATED, explain_units

    found, source = explain_units(reader, options.units)
    if source == "ranges":
        return tuple(found), ["joints are recorded beyond 100, so they are in degrees; --dataset.units says otherwise"]
    if source == "nothing" or isinstance(found, str):
        how = "the set does not say the unit of its joints: recorded as unstated; --dataset.units degrees says it"
        return (UNSTATED,) * action.shape[0], [how]
    return tuple(found), []


def about(task: Task, config: TrainConfig) -> Any:
    """What a checkpoint says of its data beside the weights (`rl.nn.about.About`)."""
    import hashlib

    import torch

    from rl import __version__
    from rl.nn.about import About

    action = next(iter(task.outputs.values()))
    state = next((f for f in task.inputs.values() if f.kind == "state"), None)
    digest = hashlib.sha256()
    for name in sorted(task.statistics):
        for key in sorted(task.statistics[name]):
            digest.update(f"{name}.{key}".encode() + np.asarray(task.statistics[name][key], np.float64).tobytes())
    info = task.reader.info
    return About(
        fps=float(info.fps),
        units=task.units,
        state_names=state.names if state is not None else (),
        action_names=action.names,
        robot=info.robot,
        camera_sizes=dict(task.recorded),
        statistics_sha256=digest.hexdigest(),
        dataset={
            "name": config.dataset.repo_id or Path(str(config.dataset.root)).name,
            "episodes": len(info.episodes),
            "frames": sum(e.length for e in info.episodes),
        },
        tasks=tuple(dict.fromkeys(info.tasks.values())),
        versions={"rl-toolkit": __version__, "torch": torch.__version__},
        calibration=info.calibration,
    )


def policy_features(features: Features) -> tuple[dict[str, Feature], dict[str, Feature]]:
    """What a policy takes and gives: state, pictures and environment state in; the action out."""
    inputs = {n: f for n, f in features.items() if f.kind in ("state", "image", "environment_state", "language")}
    outputs = {n: f for n, f in features.items() if f.kind == "action"}
    if "observation.state" in inputs:  # further state-like columns belong to policies that ask for them by name
        inputs = {n: f for n, f in inputs.items() if f.kind != "state" or n == "observation.state"}
    if "action" in outputs:
        outputs = {"action": outputs["action"]}
    if not outputs:
        known = ", ".join(features)
        raise InputError(
            f"the data set has no feature 'action'; it has {known}",
            where="dataset",
            todo="name it with --rename_map '{its_name: action}'",
        )
    return inputs, outputs


def split_episodes(reader: Any, options: DatasetOptions, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(episodes to learn from, episodes held out). At least one is held out when there are two or more."""
    known = [e.index for e in reader.info.episodes if not e.refused]
    wanted = known if options.episodes is None else list(options.episodes)
    for index in (*wanted, *options.exclude_episodes):
        if index not in {e.index for e in reader.info.episodes}:
            raise InputError(f"there is no episode {index}; the set has {_span(known)}", where="dataset.episodes")
    chosen = [index for index in wanted if index in known and index not in options.exclude_episodes]
    if not chosen:
        raise InputError("no episode is left to learn from", where="dataset.episodes")
    if options.eval_split == 0 or len(chosen) < 2:
        return tuple(chosen), ()
    count = min(len(chosen) - 1, max(1, round(options.eval_split * len(chosen))))
    held = set(np.random.default_rng([seed, 7]).permutation(len(chosen))[:count].tolist())
    return (
        tuple(e for i, e in enumerate(chosen) if i not in held),
        tuple(e for i, e in enumerate(chosen) if i in held),
    )


def _span(indices: Sequence[int]) -> str:
    return f"{min(indices)}..{max(indices)}" if indices else "none"


def _resized(features: Features, size: tuple[int, int] | None) -> dict[str, Feature]:
    if size is None:
        return dict(features)
    return {
        n: dataclasses.replace(f, shape=(*size, f.shape[2])) if f.kind == "image" else f for n, f in features.items()
    }


def _in_units(features: Features, units: tuple[str, ...]) -> dict[str, Feature]:
    """The decided units on the features of joints: the action, and a state of the same elements."""
    return {
        n: dataclasses.replace(f, unit=units) if f.kind in ("state", "action") and f.shape == (len(units),) else f
        for n, f in features.items()
    }


def build_policy(selected: Selected, inputs: Features, outputs: Features) -> Any:
    """The policy that the options name, with fresh weights, or those of `--policy.path`."""
    from rl.api.protocols import Prepares
    from rl.registry import registry

    if selected.path is None:
        policy = registry().implementation("policy", selected.name)(selected.config, inputs, outputs)
        if isinstance(policy, Prepares):
            policy.prepare()
        return policy
    from rl.nn import checkpoint

    found = checkpoint.describe(checkpoint.find(Path(selected.path)))
    _same_features(found.inputs, inputs, "takes")
    _same_features(found.outputs, outputs, "gives")
    return checkpoint.load_policy(dataclasses.replace(found, config=selected.config, inputs=inputs, outputs=outputs))


def _same_features(wanted: Features, given: Features, verb: str) -> None:
    def shown(features: Features) -> str:
        return ", ".join(f"{n} {list(f.shape)}" for n, f in sorted(features.items()))

    vectors = {n: f.shape for n, f in wanted.items() if f.kind != "image"}
    fits = set(wanted) == set(given) and all(given[n].shape == shape for n, shape in vectors.items())
    if not fits:
        raise InputError(
            f"the checkpoint {verb} {shown(wanted)}; the data set has {shown(given)}",
            where="policy.path",
            todo="map names with --rename_map '{in_the_set: in_the_policy}'",
        )
