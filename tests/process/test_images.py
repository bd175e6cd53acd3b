"""Pictures: uint8 HWC to float CHW, resized by one rule in both array libraries."""

import numpy as np
import pytest
import torch

from rl.api import Feature, InputError
from rl.process.images import Images, resize, weights

CAMERA = Feature("observation.images.top", "image", (8, 12, 3), dtype="uint8")


def pictures(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, 1, height, width, 3), dtype=np.uint8)


def test_pictures_become_channels_first_in_0_to_1():
    step = Images({CAMERA.name: CAMERA}, {CAMERA.name: (8, 12)})
    given = pictures(8, 12)
    out = step.apply({CAMERA.name: given})[CAMERA.name]
    assert (out.shape, out.dtype) == ((2, 1, 3, 8, 12), np.float32)
    np.testing.assert_array_equal(out, np.moveaxis(given, -1, 2).astype(np.float32) / 255)


@pytest.mark.parametrize("size", [(4, 6), (8, 5), (16, 24), (3, 30)])
def test_numpy_and_torch_resize_alike(size):
    given = pictures(8, 12)
    step = Images({CAMERA.name: CAMERA}, {CAMERA.name: size})
    ours, theirs = (step.apply({CAMERA.name: x})[CAMERA.name] for x in (given, torch.tensor(given)))
    assert ours.shape == (2, 1, 3, *size)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [(40, 60), (120, 100), (37, 91)])
def test_resizing_is_torchs_antialiased_bilinear(size):
    x = torch.rand(1, 3, 80, 90, generator=torch.Generator().manual_seed(1))
    wanted = torch.nn.functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
    np.testing.assert_allclose(resize(x, size).numpy(), wanted.numpy(), atol=2e-5)  # torch makes its weights in float32


def test_rows_of_the_filter_sum_to_one():
    for given, wanted in ((480, 96), (96, 480), (7, 3)):
        np.testing.assert_allclose(weights(given, wanted).sum(-1), 1, atol=1e-5)


def test_a_plain_picture_stays_plain():
    grey = np.full((1, 1, 9, 7, 3), 100, np.uint8)
    out = Images({CAMERA.name: CAMERA}, {CAMERA.name: (4, 16)}).apply({CAMERA.name: grey})[CAMERA.name]
    np.testing.assert_allclose(out, 100 / 255, atol=1e-6)


def test_what_comes_out_is_predicted():
    step = Images({CAMERA.name: CAMERA}, {CAMERA.name: (4, 6)})
    assert step.features({CAMERA.name: CAMERA})[CAMERA.name].shape == (4, 6, 3)


@pytest.mark.parametrize("wrong", [np.zeros((1, 1, 8, 12, 3), np.float32), np.zeros((1, 8, 12, 3), np.uint8)])
def test_other_arrays_are_refused(wrong):
    with pytest.raises(InputError, match="not uint8"):
        Images({CAMERA.name: CAMERA}, {}).apply({CAMERA.name: wrong})
