"""The OpenCV camera, on a video file: frames, times, settings, ends."""

import time

import numpy as np
import pytest

from rl.api import InputError, MissingPart, RlError
from rl.plugins.opencv_camera.config import OpenCVCameraConfig
from rl.testing.camera import check_camera

cv2 = pytest.importorskip("cv2", reason="the extra camera (opencv) is not installed")
from rl.plugins.opencv_camera.camera import OpenCVCamera  # noqa: E402


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """20 pictures of 64x48, red on the left half, at 25 Hz."""
    path = tmp_path_factory.mktemp("video") / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48))
    assert writer.isOpened()
    for _ in range(20):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, :32, 2] = 255  # OpenCV's order is blue, green, red
        writer.write(picture)
    writer.release()
    return path


def opened(path, **options):
    camera = OpenCVCamera(OpenCVCameraConfig(index_or_path=str(path), **options))
    camera.open()
    return camera


def test_the_camera_keeps_the_contract(video):
    check_camera("opencv", index_or_path=str(video), width=64, height=48, loop=True)


def test_a_video_file_works_as_a_camera_in_rgb(video):
    camera = opened(video)
    frame = camera.latest()
    camera.close()
    assert frame.image.shape == camera.image.shape == (48, 64, 3)
    assert frame.image[10, 5, 0] > 200  # red comes first
    assert frame.image[10, 60].max() < 50


def test_colours_may_stay_in_the_drivers_order(video):
    camera = opened(video, color_mode="bgr")
    image = camera.latest().image
    camera.close()
    assert image[10, 5, 2] > 200


@pytest.mark.parametrize(("rotation", "place"), [(90, (5, 20)), (180, (20, 60)), (270, (60, 20)), (-90, (60, 20))])
def test_a_rotated_picture_has_its_new_size(video, rotation, place):
    camera = opened(video, rotation=rotation)
    frame = camera.latest()
    camera.close()
    assert frame.image.shape == camera.image.shape == ((48, 64, 3) if rotation == 180 else (64, 48, 3))
    assert frame.image[place][0] > 200


def test_a_video_that_is_over_is_an_error_not_its_last_picture(video):
    camera = opened(video, fps=200)

    def watch():
        for _ in range(300):
            camera.latest()
            time.sleep(0.01)

    with pytest.raises(RlError, match="over"):
        watch()
    camera.close()


def test_what_the_file_really_gives_is_said(video):
    camera = opened(video)
    camera.close()
    assert any("64x48 at 25 Hz" in note for note in camera.notes)


def test_a_size_that_is_not_given_is_refused_with_the_real_one(video):
    with pytest.raises(InputError, match="64x48"):
        opened(video, width=640, height=480)


def test_a_missing_device_is_named():
    with pytest.raises(MissingPart, match="no-such-camera"):
        opened("/dev/no-such-camera")


def test_a_number_without_a_camera_is_a_missing_part():
    camera = OpenCVCamera(OpenCVCameraConfig(index_or_path=97))
    with pytest.raises(MissingPart, match="camera 97"):
        camera.open()


def test_a_file_that_is_no_video_is_refused(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(MissingPart, match=r"text\.mp4"):
        opened(path)


def test_options_that_contradict_are_refused():
    with pytest.raises(InputError, match="together"):
        OpenCVCameraConfig(width=640)
    with pytest.raises(InputError, match="four letters"):
        OpenCVCameraConfig(fourcc="MJPEG")
