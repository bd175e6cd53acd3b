"""USB and built-in cameras, and video files, through OpenCV."""

from rl.api import CameraSpec, Need, hookimpl

RL_API = 1


@hookimpl
def rl_cameras() -> list[CameraSpec]:
    return [
        CameraSpec(
            name="opencv",
            summary="USB or built-in camera, stream or video file, through OpenCV",
            target="rl.plugins.opencv_camera.camera:OpenCVCamera",
            config="rl.plugins.opencv_camera.config:OpenCVCameraConfig",
            needs=(Need(module="cv2", install="rl-toolkit[camera]"),),
        )
    ]
