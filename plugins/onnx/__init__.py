"""ONNX: the exporter, and the runtime that needs no torch."""

from rl.api import ExporterSpec, Need, RuntimeSpec, hookimpl

RL_API = 1


@hookimpl
def rl_exporters() -> list[ExporterSpec]:
    return [
        ExporterSpec(
            name="onnx",
            summary="ONNX graphs with external weights, for ONNX Runtime",
            target="rl.plugins.onnx.exporter:OnnxExporter",
            config="rl.plugins.onnx.config:OnnxExportConfig",
            needs=(
                Need(module="torch", install="rl-toolkit[export]"),
                Need(module="onnx", install="rl-toolkit[export]"),
                Need(module="onnxscript", install="rl-toolkit[export]"),
            ),
            graph="onnx",
        )
    ]


@hookimpl
def rl_runtimes() -> list[RuntimeSpec]:
    return [
        RuntimeSpec(
            name="onnx",
            summary="ONNX Runtime on CPU or GPU, without torch",
            target="rl.plugins.onnx.runtime:OnnxRuntime",
            config="rl.plugins.onnx.config:OnnxRuntimeConfig",
            needs=(Need(module="onnxruntime", install="rl-toolkit[deploy]"),),
            graphs=("onnx",),
        )
    ]
