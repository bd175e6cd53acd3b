"""The conformance kit for exporters: `check_exporter` in a test of the plugin's own distribution."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rl.api.protocols import GraphFile
from rl.testing import listing
from rl.testing.conformance import Subject, check_rules, require, rule
from rl.testing.graphs import TOLERANCE, compare, exporter_of, opened, partner, written
from rl.testing.programs import toy_programs


class ExporterSubject(Subject):
    """An exporter and the runtime that its files are tried with; None: the first installed one that runs them."""

    def __init__(
        self, name: str, options: dict[str, Any], runtime: str | None = None, tolerance: float = TOLERANCE
    ) -> None:
        super().__init__("exporter", name, options)
        self.runtime, self.tolerance = runtime, tolerance

    def make(self) -> Any:
        return exporter_of(self.registry, self.name, self.options)

    @cached_property
    def written(self) -> tuple[Path, dict[str, Sequence[GraphFile]]]:
        """The folder with every small program, written once below its folder `graphs`, and the files named."""
        place, programs = Path(self.held.enter_context(TemporaryDirectory())), toy_programs()
        return place, {name: written(self.make(), one, place / "graphs" / name) for name, one in programs.items()}

    def partner(self) -> str:
        return self.runtime or partner(self.registry, "runtime", (self.spec.graph,))[0]


@rule("writes one file a graph, inside its folder and nowhere else", gate=True)
def writes(subject: ExporterSubject) -> None:
    place, programs = subject.written
    for files in programs.values():
        bad = [f.path for f in files if f.precision not in ("float32", "float16", "bfloat16", "int8")]
        require(not bad, f"the precision of {', '.join(bad)} is not said", "float32, float16 or int8")
    stray = [p.name for p in place.iterdir() if p.name != "graphs"]
    require(not stray, f"write() leaves {', '.join(stray)} beside its folder", "only inside the folder")


@rule("each kind of program runs within tolerance, also after its folder was moved")
def has_parity(subject: ExporterSubject) -> None:
    runtime = subject.partner()
    place, programs = subject.written
    with TemporaryDirectory() as elsewhere:
        for name, program in toy_programs().items():
            moved = Path(shutil.move(place / "graphs" / name, elsewhere))
            with opened(subject.registry, runtime, {}, moved, programs[name]) as running:
                compare(f"program '{name}' in runtime {runtime}", program, running, subject.tolerance)


RULES = (*listing.RULES, writes, has_parity)


def subject(name: str, options: dict[str, Any]) -> ExporterSubject:
    """The exporter with the first installed runtime that runs its files."""
    return ExporterSubject(name, options)


def check_exporter(name: str, *, runtime: str | None = None, tolerance: float = TOLERANCE, **options: Any) -> None:
    """Raises Violation, one line, for the first rule of the contract that the exporter breaks.

    runtime: the runtime plugin that its files are run with; None: the first installed one for its kind of graph.
    tolerance: largest absolute difference from the program's own modules. options: the exporter's own.
    """
    check_rules(ExporterSubject(name, options, runtime, tolerance), RULES)


__all__ = ["RULES", "ExporterSubject", "check_exporter", "subject"]
