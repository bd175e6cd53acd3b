"""Options of the ONNX exporter and runtime."""

from dataclasses import dataclass
from typing import Annotated

from rl.config import doc


@dataclass(frozen=True, kw_only=True)
class OnnxExportConfig:
    """ONNX graphs with external weights, for ONNX Runtime."""

    opset: Annotated[int, doc("ONNX operator set", ge=18, le=23)] = 20


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeConfig:
    """ONNX Runtime on CPU or GPU, without torch."""

    device: Annotated[str, doc("cpu, or cuda or cuda:1 with the extra deploy-gpu")] = "cpu"
    threads: Annotated[int, doc("threads inside one operator; 0: one per core", ge=0, le=1024)] = 0
    arena: Annotated[bool, doc("keep freed memory for the next inference: more memory, less time")] = False
