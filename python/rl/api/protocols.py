"""The protocols that plugins implement. B batch, T steps (To observed, Ta predicted), A action and S state elements.

Times are ns of the monotonic clock. Every array of a batch has T, also when it is 1, except kind `language` (B, L).
Images are HWC uint8 until the device; the image step gives the policy (B, T, 3, H, W) float32. Policies see and give
normalised values; units begin behind the inverted steps. Cameras are named in the robot's config and opened by the
session. Optional abilities are further small protocols (`Calibrates`), so a command can say of a robot that it has
none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from rl.api.features import Feature, Features, Offsets

if TYPE_CHECKING:  # numpy costs 0.1 CPU-s, torch 1.6: named for the checker only
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array: TypeAlias = NDArray[np.float32]
    Arrays: TypeAlias = Mapping[str, NDArray[Any]]
    Batch: TypeAlias = Mapping[str, Tensor]


# --- policy


@dataclass(frozen=True)
class Windows:
    """Offsets in steps by feature; one that is not named gets (0,)."""

    train: Offsets  # {"observation.state": (-1, 0), "action": tuple(range(-1, 15))}
    act: Offsets  # {"observation.state": (-1, 0)}
    drop_last: int = 0  # frames at an episode's end that are no start of a window


@dataclass(frozen=True)
class Objective:
    """One thing that an optimiser lowers; most policies have one."""

    name: str = "policy"
    params: tuple[str, ...] = ("*",)  # patterns over parameter names
    every: int = 1
    start: int = 0  # first step of the loop
    stop: int | None = None  # step after the last


@dataclass(frozen=True)
class Group:
    """Parameters with another rate or decay than the rest."""

    params: tuple[str, ...]  # patterns over parameter names
    lr: float
    weight_decay: float | None = None


@dataclass(frozen=True)
class Recipe:
    """How its authors train and run a policy; an option can override each."""

    optimizer: str
    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip: float = 10.0  # largest norm of the gradient, 0 = off
    schedule: str = "constant"
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    normalise: Mapping[str, str] = field(default_factory=dict)  # kind -> mean_std, min_max, quantiles, identity
    execute: int = 1  # actions used of each chunk
    ensemble: float | None = None  # coefficient of temporal ensembling, when the method asks for it
    adapt: tuple[str, ...] = ()  # modules that LoRA may wrap


@dataclass(frozen=True)
class Loss:
    total: Tensor  # ()
    parts: Mapping[str, Tensor]  # each (), named as in the paper


@dataclass(frozen=True)
class Prefix:
    """Actions already promised when inference starts (real-time chunking)."""

    actions: Tensor  # (B, K, A), normalised
    weights: Tensor  # (B, K) in [0, 1]: 1 is fixed, 0 is free


class Draws(Protocol):
    """All randomness, by name: from a generator, a recording, or a graph's inputs."""

    def normal(self, name: str, shape: Sequence[int]) -> Tensor: ...
    def uniform(self, name: str, shape: Sequence[int]) -> Tensor: ...
    def integers(self, name: str, shape: Sequence[int], high: int) -> Tensor: ...


class Policy(Protocol):
    """Window to chunk, as a torch.nn.Module. Built from config and features alone: no file, queue, clock, device.

    `loss` may update buffers (batch norm, codebook averages); `predict` changes nothing.
    """

    config: Any
    inputs: Features
    outputs: Features

    def windows(self) -> Windows: ...
    def recipe(self) -> Recipe: ...
    def objectives(self) -> Sequence[Objective]: ...
    def loss(self, batch: Batch, draws: Draws, objective: str = "policy") -> Loss:
        """batch[name]: (B, T, *shape) with T as in `windows().train`; batch[f"{name}_is_pad"]: (B, T) bool."""

    def after_step(self, step: int) -> None:
        """The optimisers have stepped: target networks, phase changes."""

    def start(self, batch_size: int) -> Batch:
        """State before an episode's first prediction; {} for most."""

    def predict(
        self, observation: Batch, draws: Draws, state: Batch, prefix: Prefix | None = None
    ) -> tuple[Tensor, Batch]:
        """(B, Ta, A) and the next state. Row 0 belongs to the instant of the newest observation."""

    def program(self, sample: Batch) -> Program:
        """What an exporter writes; by default `predict` as one graph."""


