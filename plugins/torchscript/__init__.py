"""TorchScript: the exporter and the runtime, for machines that have torch."""

from rl.api import ExporterSpec, Need, RuntimeSpec, hookimpl

RL_API = 1
TORCH = Need(module="torch", install="rl-toolkit[train]")


@hookimpl
def rl_exporters() -> list[ExporterSpec]:
    return [
        ExporterSpec(
            name="torchscript",
            summary="Frozen TorchScript graphs",
            target="rl.plugins.torchscript.exporter:TorchScriptExporter",
            config="rl.plugins.torchscript.config:TorchScriptExportConfig",
            needs=(TORCH,),
            graph="torchscript",
        )
    ]


@hookimpl
def rl_runtimes() -> list[RuntimeSpec]:
    return [
        RuntimeSpec(
            name="torchscript",
            summary="TorchScript graphs in torch, without the policy's code",
            target="rl.plugins.torchscript.runtime:TorchScriptRuntime",
            config="rl.plugins.torchscript.config:TorchScriptRuntimeConfig",
            needs=(TORCH,),
            graphs=("torchscript",),
        )
    ]
