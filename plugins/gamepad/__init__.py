"""Leading an arm by a gamepad, joint by joint or by the tool."""

from rl.api import Need, TeleoperatorSpec, hookimpl

RL_API = 1


@hookimpl
def rl_teleoperators() -> list[TeleoperatorSpec]:
    return [
        TeleoperatorSpec(
            name="gamepad",
            summary="a gamepad, joint by joint or by the tool; moves only while its left shoulder button is held",
            target="rl.plugins.gamepad.gamepad:Gamepad",
            config="rl.plugins.gamepad.config:GamepadConfig",
            needs=(Need(module="pygame", install="rl-toolkit[gamepad]"),),
            drives=("so101",),
        )
    ]
