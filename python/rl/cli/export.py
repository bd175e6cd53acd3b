"""`rl export SOURCE`: a checkpoint as a bundle, with the table of how far it is from eager PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rl.api.errors import InputError
from rl.config.command_line import CommandSpec, Resolved
from rl.export.config import ExportConfig

if TYPE_CHECKING:
    from rl.export.report import Report

SPEC = CommandSpec(
    name="export",
    tree=ExportConfig,
    summary="Write a checkpoint as a bundle: graphs, manifest, sample, and the measured error against eager PyTorch.",
    positionals=("source",),
    required=("source",),
    short={"-o": "output"},
)


def run(resolved: Resolved) -> int:
    """Export, then print the parity table. Errors: InputError, RlError when parity fails, MissingPart."""
    config: ExportConfig = resolved.config
    out = Path(config.output).expanduser() if config.output else _beside(config)
    if out.exists():  # known before torch is imported
        raise InputError("is there already", where=str(out), todo="choose another folder with -o, or remove it")
    if not Path(config.source).expanduser().exists() and config.source.count("/") != 1:
        raise InputError("there is no such checkpoint", where=config.source)
    from rl.export import export

    report = export(
        config.source,
        config.chosen,
        out,
        tolerance=config.tolerance,
        samples=config.samples,
        dataset=config.dataset,
        fps=config.fps,
    )
    print_report(report)
    return 0


def print_report(report: Report) -> None:
    """The parity table and where the bundle lies."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"parity of {report.policy} ({report.kind}) with eager PyTorch", title_justify="left")
    for column in ("output", f"max error [{report.unit}]", "of its scale", "allowed", "worst input", "verdict"):
        table.add_column(column, justify="left" if column in ("output", "worst input", "verdict") else "right")
    for name, error in report.outputs.items():
        table.add_row(name, f"{error.max_abs:.3g}", f"{error.max_rel:.2g}", f"{report.tolerance:g}", error.worst, "ok")
    console.print(table)
    source = f" from {report.source}" if report.real else f" ({report.source})"
    print(f"tried {report.inputs} inputs, {report.real} of them recorded{source}")
    faster = report.eager_ms / report.exported_ms if report.exported_ms else 0.0
    print(f"one chunk: eager {report.eager_ms:.1f} ms, exported {report.exported_ms:.1f} ms ({faster:.2f}x)")
    print(f"wrote {report.folder} ({report.bytes / 1e6:.1f} MB) in {report.seconds:.1f} s")


def _beside(config: ExportConfig) -> Path:
    """A folder beside the checkpoint's own, or in the run."""
    source = Path(config.source).expanduser()
    return source.parent / f"bundle-{config.chosen}" if source.exists() else Path(f"bundle-{config.chosen}")
