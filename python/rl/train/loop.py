"""Training, from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from rl.api.errors import InputError
from rl.train.config import TrainConfig
from rl.train.run import Run


def train(config: TrainConfig, run: Run | None = None, sources: Mapping[str, str] | None = None) -> Run:
    """Learn `config.policy` from `config.dataset`. All that it makes lies in the run's folder.

    `run`: an opened run to continue; None makes a new one. Errors: InputError before anything is written; NotFinite
    when a loss is no number, with every earlier checkpoint untouched; KeyboardInterrupt after a checkpoint is saved.
    """
    from rl.registry import registry
    from rl.train.task import build_policy, open_task, with_size_of_checkpoint

    chosen = config.policy
    if chosen is None:
        raise InputError("no policy is chosen", where="rl train", todo="add --policy NAME; `rl plugins` lists them")
    registry().require("policy", chosen.name)
    config = with_size_of_checkpoint(config)
    task = open_task(config)  # before torch is imported: what is wrong with the request is said at once

    from rl.data import Batches, WindowView
    from rl.process.pipeline import build_processing
    from rl.train.devices import Device
    from rl.train.learner import Learner
    from rl.train.open_loop import held_out_loss, open_loop
    from rl.train.optimizers import OptimizerFactory
    from rl.train.randomness import seed_everything
    from rl.train.schedules import build_schedule

    seed_everything(config.seed, config.cudnn_deterministic)
    device = Device(config.device, config.precision)
    policy = build_policy(chosen, task.inputs, task.outputs).to(device.device)
    recipe, windows = policy.recipe(), policy.windows()
    processing = build_processing(
        recipe.normalise, task.inputs, task.outputs, task.statistics, imagenet=config.dataset.use_imagenet_stats
    )
    view = WindowView(
        task.reader, windows.train, image_size=config.dataset.image_size, episodes=task.train_episodes,
        drop_last=windows.drop_last, features=[*task.inputs, *task.outputs],
    )  # fmt: skip
    factory = OptimizerFactory(recipe, config.optimizer)
    schedule, told = build_schedule(recipe, config.scheduler, config.steps, factory.lr)
    learner = Learner(policy, device, factory)

    policy.train()  # a checkpoint to fine-tune comes in evaluation mode
    run = run or Run.create(config, sources)
    run.attach(policy, learner, processing, task)
    first = run.restore(device)
    batches = Batches(
        view, config.batch_size, seed=config.seed, workers=config.num_workers, prefetch=config.prefetch_factor,
        start_step=first,
    )  # fmt: skip
    with run.recording(batches, first, told):
        for step, batch in islice(batches, config.steps - first):
            sample = processing.apply(device.put(batch))
            with run.guarding(step, batch):
                parts = learner.step(step, sample, run.draws(step), schedule(step))
            run.log(step + 1, parts, factory.lr * schedule(step), waited=batches.waited)
            if run.due(config.eval_steps, step + 1):
                run.note(step + 1, held_out_loss(policy, processing, task, config, device), "eval")
            if run.due(config.save_freq, step + 1):
                run.save(step + 1)
            run.stop_if_asked(step + 1)
    run.finish(open_loop(policy, processing, task, config, device))
    return run


__all__: list[Any] = ["train"]
