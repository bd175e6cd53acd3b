"""What a bundle says of itself: typed, checked against itself, and nothing but data."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from rl.api.errors import InputError
from rl.api.features import Feature, Kind

SCHEMA = 1
NAME = "manifest.json"
LIMIT = 4 << 20  # bytes of the manifest
LARGEST = 1 << 28  # elements of one tensor that a manifest may ask for
MOST_CALLS = 100_000  # repetitions of one call

_FIRST_USE = threading.Lock()  # msgspec may not meet a type for the first time in two threads at once

Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
Short = Annotated[str, msgspec.Meta(max_length=300)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Shape = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=1 << 31)], ...], msgspec.Meta(max_length=8)]
DType = Literal["float32", "float64", "float16", "int64", "int32", "uint16", "uint8", "bool"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the manifest; unknown keys are refused."""


class FeatureEntry(Entry, frozen=True):
    name: Short
    kind: Kind
    shape: Shape
    dtype: DType
    unit: str | tuple[str, ...] = "none"
    names: tuple[str, ...] = ()


class TensorEntry(Entry, frozen=True):
    """An input of a graph. An axis that may vary has its name in `free`."""

    name: Short
    dtype: DType
    shape: Shape
    free: dict[str, str] = {}


class GraphEntry(Entry, frozen=True):
    name: Short
    kind: Short  # of graph file, as exporters and runtimes name it: "onnx"
    path: str
    precision: Short
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[Short, ...]


class CallEntry(Entry, frozen=True):
    graph: Short
    repeat: Annotated[int, msgspec.Meta(ge=1, le=MOST_CALLS)] = 1
    until: str = ""
    carry: dict[str, str] = {}
    schedule: dict[str, tuple[float, ...]] = {}


class DrawEntry(Entry, frozen=True):
    name: Short
    shape: Shape
    law: Literal["normal", "uniform", "integers"] = "normal"
    high: Annotated[int, msgspec.Meta(ge=0)] = 0


class ProgramEntry(Entry, frozen=True):
    """Order of calls. `start` names the inputs whose first values lie in `values`, a file of the bundle."""

    graphs: tuple[GraphEntry, ...]
    calls: tuple[CallEntry, ...]
    chunk: Short
    state: dict[str, str] = {}
    start: tuple[str, ...] = ()
    values: str = ""
    draws: tuple[DrawEntry, ...] = ()


class RateEntry(Entry, frozen=True):
    fps: Annotated[float, msgspec.Meta(gt=0, le=10_000)]
    chunk: Count
    execute: Count
    ensemble: float | None = None
    row_due: str = "row k of a chunk is due k periods (k / fps s) after its observation"


class CameraEntry(Entry, frozen=True):
    role: Short
    feature: Short
    size: tuple[Count, Count]  # height, width of the pictures that go in
    network_size: tuple[Count, Count]


class StepEntry(Entry, frozen=True):
    """A step that runs before the graphs (`pre`) or brings their output back (`post`)."""

    step: Short
    config: dict[str, Any]
    state: str = ""  # file of the bundle


class ProcessingEntry(Entry, frozen=True):
    pre: tuple[StepEntry, ...] = ()
    post: tuple[StepEntry, ...] = ()
    inside: tuple[str, ...] = ()  # what the graphs do, in words
    resize: str = "none"
    statistics_sha256: str = ""


class ErrorEntry(Entry, frozen=True):
    max_abs: float  # in the output's unit
    max_rel: float  # of max(scale, |expected|), scale: the action's deviation or half range


class ParityEntry(Entry, frozen=True):
    """How far the written graphs are from eager PyTorch, over `inputs` inputs."""

    against: str
    tolerance: float  # largest error allowed, of max(scale, |expected|)
    inputs: int
    real: int  # how many of them came from a data set
    outputs: dict[str, ErrorEntry]
    scale: tuple[float, ...] = ()  # of each action element, in its unit


class FileEntry(Entry, frozen=True):
    sha256: Sha256
    bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 42)]


class Manifest(Entry, frozen=True):
    """Everything that a runtime and a robot need to know of a policy."""

    schema: int
    kind: Literal["rl-bundle"]
    policy: Short
    inputs: tuple[FeatureEntry, ...]
    outputs: tuple[FeatureEntry, ...]
    rate: RateEntry
    windows: dict[str, tuple[int, ...]]  # feature -> steps relative to now
    program: ProgramEntry
    processing: ProcessingEntry = ProcessingEntry()
    cameras: tuple[CameraEntry, ...] = ()
    robot: str = ""
    calibration: str = ""  # fingerprint; "" when the data set says none
    dataset: dict[str, Any] = {}
    tasks: tuple[str, ...] = ()
    precision: str = "float32"
    parity: ParityEntry | None = None
    sample: str = ""  # file of the bundle
    sample_task: str = ""
    versions: dict[str, str] = {}
    files: dict[str, FileEntry] = {}

    def features(self, which: Literal["inputs", "outputs"]) -> dict[str, Feature]:
        """The features that go in, or come out, by name."""
        entries: tuple[FeatureEntry, ...] = getattr(self, which)
        return {e.name: Feature(e.name, e.kind, e.shape, e.dtype, e.unit, e.names) for e in entries}