@runtime_checkable
class Prepares(Protocol):
    """A policy that fetches something before it is trained from scratch, e.g. a backbone's weights."""

    def prepare(self) -> None:
        """Errors: MissingPart naming what cannot be had and how to do without."""


@runtime_checkable
class TranslatesWeights(Protocol):
    """A policy whose weights had other names or layouts: called on the stored tensors before the strict load."""

    def translate(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]: ...


# --- export and runtime


@dataclass(frozen=True)
class Graph:
    name: str  # "chunk", "prefix", "step"
    module: Any  # torch.nn.Module: tensors in, tuple of tensors out
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: tuple[Any, ...]  # a tensor for each input
    dynamic: Mapping[str, Mapping[int, str]] = field(default_factory=dict)  # input -> axis -> name


@dataclass(frozen=True)
class Call:
    """Run a graph on observations, draws, state and earlier outputs, found by name."""

    graph: str
    repeat: int = 1  # denoising steps, or most tokens; the runtime may be told fewer
    until: str = ""  # a boolean output that ends the repetition
    carry: Mapping[str, str] = field(default_factory=dict)  # output -> input of the next repetition
    schedule: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # input -> value at each repetition


@dataclass(frozen=True)
class Draw:
    """A random input of a program: filled by the runtime before every inference."""

    name: str
    shape: tuple[int, ...]
    law: Literal["normal", "uniform", "integers"] = "normal"
    high: int = 0  # for integers


@dataclass(frozen=True)
class Program:
    """Graphs and the order of calls: data, so that no runtime knows a policy."""

    graphs: tuple[Graph, ...]
    calls: tuple[Call, ...]
    chunk: str = "action"  # the output that holds (B, Ta, A)
    state: Mapping[str, str] = field(default_factory=dict)  # output -> input of the next inference
    start: Mapping[str, Any] = field(default_factory=dict)  # input -> its value before the first inference
    draws: tuple[Draw, ...] = ()


@dataclass(frozen=True)
class GraphFile:
    graph: str
    path: str  # relative to the bundle
    precision: str  # "float32", "float16", "int8"


class Exporter(Protocol):
    def write(self, program: Program, folder: Path) -> Sequence[GraphFile]:
        """Graph files only; bundle, manifest, parity and sums are rl.export's."""


class Runtime(Protocol):
    def __init__(self, config: Any, folder: Path, files: Sequence[GraphFile]) -> None: ...
    def run(self, graph: str, inputs: Arrays) -> Arrays: ...
    def close(self) -> None: ...


@runtime_checkable
class DescribesItself(Protocol):
    """A runtime that opens what holds no manifest (a checkpoint): built with its folder and no files."""

    def run(self, graph: str, inputs: Arrays) -> Arrays: ...
    def close(self) -> None: ...
    def describe(self) -> tuple[Mapping[str, Any], Arrays, Any]:
        """The manifest that its export would have, the state's first values, and the host steps (Processing)."""


# --- robots, teleoperators, cameras


@dataclass(frozen=True)
class Axis:
    """One element of an action vector, as the core's limits need it."""

    name: str  # "left_shoulder_pan.pos"
    unit: str  # "deg", "percent", "m/s"
    low: float
    high: float
    max_speed: float  # unit / s
    max_acceleration: float  # unit / s^2
    starve: Literal["hold", "zero"] = "hold"  # a joint keeps its place, a wheel stops
    max_jerk: float = 0.0  # unit / s^3, 0 = off
    usual_speed: float | None = None  # what the robot's maker lets it do, where `max_speed` was configured


@dataclass(frozen=True)
class Snapshot:
    values: Array  # (S,) in the state feature's units
    captured: int  # ns, monotonic
    age: Array  # (S,) s since each element was really read
    faults: tuple[str, ...] = ()  # "elbow_flex: overload"


class Robot(Protocol):  # optional `prefix: str`: a composition sets it, before the joints' names in faults and messages
    """Known before it is connected; always ended by `stop`."""

    state: Feature
    action: Feature
    axes: tuple[Axis, ...]  # one for each element of `action`

    def connect(self) -> None:
        """Open ports, check models, firmware, calibration. Moves and energises nothing."""

    def core(self) -> Sequence[tuple[slice, Any]]:
        """Buses of rl._core, each with its part of the action vector. The session moves what is left over by
        `snapshot` and `command`, in a thread of its own, at the same deadlines."""

    def snapshot(self) -> Snapshot: ...
    def command(self, values: Array, at: int) -> Array:
        """Be at values (A,) at time `at`, ns. Returns what was sent after the limits."""

    def stop(self, policy: Literal["hold", "rest", "off"]) -> None:
        """May be called twice; tries every joint before it reports one that failed."""

    def close(self) -> None: ...


