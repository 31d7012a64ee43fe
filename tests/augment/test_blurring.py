"""Blurring: torchvision's for the same widths, what it must keep, and who is blurred how much."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from tests.augment.test_matrices import drawn, far, noise, planes
from veduta.augment.blurring import REACH, blur, taps, widest
from veduta.augment.sampling import transform

SIZE = 64


def blurred(pixels: np.ndarray, *sigmas: float) -> np.ndarray:
    """With standard deviations in pixels."""
    return transform(pixels, {"sharpness": np.array(sigmas) / widest(pixels.shape[1])})


@pytest.mark.parametrize(
    ("size", "sigma"), [(24, 0.5), (64, 0.64), (64, 0.3), (96, 0.96), (224, 2.0)]
)
def test_it_is_torchvisions(size: int, sigma: float) -> None:
    pixels = noise(2, size)
    width = 2 * math.ceil(REACH * widest(size)) + 1
    theirs = reference.gaussian_blur(planes(pixels).float(), [width, width], [sigma, sigma])
    assert far(blurred(pixels, sigma, sigma), theirs.round()).max() <= 1
    mine = blur(planes(pixels).float(), np.array([sigma, sigma]))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-3)


def test_taps_worked_by_hand() -> None:
    # sigma 1: 1, e^-1/2, e^-2 over 1 + 2 (e^-1/2 + e^-2) = 2.48373...
    expected = np.array([1, 0.6065306597, 0.1353352832]) / 2.4837318859
    np.testing.assert_allclose(taps(np.array([1.0, 1e-9]), 2), [expected, [1, 0, 0]], atol=1e-9)


def test_a_point_spreads_to_both_sides_and_keeps_its_sum() -> None:
    point = torch.zeros(1, 1, SIZE, SIZE)
    point[..., 30, 20] = 1
    found = blur(point, np.array([0.6]))[0, 0]
    assert found.sum() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(found[30, 15:26], found[30, 15:26].flip(0))
    torch.testing.assert_close(found[25:36, 20], found[30, 15:26])


def test_extremes_stay_as_they_are_and_sharp_images_untouched() -> None:
    black, white = (
        np.zeros((1, SIZE, SIZE, 3), np.uint8),
        np.full((1, SIZE, SIZE, 3), 255, np.uint8),
    )
    together = np.concatenate([black, white, noise(1, SIZE)])
    np.testing.assert_array_equal(blurred(together, 0.64, 0.64, 0.0), together)
    np.testing.assert_array_equal(blurred(noise(1, 1), 0.01), noise(1, 1))


def test_every_second_image_is_blurred_by_a_uniform_width() -> None:
    sigmas = drawn("blur")
    assert (sigmas > 0).mean() == pytest.approx(0.5, abs=0.03)
    some = sigmas[sigmas > 0]
    assert some.max() <= 1
    assert some.mean() == pytest.approx(1 / 2, abs=0.02)
    assert some.var() == pytest.approx(1 / 12, abs=0.01)
