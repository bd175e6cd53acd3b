"""A policy that acts: observations in, chunks of actions in robot units out. Knows no policy and no framework."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl.api.errors import InputError
from rl.api.features import Feature
from rl.api.protocols import DescribesItself
from rl.runtime import manifest as manifests
from rl.runtime.bundle import Bundle
from rl.runtime.history import History
from rl.runtime.interpreter import Interpreter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rl.api.protocols import Runtime

    Observation = Mapping[str, Any]
    Chunk = NDArray[np.float32]

TASK = "task"  # the one entry of an observation that is a text


class Actor:
    """Runs a bundle's program over a runtime. One thread at a time.

    An observation is the newest row of every input feature: (S,) vectors in robot units, (H, W, 3) uint8 pictures at
    the camera's recorded size; `task`, a text, may be among them. A chunk is (Ta, A) float32 in robot units; its row k
    is due k / fps seconds after the observation.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, *, seed: int = 0, task: str = "") -> None:
        self.bundle, self.runtime, self.task = bundle, runtime, task
        self.inputs, self.action = bundle.inputs, bundle.action
        self.fps, self.execute, self.ensemble = bundle.fps, bundle.execute, bundle.ensemble
        self.interpreter = Interpreter(bundle.manifest.program, runtime)
        timeless = frozenset(name for name, feature in self.inputs.items() if feature.kind == "language")
        self.history = History(bundle.manifest.windows, round(1e9 / bundle.fps), timeless)
        self._host = bundle.host()
        self._random = np.random.default_rng(seed)
        self._start = bundle.start()
        self._state = self._start

    def reset(self) -> None:
        """A new episode: no past, and the state that the policy starts with."""
        self.history.clear()
        self._state = self._start

    def observe(self, observation: Observation, at: int | None = None) -> None:
        """Shows one observation without asking for actions. at: its time, ns; None counts one period a call."""
        self.history.add({name: row(feature, observation) for name, feature in self.inputs.items()}, at)
        self.task = str(observation.get(TASK, self.task))

    def infer(self, observation: Observation, at: int | None = None) -> Chunk:
        """The chunk (Ta, A) that the policy answers this observation with, in robot units."""
        self.observe(observation, at)
        return self.predict(self.history.window(), self.interpreter.draws(self._random))

    def predict(self, window: Observation, draws: Observation) -> Chunk:
        """One inference on given windows (1, T, *shape) and draws; moves the state on."""
        sample: Mapping[str, Any] = window
        if self._host is not None:
            sample = self._host.apply({**window, TASK: [self.task]})
        values = self.interpreter.run({**sample, **draws, **self._state})
        self._state = self.interpreter.after(values)
        chunk = values[self.bundle.manifest.program.chunk]
        if self._host is not None:
            chunk = self._host.invert_actions(chunk, window, name=self.action.name)
        return self._checked(chunk)

    def check_sample(self) -> float | None:
        """Repeats the bundle's sample: the warm-up, and the proof that this machine computes what was exported.

        Returns the largest error relative to the parity's scale, None when the bundle holds no sample (then the
        first run is on zeros). Errors: InputError when the error is above the bundle's tolerance. Ends reset.
        """
        self.reset()
        given = self.bundle.sample()
        if given is None:
            self.predict(self.blank(), self.interpreter.draws(np.random.default_rng(0)))
            self.reset()
            return None
        window, draws, expected = given
        task, self.task = self.task, self.bundle.manifest.sample_task
        got = self.predict(window, draws)
        self.task = task
        self.reset()
        parity = self.bundle.manifest.parity
        tolerance = parity.tolerance if parity else 1e-3
        error = relative_error(got, expected, parity.scale if parity else ())
        if not error <= tolerance:  # NaN is a miss
            raise InputError(
                f"its sample gives a chunk that is {error:.2g} of the scale away from the expected one, "
                f"{tolerance:g} is allowed",
                where=str(self.bundle.folder),
                todo="export it again, or use another --runtime",
            )
        return error

    def blank(self) -> dict[str, NDArray[Any]]:
        """A window of zeros for every input."""
        return {
            name: np.zeros(window_shape(feature, self.bundle.manifest.windows), dtype=feature.dtype)
            for name, feature in self.inputs.items()
        }

    def close(self) -> None:
        self.runtime.close()

    def _checked(self, chunk: NDArray[Any]) -> Chunk:
        want = (1, self.bundle.chunk, *self.action.shape)
        if chunk.shape != want:
            raise InputError(f"the chunk has shape {list(chunk.shape)}, {list(want)} was exported", where="runtime")
        return np.asarray(chunk[0], dtype=np.float32)