def parse(content: bytes | Mapping[str, Any], where: str = NAME) -> Manifest:
    """A manifest from its file's bytes, or from plain data.

    Errors: InputError saying which entry is wrong; for another schema version, which one this program reads.
    """
    try:
        plain = msgspec.json.decode(content) if isinstance(content, bytes) else content
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where=where) from None
    if not isinstance(plain, Mapping):
        raise InputError("is not a map", where=where)
    if plain.get("kind") != "rl-bundle":
        raise InputError("does not describe a bundle (kind is not 'rl-bundle')", where=where)
    if plain.get("schema") != SCHEMA:
        raise InputError(
            f"has schema version {plain.get('schema')!r}, this program reads {SCHEMA}",
            where=where,
            todo="export it again",
        )
    try:
        with _FIRST_USE:
            manifest = msgspec.convert(plain, Manifest)
    except msgspec.ValidationError as error:
        raise InputError(str(error), where=where) from None
    for fault in faults(manifest):
        raise InputError(fault, where=where)
    return manifest


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The file's bytes, indented for people."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def faults(manifest: Manifest) -> Iterable[str]:
    """What a manifest says that cannot be, one line each: sizes, names that lead nowhere, paths."""
    yield from _feature_faults(manifest)
    yield from _program_faults(manifest)
    for path in manifest.files:
        if not inside(path):
            yield f"the path '{path}' leaves the bundle"
    for path in named_files(manifest):
        if not inside(path):
            yield f"the path '{path}' leaves the bundle"
        elif path not in manifest.files:
            yield f"the file '{path}' is used but not listed with its checksum"


def named_files(manifest: Manifest) -> Iterable[str]:
    """Files that the manifest uses."""
    steps = (*manifest.processing.pre, *manifest.processing.post)
    paths = [g.path for g in manifest.program.graphs] + [s.state for s in steps]
    return [path for path in (*paths, manifest.program.values, manifest.sample) if path]


def inside(path: str) -> bool:
    """True for a plain relative path that stays in its folder."""
    pure = PurePosixPath(path)
    odd = any(mark in path for mark in ("\\", "\0", ":"))
    return bool(path) and not odd and not pure.is_absolute() and ".." not in pure.parts and str(pure) == path


def _feature_faults(manifest: Manifest) -> Iterable[str]:
    for entry in (*manifest.inputs, *manifest.outputs):
        if _elements(entry.shape) > LARGEST:
            yield f"feature '{entry.name}' has the impossible shape {list(entry.shape)}"
        else:
            try:
                Feature(entry.name, entry.kind, entry.shape, entry.dtype, entry.unit, entry.names)
            except ValueError as error:
                yield str(error)
    actions = [entry for entry in manifest.outputs if entry.kind == "action" and len(entry.shape) == 1]
    if len(actions) != 1:
        yield f"there must be one action vector among the outputs, there are {len(actions)}"
    if manifest.rate.execute > manifest.rate.chunk:
        yield f"execute {manifest.rate.execute} is more than the chunk's {manifest.rate.chunk} actions"
    for name, offsets in manifest.windows.items():
        if not offsets or list(offsets) != sorted(set(offsets)) or offsets[-1] > 0 or offsets[0] < -10_000:
            yield f"the window of '{name}' is {list(offsets)}, not ascending steps up to 0"


def _program_faults(manifest: Manifest) -> Iterable[str]:
    program = manifest.program
    for tensor in [t for g in program.graphs for t in g.inputs]:
        if _elements(tensor.shape) > LARGEST:
            yield f"input '{tensor.name}' has the impossible shape {list(tensor.shape)}"
    for draw in program.draws:
        if _elements(draw.shape) > LARGEST or (draw.law == "integers" and draw.high < 1):
            yield f"draw '{draw.name}' has an impossible shape {list(draw.shape)} or bound {draw.high}"
    made: set[str] = set()
    for call in program.calls:
        outputs = {name for graph in program.graphs if graph.name == call.graph for name in graph.outputs}
        made |= outputs
        yield from _call_faults(call, outputs)
    for name in (program.chunk, *program.state):
        if name not in made:
            yield f"no call makes '{name}'"
    for name in sorted(set(program.state.values()) - set(program.start)):
        yield f"the state '{name}' has no first value"


def _call_faults(call: CallEntry, outputs: set[str]) -> Iterable[str]:
    if not outputs:
        yield f"a call names the graph '{call.graph}', which is not there"
    for name in sorted({*call.carry, *([call.until] if call.until else [])} - outputs):
        yield f"graph '{call.graph}' has no output '{name}'"
    for name, values in call.schedule.items():
        if len(values) < call.repeat:
            yield f"the schedule of '{name}' has {len(values)} values for {call.repeat} repetitions"


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def read(folder: Path) -> Manifest:
    """The manifest of a bundle's folder. Errors: InputError when it is missing, too large or wrong."""
    path = folder / NAME
    try:
        size = path.stat().st_size
        if size > LIMIT:
            raise InputError(f"has {size} bytes, at most {LIMIT} are read", where=str(path))
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError("there is no manifest.json: not a bundle", where=str(folder)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return parse(content, where=str(path))
