"""A camera that draws its picture: a moving scene that shows time and, when it is told, the robot's pose."""

from rl.api import CameraSpec, hookimpl

RL_API = 1


@hookimpl
def rl_cameras() -> list[CameraSpec]:
    return [
        CameraSpec(
            name="synthetic",
            summary="a drawn, moving scene; no hardware",
            target="rl.plugins.synthetic_camera.camera:SyntheticCamera",
            config="rl.plugins.synthetic_camera.config:SyntheticCameraConfig",
            drawn=True,
        )
    ]
