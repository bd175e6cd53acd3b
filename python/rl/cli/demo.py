"""`rl demo`: the whole path on an emulated arm, each stage the very command that a person would type."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.api.errors import RlError
from rl.config.command_line import CommandSpec, Resolved
from rl.control.config import DemoConfig

if TYPE_CHECKING:
    from rl.control.follow import Followed
    from rl.control.page import Page

ARM = ["--robot", "so101", "--robot.port", "sim"]
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}  # idle threads of sums sleep: on a busy machine spinning costs tenfold
LEADER = ["--teleop", "so101-leader", "--teleop.port", "sim"]


def _prelude(words: Sequence[str]) -> Sequence[str]:
    """The demo's own file lies below what is given."""
    import rl.configs

    return ["--config", str(Path(rl.configs.__file__).parent / "demo.yaml"), *words]


SPEC = CommandSpec(
    name="demo",
    tree=DemoConfig,
    summary="The whole path on an emulated arm: teleoperate, record, train, export, deploy, compare",
    short={"-o": "output_dir"},
    prelude=_prelude,
)


def run(resolved: Resolved) -> int:
    """0 when the deployed policy follows the leader's wave better than holding still, 1 when not."""
    config: DemoConfig = resolved.config
    folder = free_folder(Path(config.output_dir))
    begun, spent = time.monotonic(), {}
    commands = stages(config, folder)
    for name, words in commands.items():
        print(f"\n[{name}] rl {shlex.join(words)}", flush=True)
        started = time.monotonic()
        code = subprocess.call([sys.executable, "-m", "rl.cli.main", *words], env=PATIENT | os.environ)
        if code:
            raise RlError(f"`rl {words[0]}` ended with exit code {code}", where=f"demo: {name}")
        spent[name] = time.monotonic() - started
        print(f"[{name}] {spent[name]:.1f} s", flush=True)
    motion = Motion(folder / "deploy.npz")
    result = motion.compare()
    better = result.error < result.still
    spent["all"] = time.monotonic() - begun
    report = folder / "report.html"
    write_page(report, folder, commands, spent, motion, result)
    print_result(spent, result)
    print(f"the report: {report}")
    return 0 if better else 1


def free_folder(wanted: Path) -> Path:
    """The folder itself when it does not exist, else the next with a number."""
    number, folder = 1, wanted
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    folder.mkdir(parents=True)
    return folder