@runtime_checkable
class Calibrated(Protocol):
    """A robot or teleoperator whose units depend on a calibration."""

    def fingerprint(self) -> str:
        """A short hash of the calibration in use; known after `connect`."""


Mark: TypeAlias = Literal["note", "pass", "warn", "fail"]


class Screen(Protocol):
    """Where set-up and calibration talk to a person: one step, one sentence at a time."""

    def ask(self, step: str, sentence: str) -> None:
        """Show what is to be done and wait until the person says that it is. `step` is a stable word for programs.
        Errors: InputError when nobody can answer; KeyboardInterrupt."""

    def begin(self, step: str, sentence: str) -> None:
        """As `ask`, but returns at once: work goes on until `answered`."""

    def answered(self) -> bool:
        """Whether the person has said that what began is done. Does not wait."""

    def show(self, rows: Sequence[str]) -> None:
        """Lines that take the place of those shown last: numbers that change."""

    def result(self, mark: Mark, what: str, todo: str = "") -> None:
        """One finding, and what to do about it."""


@dataclass(frozen=True)
class Version:
    """One calibration that an arm had or has."""

    number: int  # 1 is the oldest
    made: str  # local time, ISO 8601
    current: bool
    values: Mapping[str, Mapping[str, int]]  # joint -> field -> value; none: it is damaged


@runtime_checkable
class Calibrates(Protocol):
    """A robot or teleoperator that is calibrated here, on its port and before `connect`. Nothing in it may energise a
    motor; what it stores is written whole or not at all, also when it is interrupted."""

    def calibrate(self, screen: Screen) -> None:
        """Measure, judge, store in motors and file. Errors: RlError when nothing was stored, with the reason."""

    def check_calibration(self, screen: Screen) -> None:
        """Compare motors, file and measured ranges; moves and writes nothing. Findings go to the screen."""

    def versions(self) -> Sequence[Version]:
        """What was stored, oldest first. Needs no port."""

    def restore(self, number: int, screen: Screen) -> None:
        """Make an earlier version the current one, in motors and file."""


@runtime_checkable
class SetsUpMotors(Protocol):
    """A robot or teleoperator whose motors get their ids and rates here. Nothing in it may energise a motor."""

    def set_up(self, screen: Screen) -> None:
        """One motor at a time; every finding and every change goes to the screen."""

    def raw_positions(self) -> Mapping[str, int]:
        """Where the motors stand that answer on the port, in their own steps, without a calibration; {} for none."""


@runtime_checkable
class Releases(Protocol):
    """A robot or teleoperator whose torque can be taken off here, on its port and before `connect`."""

    def release(self, screen: Screen) -> None:
        """Asks for the arm to be held, then takes the torque off every motor it can. Errors: RlError naming others."""


@runtime_checkable
class Rests(Protocol):
    """A robot that has a pose in which it may be released."""

    def rest_pose(self) -> Array | None:
        """(A,) in robot units; None when none was recorded. Known after `connect`."""


@runtime_checkable
class HasCameras(Protocol):
    """A robot whose config names cameras: role -> camera config."""

    def cameras(self) -> Mapping[str, Any]: ...


class Emulated(Protocol):
    """A device's port without the device: any program opens it and finds the device there."""

    port: str  # another one after a fault that unplugs it and plugs it in again

    def calibration(self) -> str:
        """The text of the device's calibration file; "" when it has none."""

    def fault(self, kind: str, fields: Mapping[str, float]) -> None:
        """Something goes wrong from now on; a value without a name stands under "". Errors: InputError."""

    def statistics(self) -> Mapping[str, int]:
        """What has happened so far, by name."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Intent:
    values: Array  # (A,)
    captured: int  # ns
    events: frozenset[str] = frozenset()  # "intervene", "success", "rerecord", "stop", "e-stop"


class Teleoperator(Protocol):  # optional `core()`, as in Robot: then leader to follower stays inside the core
    # Optional lines for a person: `notes`, told at the begin; `recording_notes`, where episodes are recorded; `status`,
    # one line that the live table shows as it is now.
    action: Feature

    def connect(self) -> None: ...
    def read(self) -> Intent: ...
    def follow(self, snapshot: Snapshot) -> None:
        """Feedback: forces, or the leader held at the follower's pose. Called before each `read`."""

    def close(self) -> None: ...


