"""From a checkpoint to a bundle: graphs, manifest, parity, sample. Importing this does not import torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.export.report import Report
    from rl.export.write import export, export_policy

__all__ = ["Report", "export", "export_policy"]


def __getattr__(name: str) -> Any:
    if name == "Report":
        from rl.export.report import Report

        return Report
    if name in ("export", "export_policy"):
        from rl.export import write

        return getattr(write, name)
    raise AttributeError(f"module 'rl.export' has no attribute '{name}'")