def stages(config: DemoConfig, folder: Path) -> dict[str, list[str]]:
    """Each stage with the words behind `rl`."""
    height, width = config.camera_size
    camera = "--robot.cameras.front"
    see = [f"{camera}.type", "synthetic", f"{camera}.height", str(height), f"{camera}.width", str(width)]
    rate = ["--rate", f"{config.rate:g}"]
    wave, trained, bundle = str(folder / "wave"), str(folder / "run"), str(folder / "bundle")
    told = ["--dataset", wave, "--task", "wave", "--fps", f"{config.fps:g}", "--episodes", str(config.episodes)]
    timed = ["--episode-time", f"{config.episode_time:g}", "--reset-time", "0"]
    learnt = ["--policy", config.policy, "--dataset", wave, "--output_dir", trained, "--device", "cpu"]
    options = [word for name, value in config.policy_options.items() for word in (f"--policy.{name}", value)]
    pace = ["--steps", str(config.steps), "--batch_size", str(config.batch_size), "--num_workers", "0"]
    log = ["--log_freq", str(max(config.steps // 6, 1))]
    moved = ["--duration", f"{config.deploy_time:g}", "--trace", str(folder / "deploy.npz")]
    return {
        "teleoperate": ["teleop", *ARM, *LEADER, *rate, "--duration", f"{config.teleop_time:g}"],
        "record": ["record", *ARM, *see, *LEADER, *rate, *told, *timed],
        "train": ["train", *learnt, *pace, *log, *options],
        "export": ["export", str(Path(trained) / "checkpoints" / "last"), "--onnx", "-o", bundle],
        "deploy": ["deploy", bundle, *ARM, *see, *rate, *moved],
    }


class Motion:
    """What the deployed policy made the arm do, beside the wave that it was shown."""

    def __init__(self, trace: Path) -> None:
        import numpy as np

        with np.load(trace, allow_pickle=False) as found:
            moving = found["state"] == list(found["states"]).index("ACTIVE")
            self.names, self.units = found["names"].tolist(), found["units"].tolist()
            self.values = found["values"][moving]
            captured = found["captured"][moving]
        if len(captured) < 2:
            raise RlError("the arm never became active", where=str(trace))
        self.times = (captured - captured[0]) / 1e9

    def compare(self) -> Followed:
        """The motion against the leader's wave, the leader's own code for it asked."""
        from rl import _core
        from rl.control.follow import followed

        leader = _core.Emulator("so101-leader", wave=True)
        try:
            self.period = leader.wave_period_s
            result = followed(self.times, self.values, leader.wave_at, self.period)
            self.wave = leader.wave_at(self.times + result.phase_s)
        finally:
            leader.close()
        return result


def print_result(spent: dict[str, float], result: Followed) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="demo", title_justify="left", show_header=False)
    table.add_column("measure")
    table.add_column("value", justify="right")
    for label, value in result_rows(spent, result):
        table.add_row(label, value)
    Console(highlight=False).print(table)
    better = result.error < result.still
    print("the policy follows the wave better than holding still" if better else "the policy does NOT follow the wave")


def result_rows(spent: dict[str, float], result: Followed) -> list[tuple[str, str]]:
    """The demo in numbers."""
    rows = [(f"{name} took", f"{seconds:.1f} s") for name, seconds in spent.items()]
    unit = "(degrees, percent)"
    rows.append((f"error of the policy {unit}", f"{result.error:.2f}"))
    rows.append((f"error of holding still {unit}", f"{result.still:.2f}"))
    rows.append((f"error of standing in the middle of the wave {unit}", f"{result.middle:.2f}"))
    return rows


def write_page(
    path: Path,
    folder: Path,
    commands: dict[str, list[str]],
    spent: dict[str, float],
    motion: Motion,
    result: Followed,
) -> None:
    """The report: numbers, curves, commands."""
    from rl.control.page import Curve, Page

    page = Page("rl demo: from a recording to a moving arm")
    better = result.error < result.still
    verdict = "follows the leader's wave better than holding still" if better else "does not follow the wave"
    page.text(f"The deployed policy {verdict}.", "good" if better else "bad")
    page.table(result_rows(spent, result))
    page.heading("The arm under the policy")
    for at, (joint, unit) in enumerate(zip(motion.names, motion.units, strict=True)):
        curves = [
            Curve("policy", motion.times, motion.values[:, at]),
            Curve("leader's wave", motion.times, motion.wave[:, at], dashed=True),
            Curve("holding still", motion.times, motion.values[:1, at].repeat(len(motion.times)), dashed=True),
        ]
        page.chart(f"{joint}, {unit}", curves, "s")
    _loss(page, folder / "run")
    page.heading("What was run")
    page.code("\n".join(f"rl {shlex.join(words)}" for words in commands.values()))
    page.write(path)


def _loss(page: Page, run_folder: Path) -> None:
    """The training curve, from the run's metrics."""
    import numpy as np

    from rl.control.page import Curve

    points: list[tuple[float, float]] = []
    for file in sorted(run_folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            entry: dict[str, Any] = json.loads(line)
            loss = entry.get("loss", entry.get("train/loss"))
            if "step" in entry and isinstance(loss, (int, float)):
                points.append((entry["step"], loss))
    if len(points) > 1:
        page.heading("Training")
        steps, losses = np.array(sorted(points)).T
        page.chart("loss", [Curve("loss", steps, losses)], "steps", log=True)
