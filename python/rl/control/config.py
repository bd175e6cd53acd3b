"""Options of the commands that move or look: teleop, record, replay, deploy, cameras, demo."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from rl.api.errors import InputError
from rl.config import Choice, Selected, doc

Stop = Literal["rest", "hold", "off"]
Estop = Literal["hold", "off"]
Interpolation = Literal["linear", "cubic", "critically_damped"]
Blend = Literal[
    "replace", "append", "ensemble", "crossfade", "weighted_average", "latest_only", "average", "conservative"
]
Units = Literal["degrees", "range_m100_100"]

ROBOT = "the robot: --robot so101"
TELEOP = "what moves it: --teleop so101-leader"
RATE = "control rate"
STOP = "how it ends: rest goes to the rest pose and releases, hold keeps the torque, off releases at once"
ESTOP = "what an emergency stop does: hold brakes and keeps the torque, off takes it away at once: an arm falls"
REALTIME = "ask the system for real-time priority; what it refuses is reported"
JSON = "end with one JSON object on standard output; all other text goes to standard error"
TRACE = "write what was measured and commanded, a row a cycle, to this .npz file"
DATASET_ROOT = "folder of the data set"
REPO_ID = "name of the data set; also the folder below HF_LEROBOT_HOME when no root is given"


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """What guards the arm."""

    unsafe: Annotated[bool, doc("allow motion faster than the robot's usual limits; said and kept in the report")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class TeleopConfig:
    """Move a robot by a leader."""

    robot: Annotated[Selected | None, Choice("robot"), doc(ROBOT)] = None
    teleop: Annotated[Selected | None, Choice("teleoperator"), doc(TELEOP)] = None
    rate: Annotated[float, doc(RATE, unit="Hz", ge=10, le=1000)] = 50.0
    duration: Annotated[float, doc("time of motion; 0: until Ctrl-C", unit="s", ge=0, le=1_000_000)] = 0.0
    stop: Annotated[Stop, doc(STOP)] = "rest"
    estop: Annotated[Estop, doc(ESTOP)] = "hold"
    realtime: Annotated[bool, doc(REALTIME)] = True
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    trace: Annotated[str | None, doc(TRACE)] = None
    json: Annotated[bool, doc(JSON)] = False


@dataclass(frozen=True, kw_only=True)
class RecordedSet:
    """The data set that is written."""

    root: Annotated[str | None, doc(DATASET_ROOT)] = None
    repo_id: Annotated[str | None, doc(REPO_ID)] = None
    format: Annotated[str, doc("data set format")] = "lerobot"


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """Record demonstrations: a leader moves the robot, each episode is kept."""

    robot: Annotated[Selected | None, Choice("robot"), doc(ROBOT)] = None
    teleop: Annotated[Selected | None, Choice("teleoperator"), doc(TELEOP)] = None
    dataset: RecordedSet = field(default_factory=RecordedSet)
    task: Annotated[str, doc("what is being done, in words")] = ""
    episodes: Annotated[int, doc("episodes to record", ge=1)] = 50
    episode_time: Annotated[float, doc("longest time of an episode", unit="s", gt=0)] = 60.0
    reset_time: Annotated[float, doc("time between episodes to put the scene back", unit="s", ge=0)] = 60.0
    fps: Annotated[float, doc("rows and pictures a second", unit="Hz", gt=0, le=1000)] = 30.0
    resume: Annotated[bool, doc("add episodes to a set that is there")] = False
    rate: Annotated[float, doc(RATE, unit="Hz", ge=10, le=1000)] = 50.0
    stop: Annotated[Stop, doc(STOP)] = "rest"
    estop: Annotated[Estop, doc(ESTOP)] = "hold"
    realtime: Annotated[bool, doc(REALTIME)] = True
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    json: Annotated[bool, doc(JSON)] = False

    def __post_init__(self) -> None:
        if self.fps > self.rate:
            raise InputError(f"fps {self.fps:g} is more than rate {self.rate:g}", todo="raise --rate or lower --fps")


@dataclass(frozen=True, kw_only=True)
class PlayedSet:
    """The data set that is played."""

    root: Annotated[str | None, doc(DATASET_ROOT)] = None
    repo_id: Annotated[str | None, doc(REPO_ID)] = None
    format: Annotated[str | None, doc("data set format; found out when not given")] = None


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Play the actions of a recorded episode on a robot."""

    robot: Annotated[Selected | None, Choice("robot"), doc(ROBOT)] = None
    dataset: PlayedSet = field(default_factory=PlayedSet)
    episode: Annotated[int, doc("number of the episode", ge=0)] = 0
    speed: Annotated[float, doc("1: as recorded, 0.5: half as fast", gt=0, le=2)] = 1.0
    units: Annotated[Units | None, doc("unit of the body joints, when the set does not say it")] = None
    rate: Annotated[float, doc(RATE, unit="Hz", ge=10, le=1000)] = 50.0
    stop: Annotated[Stop, doc(STOP)] = "rest"
    estop: Annotated[Estop, doc(ESTOP)] = "hold"
    realtime: Annotated[bool, doc(REALTIME)] = True
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    trace: Annotated[str | None, doc(TRACE)] = None
    json: Annotated[bool, doc(JSON)] = False


