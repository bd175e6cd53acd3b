"""The check at the end of a training: how far predicted actions are from recorded ones, beside doing nothing clever.

Open loop: the policy sees recorded observations and its chunk is compared with the recorded actions. It does not say
that the task will succeed; it says when a policy has learnt less than "hold still" or "the mean action" would give.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rl.train.config import TrainConfig


def open_loop(policy: Any, processing: Any, task: Any, config: TrainConfig, device: Any) -> dict[str, Any]:
    """Mean absolute error per action element over whole chunks, for the policy and two baselines, in robot units.

    "hold": the action recorded at the frame is kept for the whole chunk. "mean": the training set's mean action.
    Frames are spread evenly over the held-out episodes (over the training ones when none could be held out).
    """
    if config.open_loop_samples == 0:
        return {}
    from rl.data import WindowView

    (name, action), windows = next(iter(task.outputs.items())), policy.windows()
    chunk = _chunk_offsets(windows.train[name])
    episodes = task.held_out or task.train_episodes
    offsets = {**windows.act, name: chunk}
    view = WindowView(
        task.reader, offsets, image_size=config.dataset.image_size, episodes=episodes, features=[*task.inputs, name]
    )
    count = min(config.open_loop_samples, len(view))
    chosen = view.positions[np.linspace(0, len(view) - 1, count).round().astype(np.int64)]
    mean = np.asarray(task.statistics[name]["mean"], dtype=np.float64).reshape(-1)
    sums = {who: np.zeros(action.shape[0]) for who in ("policy", "hold", "mean")}
    valid = 0
    was_training = policy.training
    policy.eval()
    for begin in range(0, count, config.batch_size):
        batch = view.batch(chosen[begin : begin + config.batch_size])
        truth = np.asarray(batch.pop(name), dtype=np.float64)  # (B, T, A)
        real = ~np.asarray(batch.pop(f"{name}_is_pad"))[..., None]
        guess = _predict(policy, processing, batch, device, config.seed)
        rows = min(guess.shape[1], truth.shape[1])
        truth, real = truth[:, :rows], real[:, :rows]
        guesses = {
            "policy": guess[:, :rows],
            "hold": np.repeat(truth[:, :1], rows, 1),
            "mean": np.broadcast_to(mean, truth.shape),
        }
        for who, value in guesses.items():
            sums[who] += (np.abs(value - truth) * real).sum((0, 1))
        valid += int(real.sum())
    policy.train(was_training)
    errors = {who: (total / max(1, valid)).tolist() for who, total in sums.items()}
    return {
        "frames": int(count),
        "rows_of_chunk": len(chunk),
        "episodes": list(episodes),
        "held_out": bool(task.held_out),
        "names": list(action.names) or [str(i) for i in range(action.shape[0])],
        "units": list(action.units),
        "mean_absolute_error": errors,
        "overall": {who: float(np.mean(values)) for who, values in errors.items()},
    }


def held_out_loss(policy: Any, processing: Any, task: Any, config: TrainConfig, device: Any) -> dict[str, float]:
    """The training loss on held-out frames, in evaluation mode; draws are the same at every call."""
    if not task.held_out:
        return {}
    from rl.data import WindowView
    from rl.nn.draws import GeneratorDraws
    from rl.train.randomness import generator

    windows = policy.windows()
    view = WindowView(
        task.reader, windows.train, image_size=config.dataset.image_size, episodes=task.held_out,
        drop_last=windows.drop_last, features=[*task.inputs, *task.outputs],
    )  # fmt: skip
    count = min(max(1, config.open_loop_samples), len(view))
    chosen = view.positions[np.linspace(0, len(view) - 1, count).round().astype(np.int64)]
    policy.eval()
    total: dict[str, float] = {}
    with torch.no_grad():
        for begin in range(0, count, config.batch_size):
            batch = view.batch(chosen[begin : begin + config.batch_size])
            weight = len(batch["index"]) / count
            draws = GeneratorDraws(generator(device.device, config.seed, 11, begin), device.device)
            for objective in policy.objectives():
                loss = policy.loss(processing.apply(device.put(batch)), draws, objective.name)
                total["loss"] = total.get("loss", 0.0) + weight * float(loss.total)
    policy.train()
    return total


def told(report: dict[str, Any]) -> str:
    """The report as a small table and one sentence."""
    overall, errors = report["overall"], report["mean_absolute_error"]
    episodes = len(report["episodes"])
    where = (
        f"{episodes} held-out episode{'s' * (episodes != 1)}"
        if report["held_out"]
        else "training episodes (none held out)"
    )
    lines = [f"open-loop error on {report['frames']} frames of {where}, mean over {report['rows_of_chunk']} steps:"]
    lines.append(f"  {'':24}{'policy':>10}{'hold still':>12}{'mean action':>13}")
    for i, name in enumerate(report["names"]):
        row = [errors[who][i] for who in ("policy", "hold", "mean")]
        lines.append(f"  {name:24}{row[0]:10.3f}{row[1]:12.3f}{row[2]:13.3f}  {report['units'][i]}")
    lines.append(f"  {'all':24}{overall['policy']:10.3f}{overall['hold']:12.3f}{overall['mean']:13.3f}")
    best = min(overall["hold"], overall["mean"])
    if overall["policy"] < best:
        lines.append(
            f"  the policy is {best / max(overall['policy'], 1e-12):.1f} times closer than the better of the two"
        )
    else:
        lines.append("  the policy is NOT closer than doing nothing clever: train longer, or look at the data")
    return "\n".join(lines)


def _predict(policy: Any, processing: Any, batch: dict[str, Any], device: Any, seed: int) -> Any:
    from rl.nn.draws import GeneratorDraws
    from rl.train.randomness import generator

    with torch.no_grad():
        moved = device.put(batch)
        sample = processing.apply(moved)
        draws = GeneratorDraws(generator(device.device, seed, 13), device.device)
        chunk, _ = policy.predict(sample, draws, policy.start(len(batch["index"])))
        return processing.invert_actions(chunk.float(), moved).cpu().double().numpy()


def _chunk_offsets(offsets: tuple[int, ...]) -> tuple[int, ...]:
    """The rows that `predict` gives: now and later."""
    return tuple(o for o in offsets if o >= 0)