@runtime_checkable
class Attaches(Protocol):
    """A teleoperator that wants the robot's limits, or whose e-stop must not wait for the next `read`."""

    def attach(self, axes: Sequence[Axis], estop: Callable[[], None]) -> None:
        """Once, connected, before the first `read`. `estop` brakes and latches at once: nothing moves after it in
        this session. Any thread may call it, at any time, as often as it likes."""

    def forget(self) -> None:
        """The arm does not follow now (not started, held, stopped): what was wished counts no more, and the next
        `follow` says where wishes begin. Called again and again while that lasts."""


@dataclass(frozen=True)
class Frame:
    image: NDArray[Any]  # (H, W, 3) uint8 RGB, or (H, W, 1) uint16 depth in mm
    captured: int  # ns, of the light, as far as the driver tells
    sequence: int  # rises with each new image


class Camera(Protocol):
    image: Feature

    def open(self) -> None: ...
    def latest(self) -> Frame | None:
        """The newest frame, without waiting."""

    def close(self) -> None: ...


# --- data sets


@dataclass(frozen=True)
class Episode:
    index: int  # the set's own number; gaps are kept
    start: int  # first row
    length: int
    tasks: tuple[str, ...]
    refused: str = ""  # why a tolerant reader leaves it out


@dataclass(frozen=True)
class DatasetInfo:
    features: Features
    fps: float
    episodes: tuple[Episode, ...]
    tasks: Mapping[int, str]  # task_index -> text
    statistics: Mapping[str, Mapping[str, Array]] | None  # feature -> mean, std, min, max, q01 ...
    robot: str = ""  # robot type, when the set says it
    notes: tuple[str, ...] = ()  # what a tolerant reader found odd, one line each
    calibration: str = ""  # fingerprint of the robot's calibration while recording, when the set says it


class DatasetReader(Protocol):
    """Cheap to make and to pickle, safe after fork. Frames are numbered over all episodes."""

    info: DatasetInfo

    def rows(self, indices: NDArray[np.int64], columns: Sequence[str]) -> Arrays: ...
    def frames(self, camera: str, indices: NDArray[np.int64], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """(n, H, W, 3) RGB in the order asked, decoded straight to `size` (H, W) when given; depth is (n, H, W, 1)
        uint16 mm."""


class DatasetWriter(Protocol):
    def begin(self, task: str) -> None: ...
    def append(self, row: Arrays, task: str | None = None) -> None:
        """One frame; its task is the episode's unless given."""

    def save(self) -> int:
        """The episode's index. Once it returns, a power cut loses nothing of it."""

    def discard(self) -> None: ...


class DatasetFormat(Protocol):
    def reader(self, root: Path) -> DatasetReader: ...
    def writer(self, root: Path, features: Features, fps: float) -> DatasetWriter: ...


# --- environments and steps


@dataclass(frozen=True)
class Transition:
    observation: Arrays
    reward: float
    terminated: bool
    truncated: bool
    success: bool


class Environment(Protocol):
    """One scene. Many scenes, seeds, videos and counting are rl's."""

    observation: Features
    action: Feature
    fps: float
    horizon: int

    def reset(self, seed: int) -> Arrays: ...
    def step(self, action: Array) -> Transition: ...
    def render(self) -> NDArray[np.uint8]: ...
    def close(self) -> None: ...


class ProcessorStep(Protocol):
    """Between data and policy; config (JSON) and state (tensors) lie beside the weights.

    A step that is saved with a policy also has `name`, under which the registry finds it, and `config`, its dataclass.
    """

    where: Literal["host", "graph"]  # graph: arrays only, exported with the policy

    def features(self, given: Features) -> Features:
        """What comes out: a misfit is found before data is read."""

    def apply(self, sample: Mapping[str, Any]) -> Mapping[str, Any]: ...
    def invert(self, sample: Mapping[str, Any], context: Mapping[str, Any]) -> Mapping[str, Any]:
        """The way back for actions; `context` is the observation that the chunk came from."""

    def state(self) -> Mapping[str, Array]: ...
    def load(self, state: Mapping[str, Array]) -> None: ...
