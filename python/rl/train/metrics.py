"""Where numbers of a run go: a line on the screen, metrics.jsonl, TensorBoard, and Weights & Biases when asked."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.api.errors import MissingPart
from rl.train.config import TrainConfig, WandbOptions


class Metrics:
    """Collects values on the device and reports their means every `every` steps."""

    def __init__(self, folder: Path, config: TrainConfig, first: int) -> None:
        self.every, self.steps, self.first, self.batch = config.log_freq, config.steps, first, config.batch_size
        self._sums: dict[str, Any] = {}
        self._count = 0
        self._begin = self._last = time.monotonic()
        self._waited = 0.0
        self._lines = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._board = _tensorboard(folder)
        self._wandb = _wandb(folder, config) if config.wandb.enable else None
        self._progress = Progress(first, config.steps)

    def add(self, step: int, parts: Mapping[str, Any], rate: float, waited: float) -> None:
        """The parts of one step; `step` counts finished steps. Reads the device only when a line is due."""
        self._count += 1
        self._waited += waited
        for name, value in parts.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._progress.move(step)
        if step % self.every and step != self.steps:
            return
        now = time.monotonic()
        took, count = now - self._last, self._count
        means = {name: float(value) / count for name, value in self._sums.items()}
        means |= {
            "lr": rate,
            "step_s": took / count,
            "data_s": self._waited / count,
            "smp/s": count * self.batch / took,
        }
        self._sums, self._count, self._last, self._waited = {}, 0, now, 0.0
        self.write(step, means)
        eta = (now - self._begin) / max(1, step - self.first) * (self.steps - step)
        self._progress.say(f"step {step}/{self.steps}  {_told(means)}  eta {_clock(eta)}")

    def write(self, step: int, values: Mapping[str, float], group: str = "train") -> None:
        """One record: a line of metrics.jsonl and the same values for every tracker."""
        record = {"step": step, "group": group, "time": time.time()} | {k: _finite(v) for k, v in values.items()}
        self._lines.write(json.dumps(record) + "\n")
        self._lines.flush()
        for name, value in values.items():
            if self._board is not None:
                self._board.add_scalar(f"{group}/{name}", value, step)
        if self._wandb is not None:
            self._wandb.log({f"{group}/{name}": value for name, value in values.items()}, step=step)

    def say(self, text: str) -> None:
        """A line that does not break the progress bar."""
        self._progress.say(text)

    def close(self) -> None:
        self._progress.close()
        self._lines.close()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


class Progress:
    """A bar on a terminal; nothing but the lines when piped."""

    def __init__(self, first: int, steps: int) -> None:
        self._bar: Any = None
        if sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("train"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True
            )
            self._task = self._bar.add_task("train", total=steps, completed=first)
            self._bar.start()

    def move(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _told(means: Mapping[str, float]) -> str:
    names = {"step_s": "{:.3f} s/step", "data_s": "waited {:.3f} s", "smp/s": "{:.1f} smp/s"}
    return "  ".join(names.get(k, k + " {:.4g}").format(v) for k, v in means.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no NaN


def _tensorboard(folder: Path) -> Any:
    import importlib.util

    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))


def _wandb(folder: Path, config: TrainConfig) -> Any:
    try:
        import wandb
    except ModuleNotFoundError:
        raise MissingPart("--wandb.enable needs wandb", todo="pip install wandb") from None
    from rl.config import plain

    options: WandbOptions = config.wandb
    (folder / "wandb").mkdir(exist_ok=True)
    return wandb.init(
        project=options.project, entity=options.entity, notes=options.notes, id=options.run_id, mode=options.mode,
        name=config.job_name, dir=str(folder), config=plain(config), resume="allow",
    )  # fmt: skip
