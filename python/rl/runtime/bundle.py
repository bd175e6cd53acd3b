"""An exported policy on disk: nothing of it is used before it is what its manifest says."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.api.errors import InputError
from rl.api.features import Feature
from rl.api.protocols import GraphFile
from rl.runtime import manifest as manifests
from rl.runtime.manifest import Manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rl.process.pipeline import Processing

    Arrays = Mapping[str, NDArray[Any]]

PARSED_AT_ONCE = 16 << 20  # bytes: larger files hold raw numbers, and are summed while the graph is being loaded


@dataclass(frozen=True)
class Bundle:
    """A manifest with the arrays and files that it names. `folder` is None for what was never written."""

    manifest: Manifest
    folder: Path | None = None
    given: Mapping[str, Any] = field(default_factory=dict)  # start values of what was never written
    steps: Processing | None = None  # host steps of what was never written

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = True) -> Bundle:
        """Reads and checks the manifest and the list of files; with `verify` also every file's SHA-256.

        Errors: InputError naming the file: missing, changed, unknown, a link, outside the folder.
        """
        folder = Path(folder)
        bundle = cls(manifests.read(folder), folder)
        check_listing(folder, bundle.manifest)
        if verify:
            check_sums(folder, bundle.manifest)
        return bundle

    def verification(self) -> Verification:
        """Starts the comparison of all sums; files that are parsed are done when this returns."""
        return Verification(self.folder, self.manifest)

    # --- what people ask for

    @cached_property
    def inputs(self) -> dict[str, Feature]:
        return self.manifest.features("inputs")

    @cached_property
    def outputs(self) -> dict[str, Feature]:
        return self.manifest.features("outputs")

    @cached_property
    def action(self) -> Feature:
        return next(f for f in self.outputs.values() if f.kind == "action" and len(f.shape) == 1)

    @property
    def fps(self) -> float:
        """Rate of the policy: rows of a chunk per second."""
        return self.manifest.rate.fps

    @property
    def chunk(self) -> int:
        return self.manifest.rate.chunk

    @property
    def execute(self) -> int:
        return self.manifest.rate.execute

    @property
    def ensemble(self) -> float | None:
        return self.manifest.rate.ensemble

    @property
    def kind(self) -> str:
        """Kind of its graph files: "onnx"."""
        return self.manifest.program.graphs[0].kind

    def graph_files(self) -> list[GraphFile]:
        return [GraphFile(g.name, g.path, g.precision) for g in self.manifest.program.graphs]

    def start(self) -> dict[str, NDArray[Any]]:
        """Values of the state before the first inference."""
        program = self.manifest.program
        if not program.values or self.folder is None:
            return dict(self.given)
        return self._arrays(program.values, program.start)

    def sample(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], NDArray[np.float32]] | None:
        """Observation windows, draws and the chunk that they must give; None when the bundle holds no sample."""
        if not self.manifest.sample or self.folder is None:
            return None
        draws = [draw.name for draw in self.manifest.program.draws]
        wanted = [f"observation/{name}" for name in self.inputs] + [f"draw/{name}" for name in draws] + ["expected"]
        found = self._arrays(self.manifest.sample, wanted)
        observation = {name: found[f"observation/{name}"] for name in self.inputs}
        return observation, {name: found[f"draw/{name}"] for name in draws}, found["expected"]

    def host(self) -> Processing | None:
        """The steps that run outside the graphs; None when there are none, which costs no import."""
        entry = self.manifest.processing
        if self.steps is not None or self.folder is None or not (entry.pre or entry.post):
            return self.steps
        from rl.process.pipeline import Processing

        return Processing(*(tuple(self._step(s) for s in steps) for steps in (entry.pre, entry.post)))

    def _step(self, entry: manifests.StepEntry) -> Any:
        from rl.config import build
        from rl.registry import registry

        known = registry()
        step = known.implementation("step", entry.step)(
            build(known.config_class("step", entry.step), entry.config, where=f"{manifests.NAME}: step {entry.step}")
        )
        if entry.state:
            step.load(self._arrays(entry.state))
        return step

    def _arrays(self, path: str, wanted: Any = ()) -> dict[str, NDArray[Any]]:
        from rl.process.tensor_files import read_arrays

        assert self.folder is not None
        found: dict[str, NDArray[Any]] = read_arrays(self.folder / path)
        missing = [name for name in wanted if name not in found]
        if missing:
            raise InputError(f"holds no '{missing[0]}'", where=str(self.folder / path))
        return found


class Verification:
    """Sums on their way: small files are compared at once, large ones in a thread while a session loads."""

    def __init__(self, folder: Path | None, manifest: Manifest) -> None:
        self._error: InputError | None = None
        self._thread: threading.Thread | None = None
        if folder is None:
            return
        late = {path for path, entry in manifest.files.items() if entry.bytes > PARSED_AT_ONCE}
        for path in manifest.files.keys() - late:
            check_sum(folder, path, manifest)
        if late:
            self._thread = threading.Thread(target=self._run, args=(folder, sorted(late), manifest), name="rl-sums")
            self._thread.start()

    def wait(self) -> None:
        """Returns once every file is known to be as it was written. Errors: InputError naming the first that is not."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, folder: Path, paths: list[str], manifest: Manifest) -> None:
        try:
            for path in paths:
                check_sum(folder, path, manifest)
        except InputError as error:
            self._error = error


def check_listing(folder: Path, manifest: Manifest) -> None:
    """The folder holds the listed files with the listed sizes, no link, and nothing else."""
    root = folder.resolve()
    for path, entry in manifest.files.items():
        file = folder / path
        if file.is_symlink() or not file.resolve().is_relative_to(root):
            raise InputError("is a link or lies outside the bundle", where=str(file))
        if not file.is_file():
            raise InputError("is missing from the bundle", where=str(file))
        if file.stat().st_size != entry.bytes:
            raise InputError(f"has {file.stat().st_size} bytes, {entry.bytes} were written", where=str(file))
    known = {*manifest.files, manifests.NAME}
    for path in sorted(_files(folder)):
        if path not in known:
            what = f"the manifest does not list '{path}'"
            raise InputError(what, where=str(folder), todo="remove it or export again")


def check_sums(folder: Path, manifest: Manifest) -> None:
    """Every file has its SHA-256. Errors: InputError naming the first that has not."""
    for path in manifest.files:
        check_sum(folder, path, manifest)


def check_sum(folder: Path, path: str, manifest: Manifest) -> None:
    if sha256(folder / path) != manifest.files[path].sha256:
        raise InputError(
            "is not what was exported (its SHA-256 differs)", where=str(folder / path), todo="copy the bundle again"
        )


def sha256(path: Path) -> str:
    """Of a file, read in small pieces: a mapping would count as memory in use."""
    digest, buffer = hashlib.sha256(), bytearray(1 << 20)
    view = memoryview(buffer)
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(view[:count])
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return digest.hexdigest()


def _files(folder: Path) -> set[str]:
    found = set()
    for at, folders, names in os.walk(folder):
        names += [name for name in folders if (Path(at) / name).is_symlink()]
        found |= {(Path(at) / name).relative_to(folder).as_posix() for name in names}
    return found
