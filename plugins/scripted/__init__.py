"""A leader that moves by a script: a named motion, or a file of timed poses."""

from rl.api import TeleoperatorSpec, hookimpl

RL_API = 1


@hookimpl
def rl_teleoperators() -> list[TeleoperatorSpec]:
    return [
        TeleoperatorSpec(
            name="scripted",
            summary="a motion by name, or a YAML file of timed poses; for tests and demonstrations",
            target="rl.plugins.scripted.scripted:Scripted",
            config="rl.plugins.scripted.config:ScriptedConfig",
            drives=("so101",),
        )
    ]
