"""A run's folder: resolved configuration, metrics, checkpoints; how it starts, continues, is interrupted and ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rl.api.errors import InputError, RlError
from rl.config import nearest, plain
from rl.config.files import write_tree
from rl.train.config import TrainConfig

CONFIG = "config.yaml"


class Run:
    """What one training writes, and the state that a later one continues from."""

    def __init__(self, folder: Path, config: TrainConfig, *, resumed: bool, sources: Mapping[str, str]) -> None:
        self.folder, self.config, self.resumed, self.sources = folder, config, resumed, sources
        self._asked = threading.Event()
        self._saved = -1
        self._metrics: Any = None
        self.report: dict[str, Any] = {}

    @classmethod
    def create(cls, config: TrainConfig, sources: Mapping[str, str] | None = None) -> Run:
        """A new folder with the resolved tree in it. Errors: InputError when it is there already."""
        folder = folder_of(config)
        refuse_existing(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}", where=str(folder)) from None
        run = cls(folder, config, resumed=False, sources=sources or {})
        run._write_config()
        return run

    @classmethod
    def reopen(cls, folder: Path, config: TrainConfig, sources: Mapping[str, str] | None = None) -> Run:
        """A run to continue. Errors: InputError when it is none."""
        from rl.train.checkpoints import last_step

        last_step(folder)
        return cls(folder, config, resumed=True, sources=sources or {})

    # --- the loop's side

    def attach(self, policy: Any, learner: Any, processing: Any, task: Any) -> None:
        """What checkpoints are made of."""
        self.policy, self.learner, self.processing, self.task = policy, learner, processing, task

    def restore(self, device: Any) -> int:
        """The step to begin with: 0, or that of the last checkpoint whose state is now in place."""
        if not self.resumed:
            return 0
        from rl.nn import checkpoint
        from rl.train.checkpoints import last_step, load_state

        found = last_step(self.folder)
        saved = checkpoint.describe(found / "pretrained_model")
        weights = checkpoint.load_policy(saved).state_dict()
        self.policy.load_state_dict({k: v.to(device.device) for k, v in weights.items()})
        step = load_state(found / "training_state", self.learner.optimizers())
        if step >= self.config.steps:
            raise InputError(
                f"the run has {step} of {self.config.steps} steps", where=str(self.folder), todo="give more --steps"
            )
        self._saved = step
        self._write_config()
        return step

    @contextlib.contextmanager
    def recording(self, batches: Any, first: int, schedule: str) -> Iterator[None]:
        """Metrics and signals around the loop. An interrupt is answered after the step that runs."""
        from rl.train.learner import parameters_of
        from rl.train.metrics import Metrics

        self._metrics = Metrics(self.folder, self.config, first)
        self._metrics.say(
            f"{self.config.policy.name if self.config.policy else ''}: "
            f"{parameters_of(self.learner.turns):,} parameters, {len(self.task.train_episodes)} episodes, "
            f"learning rate {schedule}"
        )
        for note in self.task.notes:
            self._metrics.say(f"note: {note}")
        try:
            with self._signals():
                yield
            if self._saved != self.config.steps:
                self.save(self.config.steps)
        finally:
            batches.close()
            self._metrics.close()

    @contextlib.contextmanager
    def guarding(self, step: int, batch: Mapping[str, Any]) -> Iterator[None]:
        """Says which frames a step died of."""
        from rl.train.learner import NotFinite

        try:
            yield
        except NotFinite as error:
            frames = ", ".join(str(int(i)) for i in list(batch["index"].reshape(-1)[:64]))
            kept = f"the last checkpoint is step {self._saved}" if self._saved > 0 else "no checkpoint was written"
            raise RlError(
                f"{error.what} at step {step + 1}; the batch held frames {frames}",
                where=str(self.folder),
                todo=f"{kept}; lower --optimizer.lr or leave the episode out",
            ) from None

    def draws(self, step: int) -> Any:
        """The named draws of one step."""
        from rl.nn.draws import GeneratorDraws
        from rl.train.randomness import generator

        device = next(self.policy.parameters()).device
        return GeneratorDraws(generator(device, self.config.seed, step), device)

    def log(self, step: int, parts: Mapping[str, Any], rate: float, *, waited: float) -> None:
        self._metrics.add(step, parts, rate, waited)

    def note(self, step: int, values: Mapping[str, float], group: str) -> None:
        """Numbers that are not of the training step: written, and shown."""
        if values:
            self._metrics.write(step, values, group)
            self._metrics.say(f"{group} at step {step}: " + "  ".join(f"{k} {v:.4g}" for k, v in values.items()))

    def due(self, every: int, step: int) -> bool:
        return every > 0 and step % every == 0

    def save(self, step: int) -> None:
        """A checkpoint of this step, whole or not at all."""
        if not self.config.save_checkpoint or step == self._saved:
            return
        from rl.train import checkpoints

        def model(folder: Path) -> None:
            save_model(folder, self)

        def state(folder: Path) -> None:
            checkpoints.save_state(folder, step, self.config.batch_size, self.learner.optimizers())

        checkpoints.write(self.folder, step, self.config.steps, model, state)
        self._saved = step

    def stop_if_asked(self, step: int) -> None:
        """After Ctrl-C or SIGTERM: save, say how to go on."""
        if not self._asked.is_set():
            return
        self.save(step)
        kept = f"saved step {step}; " if self._saved == step else ""
        self._metrics.say(f"stopped: {kept}continue with: rl train --resume {self.folder}")
        raise KeyboardInterrupt

    def finish(self, report: dict[str, Any]) -> None:
        """The honest check at the end: shown and written beside the checkpoints."""
        from rl.train.open_loop import told

        self.report = report
        if report:
            (self.folder / "open_loop.json").write_text(json.dumps(report, indent=2) + "\n")
            print(told(report))
        kept = self.folder / "checkpoints" / "last" if self.config.save_checkpoint else self.folder
        print(f"done: {kept}")

    # --- inside

    def _write_config(self) -> None:
        head = "The run's resolved options; also a --config. Values that are no defaults say where they came from."
        text = write_tree(plain(self.config), self.sources, head)
        aside = self.folder / f".{CONFIG}.partial"
        aside.write_text(text, encoding="utf-8")
        aside.replace(self.folder / CONFIG)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: Any) -> None:
            if self._asked.is_set():
                raise KeyboardInterrupt
            self._asked.set()
            os.write(2, b"stopping after this step, then saving; again: end now, unsaved\n")

        kept = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)


def save_model(folder: Path, run: Run) -> None:
    """pretrained_model: weights, processing and what deployment must know."""
    from rl.nn import checkpoint
    from rl.train.task import about

    assert run.config.policy is not None
    train_config = plain(run.config)
    checkpoint.save(
        folder,
        run.policy,
        run.config.policy.name,
        run.processing,
        about(run.task, run.config),
        train_config=train_config,
    )


def folder_of(config: TrainConfig) -> Path:
    """--output_dir, or outputs/train/DATE/TIME_JOB."""
    if config.output_dir is not None:
        return Path(config.output_dir).expanduser()
    now = datetime.now()
    job = config.job_name or (config.policy.name if config.policy else "run")
    return Path("outputs") / "train" / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}_{job}"


def refuse_existing(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} is there already",
            where="output_dir",
            todo=f"continue it with --resume {folder}, or name another",
        )


# --- resume


def resume_words(words: Sequence[str]) -> list[str]:
    """`--resume` as plain options: the run's resolved tree first, its folder last.

    Takes a run's folder, or true (bare too) with --config or --output_dir. Errors: InputError naming what is missing.
    """
    value, config, output = (
        _values(words, "resume"),
        _values(words, "config", "config_path"),
        _values(words, "output_dir"),
    )
    if value is None or value.lower() in ("false", "no", "off", "0"):
        return list(words)
    if value.lower() not in ("", "true", "yes", "on", "1"):
        folder = Path(value).expanduser()
    elif config is not None:
        folder = _run_above(Path(config).expanduser())
    elif output is not None:
        folder = Path(output).expanduser()
    else:
        raise InputError("which run?", where="--resume", todo="give its folder: rl train --resume FOLDER")
    if folder.name == "last" or folder.name.isdigit():
        folder = folder.parent.parent
    if not (folder / CONFIG).is_file():
        beside = [p.parent.name for p in folder.parent.glob(f"*/{CONFIG}")] if folder.parent.is_dir() else []
        raise InputError(
            f"{folder} is no run (it has no {CONFIG})", where="--resume", todo=nearest(folder.name, beside)
        )
    kept = _without(words, "resume", "config", "config_path", "output_dir")
    return ["--config", str(folder / CONFIG), *kept, "--output_dir", str(folder), "--resume", str(folder)]


def _run_above(path: Path) -> Path:
    """The run that a configuration file lies in: beside it, or LeRobot's checkpoints/STEP/pretrained_model."""
    here = path if path.is_dir() else path.parent
    for folder in (here, *here.parents[:3]):
        if (folder / CONFIG).is_file():
            return folder
    return here


