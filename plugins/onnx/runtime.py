"""Graphs in ONNX Runtime: arrays in, arrays out. Imports neither torch nor onnx."""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from rl.api import InputError, MissingPart, RlError
from rl.api.protocols import GraphFile
from rl.plugins.onnx.config import OnnxRuntimeConfig

LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])|\x0a\x08location\x12[\x80-\xff]", re.DOTALL)
FAULTS = (onnxruntime.capi.onnxruntime_pybind11_state.Fail, onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument)

if TYPE_CHECKING:
    from rl.api.protocols import Arrays


class OnnxRuntime:
    """One session a graph. Custom operators are never loaded; weights are read from the graph's own folder only.

    Errors: InputError naming the file that ONNX Runtime refuses, MissingPart when the device's provider is absent.
    """

    def __init__(self, config: OnnxRuntimeConfig, folder: Path, files: Sequence[GraphFile]) -> None:
        self.config = config
        providers = _providers(config.device)
        self._sessions = {file.graph: _session(folder / file.path, config, providers) for file in files}
        self._outputs = {name: [out.name for out in session.get_outputs()] for name, session in self._sessions.items()}

    def run(self, graph: str, inputs: Arrays) -> Arrays:
        try:
            values = self._sessions[graph].run(self._outputs[graph], dict(inputs))
        except FAULTS as error:
            raise RlError(f"graph '{graph}' failed: {_first_line(error)}", where="onnx") from None
        return dict(zip(self._outputs[graph], (np.asarray(value) for value in values), strict=True))

    def close(self) -> None:
        """Frees the sessions."""
        self._sessions.clear()


def _session(path: Path, config: OnnxRuntimeConfig, providers: list[Any]) -> onnxruntime.InferenceSession:
    require_inside(path)
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = config.arena
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # warnings about folding are the exporter's business
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the control loop needs the cores
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its errors share no base class but this
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise InputError(f"ONNX Runtime refuses it: {_first_line(error)}", where=str(path)) from None


def require_inside(path: Path) -> None:
    """Weights may lie in plain files beside the graph and nowhere else, whatever this ONNX Runtime itself allows.

    Looks for the `location` entries of external data in the file's bytes; the onnx package is not needed for it.
    """
    if not path.is_file():
        raise InputError("is not there", where=str(path))
    if not path.stat().st_size:
        raise InputError("is empty", where=str(path))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for found in LOCATION.finditer(content):
            length = found[1][0] if found[1] else 0  # names of 128 bytes and more are none of ours
            name = content[found.end() : found.end() + length].decode("utf-8", "replace")
            if not name or PurePosixPath(name).name != name or "\\" in name or (path.parent / name).is_symlink():
                raise InputError(f"its weights lie outside its folder: '{name}'", where=str(path))


def _providers(device: str) -> list[Any]:
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        return ["CPUExecutionProvider"]
    if kind != "cuda" or not (index.isdigit() or not index):
        raise InputError(f"there is no device '{device}'", where="runtime", todo="use cpu, cuda or cuda:N")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise MissingPart(
            "this ONNX Runtime has no CUDA provider",
            where="runtime",
            todo='in an environment without onnxruntime: pip install "rl-toolkit[deploy-gpu]"',
        )
    return [("CUDAExecutionProvider", {"device_id": int(index or 0), "use_tf32": 0}), "CPUExecutionProvider"]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
