"""`rl record`: demonstrations into a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl.api.errors import InputError
from rl.cli.output import answering, run_session
from rl.cli.spellings import RECORDING
from rl.config.command_line import CommandSpec, Resolved
from rl.control.config import RecordConfig

SPEC = CommandSpec(
    name="record",
    tree=RecordConfig,
    summary='Record demonstrations: rl record --robot ... --teleop ... --dataset data/wave --task "wave" --episodes 2',
    aliases=RECORDING,
    values={"dataset": "dataset.root"},
)


def run(resolved: Resolved) -> int:
    """Record the episodes; what is saved stays whatever happens later."""
    with answering("record", json=resolved.config.json) as answer:
        return _record(resolved.config, answer)


def _record(config: RecordConfig, answer: dict[str, Any]) -> int:
    from rl.control import cameras as camera_set
    from rl.control import recorder
    from rl.control.composite import build_robot, build_teleoperator
    from rl.control.screen import live_view
    from rl.control.session import Session
    from rl.control.settings import Settings
    from rl.control.sources import LeaderSource
    from rl.data.home import dataset_root

    if not config.task:
        print('note: no --task is given; say what is done, e.g. --task "put the cube in the box": policies read it')
    root = dataset_root(config.dataset.root, config.dataset.repo_id)
    if root.exists() and any(root.iterdir()) and not config.resume:
        raise InputError(f"{root} is there already", where="dataset", todo="--resume true adds episodes to it")
    robot, teleoperator = build_robot(config.robot), build_teleoperator(config.teleop)
    built = camera_set.build(robot.cameras() if hasattr(robot, "cameras") else {})
    drawn = not built and bool(getattr(robot, "simulated", False))
    cameras = camera_set.Cameras(camera_set.drawn_by_default() if drawn else built)
    settings = Settings(
        rate=config.rate,
        stop=config.stop,
        estop=config.estop,
        realtime=config.realtime,
        unsafe=config.limits.unsafe,
    )
    with Session(robot, LeaderSource(teleoperator, config.rate), cameras, settings=settings) as session:
        session.connect()
        if drawn:
            session.tell("port sim: no camera is given; the synthetic camera draws one, 'front'")
        session.tell(*getattr(teleoperator, "recording_notes", ()))
        cameras.wait()
        writer = _writer(config, root, recorder.features(robot.state, robot.action, cameras), session)
        tape = recorder.Recorder(
            writer, cameras, config.task, config.fps, config.episodes, config.episode_time, config.reset_time
        )
        session.sinks += [tape, live_view()]
        try:
            return run_session(session, answer, json=config.json)
        finally:
            answer |= {"dataset": str(root), "episodes": list(tape.saved), "rows": tape.rows}
            if hasattr(writer, "close"):
                writer.close()
            if not config.resume and not tape.saved:
                _remove_empty(root)
            saved = f"{len(tape.saved)} episodes, {tape.rows} rows saved in {root}"
            print(saved if root.is_dir() else f"no episode was saved; there is no {root}")


def _remove_empty(root: Path) -> None:
    """A folder in which no episode was saved must not stand in the way of the next try."""
    import shutil

    if root.is_dir() and all(p.name == ".rl" for p in root.iterdir()):
        shutil.rmtree(root)


def _writer(config: RecordConfig, root: Path, features: Any, session: Any) -> Any:
    from rl.config import build
    from rl.registry import registry

    known = registry()
    spec = known.get("format", config.dataset.format)
    if not getattr(spec, "writes", False):
        raise InputError(f"format '{spec.name}' cannot be recorded", where="dataset.format")
    assert config.robot is not None
    options = known.config_class("format", spec.name)
    facts = {"robot_type": robot_type(config, session.robot), "calibration": session.fingerprint}
    given = {name: value for name, value in facts.items() if hasattr(options(), name)}
    made = known.implementation("format", spec.name)(build(options, given, where="dataset"))
    return made.writer(root, features, config.fps)


def robot_type(config: RecordConfig, robot: Any) -> str:
    """The robot's name as the data set keeps it: the robot's own word, else the plugin's name."""
    assert config.robot is not None
    return str(getattr(robot, "robot_type", config.robot.name))
