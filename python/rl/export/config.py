"""Options of `rl export`."""

from dataclasses import dataclass
from typing import Annotated

from rl.api.errors import InputError
from rl.config import doc

TOLERANCE = 1e-4
SAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What `rl export` does."""

    source: Annotated[str, doc("run, checkpoint, or model folder to export")] = ""
    onnx: Annotated[bool, doc("write ONNX graphs (the default)")] = False
    torchscript: Annotated[bool, doc("write TorchScript graphs")] = False
    exporter: Annotated[str | None, doc("any other exporter, by its plugin's name")] = None
    output: Annotated[str | None, doc("the bundle's folder, -o; null: beside the checkpoint, bundle-KIND")] = None
    tolerance: Annotated[
        float, doc("largest error against eager PyTorch, of the action's deviation or size", gt=0, lt=1)
    ] = TOLERANCE
    samples: Annotated[int, doc("inputs tried besides the extreme ones", ge=1, le=10_000)] = SAMPLES
    dataset: Annotated[
        str | None, doc("data set that the tried inputs come from; null: the one it was trained on, when it is there")
    ] = None
    fps: Annotated[float | None, doc("rate of the data, when the checkpoint does not say it", unit="Hz", gt=0)] = None

    def __post_init__(self) -> None:
        given = [name for name in ("onnx", "torchscript", "exporter") if getattr(self, name)]
        if len(given) > 1:
            what = f"--{given[0]} and --{given[1]} make two bundles"
            raise InputError(what, where="export", todo="run it once for each")

    @property
    def chosen(self) -> str:
        """The exporter's name."""
        return self.exporter or ("torchscript" if self.torchscript else "onnx")
