"""`rl deploy`: a policy moves a robot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.api.errors import InputError, RlError
from rl.cli.output import answering, run_session
from rl.cli.spellings import MOVING
from rl.config.command_line import CommandSpec, Note, Resolved
from rl.control.config import DeployConfig

if TYPE_CHECKING:
    from concurrent.futures import Future

    from rl.control.cameras import Cameras
    from rl.control.fit import Wanted
    from rl.control.session import Session
    from rl.control.sources import PolicySource
    from rl.runtime.bundle import Bundle

INSIDE = Note("inference always runs beside the loop, and the core interpolates")

SPEC = CommandSpec(
    name="deploy",
    tree=DeployConfig,
    summary="Run a policy on a robot: rl deploy bundle/ --robot so101 --robot.port sim --duration 20",
    positionals=("bundle",),
    required=("bundle",),
    aliases=MOVING
    | {
        "policy.path": "bundle",
        "policy.device": "device",
        "rename_map": "rename",
        "fps": Note("a policy runs at its own rate; --rate is the loop's"),
        "strategy.type": Note("nothing is recorded by deploy"),
        "inference.type": INSIDE,
        "interpolation_multiplier": INSIDE,
        "return_to_initial_position": Note("the robot ends by its stop policy: see --stop"),
        "use_torch_compile": Note("the bundle's graphs are compiled already"),
    },
)


def run(resolved: Resolved) -> int:
    """Load and check the policy while robot and cameras connect, then run it; prints the timing table."""
    with answering("deploy", json=resolved.config.json) as answer:
        return _deploy(resolved.config, answer)


def _deploy(config: DeployConfig, answer: dict[str, Any]) -> int:
    from rl.runtime.actor import runtime_class

    path = _found(config)
    known = _glance(path)
    # Imported before the loading begins: two threads that import only take the interpreter's lock from each other,
    # while a session is made without it.
    runtime_class(known, config.runtime)
    with ThreadPoolExecutor(1, thread_name_prefix="rl-load") as pool:
        loading = pool.submit(_load, path, config)  # beside everything that comes before the first action
        from rl.control.composite import build_robot
        from rl.control.fit import Wanted
        from rl.control.screen import live_view
        from rl.control.session import Session
        from rl.control.sinks import Trace

        robot = build_robot(config.robot)
        bundle = known or loading.result()[0].bundle
        needs = Wanted(bundle.inputs, bundle.outputs, bundle.manifest.robot, bundle.manifest.calibration)
        notes: list[str] = []
        cameras = _cameras(needs, robot, config, notes)
        sinks: list[Any] = [live_view(), *([Trace(config.trace)] if config.trace else [])]
        with Session(robot, _Unready(), cameras, sinks) as session:
            session.connect()
            wanted, warnings = _units(needs, robot, config)
            _check(session, wanted, config)
            return _move(session, bundle, loading, wanted, config, answer, (*warnings, *notes))


def _found(config: DeployConfig) -> Path:
    path = Path(str(config.bundle)).expanduser()
    if not path.exists():
        raise InputError("there is no such folder", where=str(path), todo="give a bundle (rl export) or a checkpoint")
    return path


def _load(path: Path, config: DeployConfig) -> tuple[Any, float | None]:
    """The actor, its files compared and its sample repeated: the warm-up."""
    from rl.runtime.actor import open_actor

    actor = open_actor(path, config.runtime, config.device)
    try:
        return actor, actor.check_sample()
    except RlError:
        actor.close()
        raise


def _glance(path: Path) -> Bundle | None:
    """A bundle by its manifest alone; None for a checkpoint, which says what it needs when it is loaded."""
    from rl.runtime.bundle import Bundle

    return Bundle.open(path, verify=False) if (path / "manifest.json").exists() else None


def _units(wanted: Wanted, robot: Any, config: DeployConfig) -> tuple[Wanted, list[str]]:
    from rl.control import fit

    simulated = bool(getattr(robot, "simulated", False))
    settled, warning = fit.settle_units(wanted, robot.action, config.units, simulated=simulated, what="the policy")
    return settled, [warning] if warning else []


def _cameras(wanted: Wanted, robot: Any, config: DeployConfig, notes: list[str]) -> Cameras:
    """The robot's cameras; on an emulated robot roles that are not given are drawn, and said."""
    from rl.control import cameras, fit

    built = cameras.build(robot.cameras() if hasattr(robot, "cameras") else {})
    given = cameras.Cameras(built)
    missing = fit.missing_cameras(wanted, given.features, fit.full_names(config.rename))
    if missing and getattr(robot, "simulated", False):
        built |= cameras.drawn(missing)
        roles = ", ".join(cameras.role_of(feature.name) for feature in missing)
        notes.append(f"port sim: camera {roles} is not given; the synthetic camera draws it")
    return cameras.Cameras(built)


