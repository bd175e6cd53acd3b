"""Specs: what a plugin says of itself, cheap to make and to read. Targets are loaded when they are used."""

from dataclasses import dataclass

API_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Need:
    """A module that must be importable, and the command that makes it so."""

    module: str  # top level: "transformers"
    install: str  # "rl-toolkit[vla]"


@dataclass(frozen=True, kw_only=True)
class Spec:
    name: str  # what people type: lower case, digits, dashes
    summary: str  # one line for lists, no full stop
    target: str  # "package.module:Name" of the implementation
    config: str  # "package.module:Name" of its frozen dataclass; that module imports nothing heavy
    needs: tuple[Need, ...] = ()
    aliases: tuple[str, ...] = ()  # other accepted names, e.g. the field's older spellings


@dataclass(frozen=True, kw_only=True)
class PolicySpec(Spec):
    paper: str  # arXiv number: "2304.13705"
    suits: str  # one line: the data and tasks it is good for


@dataclass(frozen=True, kw_only=True)
class RobotSpec(Spec):
    joints: tuple[str, ...]  # names of the action's elements, () when the config decides
    emulator: str = ""  # "module:function": (moving: bool, profile: str, seed: int) -> protocols.Emulated


@dataclass(frozen=True, kw_only=True)
class TeleoperatorSpec(Spec):
    drives: tuple[str, ...]  # robots it can drive, by name; () = any of the same action features
    emulator: str = ""  # as of a robot


@dataclass(frozen=True, kw_only=True)
class CameraSpec(Spec):
    drawn: bool = False  # draws its pictures: stands in for a camera that an emulated robot was not given


@dataclass(frozen=True, kw_only=True)
class FormatSpec(Spec):
    sniff: str  # "module:function": function(path) -> bool, standard library only, looks at names and one small file
    writes: bool  # whether the format can be recorded


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec(Spec):
    tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExporterSpec(Spec):
    graph: str  # kind of graph file it writes: "onnx", "torchscript"


@dataclass(frozen=True, kw_only=True)
class RuntimeSpec(Spec):
    graphs: tuple[str, ...]  # kinds of graph file it runs


@dataclass(frozen=True, kw_only=True)
class StepSpec(Spec):
    pass