def _values(words: Sequence[str], *names: str) -> str | None:
    found = None
    for at, word in enumerate(words):
        name, equals, text = word.partition("=")
        if not name.startswith("--") or name[2:].replace("-", "_") not in names:
            continue
        following = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("--") else ""
        found = text if equals else following
    return found


def _without(words: Sequence[str], *names: str) -> list[str]:
    kept, skip = [], False
    for at, word in enumerate(words):
        if skip:
            skip = False
            continue
        name, equals, _ = word.partition("=")
        if name.startswith("--") and name[2:].replace("-", "_") in names:
            skip = not equals and at + 1 < len(words) and not words[at + 1].startswith("--")
            continue
        kept.append(word)
    return kept


def start(resolved: Any) -> int:
    """`rl train`: a new run, or one that goes on."""
    from rl.train.loop import train

    config: TrainConfig = resolved.config
    if isinstance(config.resume, str):
        run = Run.reopen(Path(config.resume), config, resolved.sources)
        print(f"continuing {run.folder} at step {_step(run.folder)} of {config.steps}")
        train(config, run)
        return 0
    refuse_existing(folder_of(config))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    train(config, sources=resolved.sources)
    return 0


def _step(folder: Path) -> int:
    from rl.train.checkpoints import last_step

    return int(last_step(folder).name)
