"""The drawn camera: a picture is a function of its instant and of the pose that it was told."""

import time

import numpy as np
import pytest

from rl.api.protocols import Snapshot
from rl.plugins.synthetic_camera.camera import SyntheticCamera
from rl.plugins.synthetic_camera.config import SyntheticCameraConfig
from rl.testing.camera import check_camera


def pose(*values):
    return Snapshot(np.array(values, np.float32), time.monotonic_ns(), np.zeros(len(values), np.float32))


def test_the_camera_keeps_the_contract():
    check_camera("synthetic", width=64, height=48)


def test_the_scene_moves():
    camera = SyntheticCamera(SyntheticCameraConfig(width=64, height=48, fps=100, period=1.0))
    camera.open()
    first = camera.latest().image
    time.sleep(0.15)
    assert (camera.latest().image != first).any()


def test_the_arm_is_drawn_where_the_state_says():
    pictures = []
    for lift in (-40, 40):
        camera = SyntheticCamera(SyntheticCameraConfig(width=96, height=96, fps=1))
        camera.open()
        camera.observe(pose(0, lift, 30, 10, 0, 50))
        pictures.append(camera.latest().image)
    assert (pictures[0] != pictures[1]).mean() > 0.01


@pytest.mark.parametrize("values", [(1e9,) * 6, (float("nan"),) * 6, (5.0,)])
def test_any_pose_still_gives_a_picture(values):
    camera = SyntheticCamera(SyntheticCameraConfig(width=32, height=32))
    camera.open()
    camera.observe(pose(*values))
    assert camera.latest().image.shape == (32, 32, 3)