@dataclass(frozen=True, kw_only=True)
class DeployConfig:
    """Run a policy on a robot: a bundle, or a checkpoint."""

    bundle: Annotated[str | None, doc("folder of a bundle or checkpoint")] = None
    robot: Annotated[Selected | None, Choice("robot"), doc(ROBOT)] = None
    duration: Annotated[float, doc("time of motion; 0: until Ctrl-C", unit="s", ge=0, le=1_000_000)] = 0.0
    dry_run: Annotated[bool, doc("every check, no motion")] = False
    task: Annotated[str, doc("what is to be done, in words, for policies that read it")] = ""
    units: Annotated[Units | None, doc("unit of the body joints, when the bundle does not say it")] = None
    rename: Annotated[dict[str, str], doc("camera of the robot -> camera that the policy knows")] = field(
        default_factory=dict
    )
    blend: Annotated[Blend | None, doc("how a new chunk joins the running one; null: as the policy was made")] = None
    crossfade: Annotated[int, doc("rows over which blend crossfade goes over", unit="rows", ge=0, le=512)] = 8
    coefficient: Annotated[float | None, doc("of blend ensemble; null: the policy's")] = None
    execute: Annotated[int | None, doc("rows used of each chunk; null: the policy's", unit="rows", ge=1)] = None
    interpolation: Annotated[Interpolation, doc("between the rows of a chunk")] = "linear"
    runtime: Annotated[str | None, doc("runtime plugin; null: the one for the bundle's graphs")] = None
    device: Annotated[str, doc("where the runtime computes: cpu, cuda")] = "cpu"
    rate: Annotated[float, doc(RATE, unit="Hz", ge=10, le=1000)] = 50.0
    stop: Annotated[Stop, doc(STOP)] = "rest"
    estop: Annotated[Estop, doc(ESTOP)] = "hold"
    realtime: Annotated[bool, doc(REALTIME)] = True
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    trace: Annotated[str | None, doc(TRACE)] = None
    json: Annotated[bool, doc(JSON)] = False


@dataclass(frozen=True, kw_only=True)
class CamerasConfig:
    """List cameras and save a picture of each."""

    robot: Annotated[Selected | None, Choice("robot"), doc("a robot whose cameras are tried")] = None
    camera: Annotated[
        dict[str, Annotated[Selected, Choice("camera")]], doc("cameras to try: --camera.front.type opencv")
    ] = field(default_factory=dict)
    output_dir: Annotated[str, doc("folder of the pictures")] = "outputs/cameras"
    warmup: Annotated[float, doc("time until the picture is taken: exposure settles", unit="s", ge=0, le=60)] = 0.5


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The whole path on an emulated arm: teleoperate, record, train, export, deploy, compare."""

    output_dir: Annotated[
        str, doc("folder of everything that the demo makes; a new one beside it when it is there")
    ] = "outputs/demo"
    teleop_time: Annotated[float, doc("teleoperation before the recording", unit="s", gt=0)] = 3.0
    episodes: Annotated[int, doc("episodes to record", ge=2)] = 4
    episode_time: Annotated[float, doc("time of an episode", unit="s", gt=0)] = 8.0
    fps: Annotated[float, doc("rows a second", unit="Hz", ge=10, le=50)] = 25.0
    camera_size: Annotated[tuple[int, int], doc("height,width of the drawn picture", unit="pixels", ge=32)] = (64, 64)
    policy: Annotated[str, doc("the policy to train")] = "act"
    policy_options: Annotated[dict[str, str], doc("its options")] = field(default_factory=dict)
    steps: Annotated[int, doc("optimiser steps", unit="steps", ge=1)] = 240
    batch_size: Annotated[int, doc("samples a step", ge=1)] = 8
    deploy_time: Annotated[float, doc("time that the policy moves the arm", unit="s", gt=0)] = 9.0
    rate: Annotated[float, doc(RATE, unit="Hz", ge=10, le=1000)] = 50.0
