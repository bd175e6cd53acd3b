"""ACT: Action Chunking with Transformers."""

from rl.api import Need, PolicySpec, hookimpl

RL_API = 1


@hookimpl
def rl_policies():
    return [
        PolicySpec(
            name="act",
            summary="Action chunking with a transformer and a conditional VAE, from cameras and joint states",
            paper="2304.13705",
            suits="one task on one arm or two, 30-100 demonstrations, precise motion; trains in hours on one GPU",
            target="rl.plugins.act.policy:ACTPolicy",
            config="rl.plugins.act.config:ACTConfig",
            needs=(Need(module="torch", install="rl-toolkit[train]"),),
        )
    ]
