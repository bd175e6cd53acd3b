"""The conformance kit for runtimes: `check_runtime` in a test of the plugin's own distribution."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rl.api.protocols import GraphFile
from rl.testing import listing
from rl.testing.conformance import Subject, check_rules, refused, rule
from rl.testing.graphs import TOLERANCE, compare, exporter_of, opened, partner, written
from rl.testing.machines import ended
from rl.testing.programs import toy_programs


class RuntimeSubject(Subject):
    """A runtime and the exporter that writes graphs for it; None: the first installed one that does."""

    def __init__(
        self, name: str, options: dict[str, Any], exporter: str | None = None, tolerance: float = TOLERANCE
    ) -> None:
        super().__init__("runtime", name, options)
        self.exporter, self.tolerance = exporter, tolerance

    def partner(self) -> str:
        return self.exporter or partner(self.registry, "exporter", self.spec.graphs)[0]

    @cached_property
    def place(self) -> Path:
        return Path(self.held.enter_context(TemporaryDirectory()))

    @cached_property
    def files(self) -> dict[str, Sequence[GraphFile]]:
        return {}

    def written(self, name: str) -> tuple[Path, Sequence[GraphFile]]:
        """One of the small programs, written once by the partner: its folder and the files named."""
        folder = self.place / name
        if name not in self.files:
            exporter = exporter_of(self.registry, self.partner(), {})
            self.files[name] = written(exporter, toy_programs()[name], folder)
        return folder, self.files[name]

    @contextmanager
    def plain(self) -> Iterator[tuple[Path, list[GraphFile]]]:
        """A folder with the smallest program's graph files."""
        source, files = self.written("plain")
        with TemporaryDirectory() as copied:
            folder = Path(copied) / "graphs"
            shutil.copytree(source, folder)
            yield folder, list(files)

    def open(self, folder: Path, files: Sequence[GraphFile]) -> Any:
        return opened(self.registry, self.name, self.options, folder, files)

    def run_once(self, folder: Path, files: list[GraphFile]) -> None:
        program = toy_programs()["plain"]
        with self.open(folder, files) as running:
            compare("program 'plain'", program, running, self.tolerance)


@rule("runs each kind of program within tolerance, also after its folder was moved", gate=True)
def has_parity(subject: RuntimeSubject) -> None:
    with TemporaryDirectory() as elsewhere:
        for name, program in toy_programs().items():
            folder, files = subject.written(name)
            moved = Path(elsewhere) / name
            shutil.copytree(folder, moved)
            folder.rename(folder.with_name(f"{name}.gone"))
            with subject.open(moved, files) as running:
                compare(f"program '{name}'", program, running, subject.tolerance)
            folder.with_name(f"{name}.gone").rename(folder)


@rule("a graph file that is missing or damaged is refused by name")
def refuses_bad_files(subject: RuntimeSubject) -> None:
    with subject.plain() as (folder, files):
        first = files[0]
        name, whole = Path(first.path).name, (folder / first.path).read_bytes()
        todo = "raise InputError(..., where=path)"
        for what, content in (
            ("cut in half", whole[: len(whole) // 2]),
            ("of noise", b"\x00\xff" * 64),
            ("that is empty", b""),
        ):
            (folder / first.path).write_bytes(content)
            refused(f"a graph file {what}", lambda: subject.run_once(folder, files), todo=todo, containing=name)
        (folder / first.path).unlink()
        refused("a missing graph file", lambda: subject.run_once(folder, files), todo=todo, containing=name)


@rule("close may be called twice")
def closes(subject: RuntimeSubject) -> None:
    with subject.plain() as (folder, files), subject.open(folder, files) as running:
        ended("close()", running.close)


RULES = (*listing.RULES, has_parity, refuses_bad_files, closes)


def subject(name: str, options: dict[str, Any]) -> RuntimeSubject:
    """The runtime with the first installed exporter that writes for it."""
    return RuntimeSubject(name, options)


def check_runtime(name: str, *, exporter: str | None = None, tolerance: float = TOLERANCE, **options: Any) -> None:
    """Raises Violation, one line, for the first rule of the contract that the runtime breaks.

    exporter: the exporter plugin that writes graphs for it; None: the first installed one for a kind it runs.
    tolerance: largest absolute difference from the program's own modules. options: the runtime's own.
    """
    check_rules(RuntimeSubject(name, options, exporter, tolerance), RULES)


__all__ = ["RULES", "RuntimeSubject", "check_runtime", "subject"]
