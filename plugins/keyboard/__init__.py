"""Leading an arm by the keys of a terminal, joint by joint or by the tool; over ssh too."""

from rl.api import TeleoperatorSpec, hookimpl

RL_API = 1


@hookimpl
def rl_teleoperators() -> list[TeleoperatorSpec]:
    return [
        TeleoperatorSpec(
            name="keyboard",
            summary="the keys of this terminal, joint by joint or by the tool; space is the e-stop",
            target="rl.plugins.keyboard.keyboard:Keyboard",
            config="rl.plugins.keyboard.config:KeyboardConfig",
            drives=("so101",),
        )
    ]
