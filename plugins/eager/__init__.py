"""A checkpoint's program in this process, in plain torch."""

from rl.api import Need, RuntimeSpec, hookimpl

RL_API = 1


@hookimpl
def rl_runtimes() -> list[RuntimeSpec]:
    return [
        RuntimeSpec(
            name="eager",
            summary="A checkpoint as it is, in torch, without an export",
            target="rl.plugins.eager.runtime:EagerRuntime",
            config="rl.plugins.eager.config:EagerRuntimeConfig",
            needs=(Need(module="torch", install="rl-toolkit[train]"),),
            graphs=("eager",),
        )
    ]