def _check(session: Session, wanted: Wanted, config: DeployConfig) -> None:
    from rl.control import fit

    robot = session.robot
    rename = fit.full_names(config.rename)
    differing = fit.misfits(wanted, robot.state, robot.action, session.cameras.features, rename)
    if differing:
        raise InputError("; ".join(differing), where="the policy does not fit the robot")
    simulated = bool(getattr(robot, "simulated", False))
    session.tell(*filter(None, [fit.check_calibration(wanted, session.fingerprint, simulated=simulated)]))


def _move(
    session: Session,
    bundle: Bundle,
    loading: Future[tuple[Any, float | None]],
    wanted: Wanted,
    config: DeployConfig,
    answer: dict[str, Any],
    notes: tuple[str, ...],
) -> int:
    from rl.control import fit
    from rl.control.settings import Settings
    from rl.control.sources import PolicySource

    session.settings = Settings(
        rate=config.rate,
        duration=config.duration,
        stop=config.stop,
        estop=config.estop,
        merge=config.blend or ("replace" if bundle.ensemble is None else "ensemble"),
        coefficient=_coefficient(config.coefficient, bundle.ensemble),
        crossfade=config.crossfade,
        interpolation=config.interpolation,
        soft_start_s=1.0 if wanted.fingerprint or getattr(session.robot, "simulated", False) else 3.0,
        realtime=config.realtime,
        unsafe=config.limits.unsafe,
    )

    def ready() -> None:
        """The policy is loaded and has repeated its sample, or says why not: before anything is energised."""
        _, error = loading.result()
        session.tell(*notes)
        checked = "" if error is None else f", its sample repeated within {error:.1e} of the scale"
        session.tell(f"policy {bundle.manifest.policy}: {bundle.fps:g} Hz, chunk {bundle.chunk}{checked}")

    source = PolicySource(
        lambda observation, at: loading.result()[0].infer(observation, at),
        ready=ready,
        depth=-min((min(steps) for steps in bundle.manifest.windows.values()), default=0),
        remember=lambda observation, at: loading.result()[0].observe(observation, at),
        inputs=bundle.inputs,
        cameras=session.cameras,
        fps=bundle.fps,
        execute=min(config.execute or bundle.execute, bundle.chunk),
        rename=fit.full_names(config.rename),
        task=config.task,
        patient=bool(getattr(session.robot, "simulated", False)),
    )
    session.source = source
    try:
        if config.dry_run:
            answer |= {"exit_code": 0, "dry_run": True}
            return _dry(session, source)
        return run_session(session, answer, json=config.json, extra=lambda: _inferences(source))
    finally:
        source.stop()  # before the runtime goes: an inference may still run
        if not source.running and loading.exception() is None:  # freeing what is in use ends the process hard
            loading.result()[0].close()
        median, worst = source.latency_ms
        answer |= {"inferences": source.inferences, "inference_ms": {"p50": median, "max": worst}}
        answer |= {"chunks_refused": dict(source.refused)}


def _inferences(source: Any) -> list[tuple[str, str]]:
    """What the report says of the policy."""
    median, worst = source.latency_ms
    extra = [("inferences", str(source.inferences)), ("inference p50 / max", f"{median:.1f} / {worst:.1f} ms")]
    extra += [("chunks refused", ", ".join(f"{k} {v}" for k, v in source.refused.items()))] if source.refused else []
    if median > 500:
        print(f"warning: an inference takes {median:.0f} ms; hardware refuses actions that come after 500 ms")
    return extra


def _coefficient(given: float | None, own: float | None) -> float:
    """Of the ensemble: the one given, else the policy's, else 0.01; 0 (all equal) is a value too."""
    return next((value for value in (given, own) if value is not None), 0.01)


def _dry(session: Session, source: PolicySource) -> int:
    """One inference on what robot and cameras really show; nothing is energised."""
    import numpy as np

    from rl.control.core_errors import translated

    session.join()
    source.ready()
    with translated():
        snapshot = session.robot.snapshot()
    chunk = source.infer(source.observe(snapshot), snapshot.captured)
    if not np.isfinite(chunk).all():
        raise RlError("the policy gave a number that is none (NaN or infinite)", where="policy")
    print("dry run: everything fits; nothing was moved")
    for name, pose, goal in zip(session.robot.action.names, snapshot.values, chunk[0], strict=False):
        print(f"  {name:20} now {pose:9.2f}   first action {goal:9.2f}")
    return 0


class _Unready:
    """Stands for the policy until it is loaded, so that robot and cameras can connect meanwhile."""

    kind, led, notes = "chunks", False, ()

    def close(self) -> None:
        """Nothing was opened."""

    def stop(self) -> None:
        """Nothing runs."""