def row(feature: Feature, observation: Observation) -> NDArray[Any]:
    """One feature of an observation, as the graphs take it. Errors: InputError when missing, misshapen, wrong type."""
    if feature.name not in observation:
        raise InputError(f"the observation holds no '{feature.name}'", where="runtime")
    value = np.asarray(observation[feature.name])
    if value.shape != feature.shape:
        raise InputError(
            f"'{feature.name}' has shape {list(value.shape)}, the policy wants {list(feature.shape)}", where="runtime"
        )
    if feature.kind == "image" and value.dtype != feature.dtype:
        raise InputError(f"'{feature.name}' is {value.dtype}, the policy wants {feature.dtype}", where="runtime")
    return value.astype(feature.dtype, copy=True)  # a camera may reuse its buffer


def window_shape(feature: Feature, windows: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """(1, T, *shape) of a feature's window; language has no T."""
    if feature.kind == "language":
        return (1, *feature.shape)
    return (1, len(windows.get(feature.name, (0,))), *feature.shape)


def relative_error(got: NDArray[Any], expected: NDArray[Any], scale: tuple[float, ...]) -> float:
    """Largest |got - expected| / max(scale, |expected|), scale for each element; not finite when a number is not."""
    if got.shape != expected.shape:
        return float("inf")
    floor = np.asarray(scale if len(scale) else 1.0, dtype=np.float64)
    want = expected.astype(np.float64)
    return float(np.max(np.abs(got - want) / np.maximum(floor, np.abs(want)), initial=0.0))


def open_actor(
    path: Path | str,
    runtime: str | None = None,
    device: str = "cpu",
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Actor:
    """An actor for a bundle's folder, or for a checkpoint or run (runtime "eager"). Its sample is not yet checked.

    runtime: a plugin's name; None: the first that runs the bundle's kind of graph. options: of that plugin.
    Sums of large files are compared while the runtime loads; both are done when this returns.
    Errors: InputError for a bundle that is not what was exported, MissingPart when the runtime needs an extra.
    """
    from rl.config import build
    from rl.registry import registry

    path, known = Path(path), registry()
    if not path.exists():
        raise InputError("there is no such folder", where=str(path))
    written = (path / manifests.NAME).exists()
    bundle = Bundle.open(path, verify=False) if written else None
    name, implementation = runtime_class(bundle, runtime)
    config = build(known.config_class("runtime", name), {"device": device, **(options or {})}, where="runtime")
    if bundle is None:
        engine = implementation(config, path, ())
        if not isinstance(engine, DescribesItself):
            raise InputError("is no bundle (no manifest.json)", where=str(path), todo="export the checkpoint first")
        return Actor(described(engine, str(path)), engine, seed=seed)
    runs = getattr(known.get("runtime", name), "graphs", ())
    if bundle.kind not in runs:
        raise InputError(f"runtime '{name}' does not run {bundle.kind} graphs", where=str(path))
    checking = bundle.verification()
    try:
        engine = implementation(config, path, bundle.graph_files())
    finally:
        checking.wait()  # also when loading failed: a changed file is then the cause worth naming
    return Actor(bundle, engine, seed=seed)


def runtime_class(bundle: Bundle | None, runtime: str | None = None) -> tuple[str, Any]:
    """Name and class of the runtime for a bundle, or for a checkpoint (None). MissingPart when it needs an extra."""
    from rl.registry import registry

    name = runtime or (runtime_for(bundle.kind) if bundle else "eager")
    return name, registry().implementation("runtime", name)


def described(engine: DescribesItself, where: str) -> Bundle:
    """What a runtime says of a checkpoint that it holds in process, as a bundle without files."""
    description, start, host = engine.describe()
    return Bundle(manifests.parse(description, where=where), None, start, host)


def runtime_for(kind: str) -> str:
    """The runtime plugin that runs this kind of graph; its namesake first."""
    from rl.registry import registry

    known = registry()
    names = [name for name in known.names("runtime") if kind in getattr(known.get("runtime", name), "graphs", ())]
    if not names:
        raise InputError(f"no installed runtime runs {kind} graphs", todo="see `rl plugins`")
    return kind if kind in names else names[0]
