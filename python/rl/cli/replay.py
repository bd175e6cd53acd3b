"""`rl replay`: the actions of a recorded episode on a robot."""

from __future__ import annotations

from typing import Any

from rl.api.errors import InputError
from rl.cli.output import answering, run_session
from rl.cli.spellings import MOVING
from rl.config.command_line import CommandSpec, Note, Resolved
from rl.control.config import ReplayConfig

SPEC = CommandSpec(
    name="replay",
    tree=ReplayConfig,
    summary="Play a recorded episode on a robot: rl replay data/wave --episode 0 --robot so101 --robot.port sim",
    positionals=("dataset",),
    aliases=MOVING
    | {"dataset.episode": "episode", "dataset.fps": Note("the episode's own rate is used; --speed changes it")},
    values={"dataset": "dataset.root"},
)


def run(resolved: Resolved) -> int:
    """Approach the first action slowly, then play; prints the timing table."""
    with answering("replay", json=resolved.config.json) as answer:
        return _replay(resolved.config, answer)


def _replay(config: ReplayConfig, answer: dict[str, Any]) -> int:
    from rl.control import fit
    from rl.control.composite import build_robot
    from rl.control.screen import live_view
    from rl.control.session import Session
    from rl.control.settings import Settings
    from rl.control.sinks import Trace
    from rl.control.sources import EpisodeSource

    wanted, actions, fps = _episode(config)
    robot = build_robot(config.robot)
    settings = Settings(
        rate=config.rate,
        stop=config.stop,
        estop=config.estop,
        realtime=config.realtime,
        unsafe=config.limits.unsafe,
    )
    sinks: list[Any] = [live_view(), *([Trace(config.trace)] if config.trace else [])]
    simulated = bool(getattr(robot, "simulated", False))
    wanted, warning = fit.settle_units(wanted, robot.action, config.units, simulated=simulated, what="the data set")
    differing = fit.misfits(wanted, robot.state, robot.action, {}, {})
    if differing:
        raise InputError("; ".join(differing).replace("the policy", "the episode"), where="replay")
    if warning:
        print(warning)
    source = EpisodeSource(actions, fps * config.speed)
    with Session(robot, source, sinks=sinks, settings=settings) as session:
        session.connect()
        if wanted.fingerprint:  # older sets do not say it
            note = fit.check_calibration(wanted, session.fingerprint, simulated=simulated, what="the data set")
            session.tell(*filter(None, [note]))
        print(f"episode {config.episode}: {len(actions)} rows at {fps:g} Hz")
        return run_session(session, answer, json=config.json)


def _episode(config: ReplayConfig) -> tuple[Any, Any, float]:
    """(what it was recorded with, actions (T, A), rate). Errors: InputError when there is no such episode."""
    import numpy as np

    from rl.control.fit import Wanted
    from rl.data import open_dataset
    from rl.data.home import dataset_root

    root = dataset_root(config.dataset.root, config.dataset.repo_id)
    reader = open_dataset(root, config.dataset.format)
    info = reader.info
    found = [episode for episode in info.episodes if episode.index == config.episode]
    if not found:
        known = ", ".join(str(e.index) for e in info.episodes[:12]) + (", ..." if len(info.episodes) > 12 else "")
        raise InputError(f"there is no episode {config.episode}", where=str(root), todo=f"there are {known}")
    action = next((f for f in info.features.values() if f.kind == "action" and len(f.shape) == 1), None)
    if action is None:
        raise InputError("the set holds no action vector", where=str(root))
    rows = np.arange(found[0].start, found[0].start + found[0].length)
    values = np.asarray(reader.rows(rows, [action.name])[action.name], np.float32)
    return Wanted({}, {action.name: action}, info.robot, info.calibration), values, float(info.fps)
