"""The matrices: what a person would expect of them, torchvision's functions, and their ranges."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from veduta.augment.matrices import COLOUR, SMALLEST_CROP, STEEPEST, TILT, homography, mixing
from veduta.augment.registry import AUGMENTATIONS
from veduta.augment.sampling import transform
from veduta.runtime.streams import mix, stream, uniforms

SIZE = 24
NEUTRAL = {
    "flip": [0.5], "vertical_flip": [0.5], "rotation": [0.5],
    "perspective": [0.0] * 8, "colour": [0.5] * 3,
}  # fmt: skip


def smooth(count: int = 1, size: int = SIZE) -> np.ndarray:
    """Images whose neighbouring pixels are alike: two interpolations agree on them."""
    waves = np.random.default_rng(0).uniform(0.5, 2.5, (count, 2, 3))
    y, x = np.mgrid[:size, :size] / size * math.pi
    phases = waves[:, 0, None, None] * y[..., None] + waves[:, 1, None, None] * x[..., None]
    return (127 + 90 * np.sin(phases)).astype(np.uint8)


def noise(count: int = 1, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), np.uint8)


def matrix(name: str, *draws: float) -> np.ndarray:
    return AUGMENTATIONS[name].make(np.array([draws]))


def moved(pixels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return transform(pixels, {"positions": positions})


def planes(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def far(mine: np.ndarray, theirs: torch.Tensor) -> np.ndarray:
    """How many of 256 levels two images are apart, pixel by pixel."""
    other = theirs.permute(0, 2, 3, 1).numpy()
    return np.abs(mine.astype(float) - other.astype(float)).max(axis=(0, 3))


@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_numbers_change_nothing(name: str) -> None:
    found = matrix(name, *NEUTRAL[name])
    np.testing.assert_array_equal(transform(noise(), {AUGMENTATIONS[name].of: found}), noise())


def test_the_whole_image_is_a_crop() -> None:
    np.testing.assert_array_equal(moved(noise(), matrix("crop", 1.0, 0.5, 0.3, 0.8)), noise())


def test_a_flip_is_numpys() -> None:
    np.testing.assert_array_equal(moved(noise(), matrix("flip", 0.49)), noise()[:, :, ::-1])


def test_flips_are_torchvisions() -> None:
    upset, both = matrix("vertical_flip", 0.49), matrix("flip", 0.0) @ matrix("vertical_flip", 0.0)
    np.testing.assert_array_equal(moved(noise(), upset), noise()[:, ::-1])
    theirs = reference.vertical_flip(reference.horizontal_flip(planes(noise())))
    assert not far(moved(noise(), both), theirs).any()


@pytest.mark.parametrize("size", [1, 24, 63, 301])
def test_exchanged_sides_are_what_resampling_gives(size: int) -> None:
    pixels = noise(4, size)
    mirrors = np.concatenate([np.diag(d)[None] for d in ([1, 1, 1], [-1, 1, 1], [1, -1, 1.0])])
    whole = np.array([[[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]]])  # a crop: none of them is exchanged
    together = moved(pixels, np.concatenate([mirrors, whole]))
    np.testing.assert_array_equal(moved(pixels[:3], mirrors), together[:3])


def test_a_quarter_turn_is_numpys() -> None:
    quarter = np.array([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    np.testing.assert_array_equal(moved(noise(), quarter), np.rot90(noise(), axes=(1, 2)))


def test_corners_that_turn_by_a_quarter_are_a_quarter_turn() -> None:
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    turned = homography(corners, np.roll(corners, -1, axis=0)[None])
    np.testing.assert_array_equal(moved(noise(), turned), np.rot90(noise(), axes=(1, 2)))


def test_a_quarter_of_the_image_is_each_pixel_spread_over_four() -> None:
    corner = np.array([[[0.5, 0.0, -0.5], [0.0, 0.5, -0.5], [0.0, 0.0, 1.0]]])
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[0, :2, :2] = np.array([[10, 50], [90, 210]])[..., None]
    # a quarter and three quarters between the two columns: 10, 20, 40, 50; then 50 and the 0 beside
    first = [10, 20, 40, 38]  # the last: 3/4 of 50, 1/4 of 0, and 37.5 rounds to the even 38
    assert moved(pixels, corner)[0, 0, :, 0].tolist() == first


@pytest.mark.parametrize("degrees", [-STEEPEST, 4.0, STEEPEST])
def test_a_rotation_is_torchvisions(degrees: float) -> None:
    mine = moved(smooth(), matrix("rotation", (degrees / STEEPEST + 1) / 2))
    theirs = reference.rotate(planes(smooth()), degrees, InterpolationMode.BILINEAR)
    middle = slice(4, -4)  # torchvision pads with black
    assert far(mine, theirs)[middle, middle].max() <= 1


def test_a_crop_is_torchvisions() -> None:
    size, top, left, height, width = 32, 4, 10, 20, 16  # of an area of 0.3125, so not drawn
    whole = np.array(
        [[[width / size, 0, (2 * left + width) / size - 1],
          [0, height / size, (2 * top + height) / size - 1],
          [0, 0, 1]]]
    )  # fmt: skip
    pixels = smooth(size=size)
    theirs = reference.resized_crop(
        planes(pixels), top, left, height, width, [size, size], antialias=False
    )
    inside = slice(1, -1)  # at the edge torchvision does not look beyond the crop
    assert far(moved(pixels, whole), theirs)[inside, inside].max() <= 1


def test_a_perspective_is_torchvisions() -> None:
    draws = np.array([[0.9, 0.2], [0.0, 0.7], [0.4, 0.4], [1.0, 0.1]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    places = corners * (1 - TILT * draws)
    start, end = ((where + 1) * SIZE / 2 for where in (places, corners))  # from the edge on
    theirs = reference.perspective(
        planes(smooth()), start.tolist(), end.tolist(), InterpolationMode.BILINEAR
    )
    mine = moved(smooth(), matrix("perspective", *draws.ravel()))
    assert far(mine, theirs)[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.25])
def test_colours_are_torchvisions(factor: float) -> None:
    one, other = np.array([1.0]), np.array([factor])
    pixels = planes(noise()).float() / 255
    for matrices, adjust in (
        (mixing(other, one, saturation=one), reference.adjust_brightness),
        (mixing(one, other, saturation=one), reference.adjust_contrast),
        (mixing(one, one, saturation=other), reference.adjust_saturation),
    ):
        theirs = (adjust(pixels, factor) * 255).round()
        assert far(transform(noise(), {"colours": matrices}), theirs).max() <= 1


def test_colours_together_are_torchvisions_one_after_another() -> None:
    pixels = (64 + noise() // 2).astype(np.uint8)  # far from black and white, nothing is cut
    brightness, contrast, saturation = 1.1, 0.8, 0.9
    theirs = reference.adjust_brightness(planes(pixels).float() / 255, brightness)
    theirs = reference.adjust_saturation(reference.adjust_contrast(theirs, contrast), saturation)
    factors = (np.array([value]) for value in (brightness, contrast, saturation))
    matrices = mixing(next(factors), next(factors), saturation=next(factors))
    mine = transform(pixels, {"colours": matrices})
    assert far(mine, (theirs * 255).round()).max() <= 1


def drawn(name: str, count: int = 4000) -> np.ndarray:
    keys = mix(np.arange(count, dtype=np.uint64))
    numbers = uniforms(stream(0, "a test", name), keys, AUGMENTATIONS[name].draws)
    return AUGMENTATIONS[name].make(numbers.astype(np.float64))


def test_crops_lie_inside_and_have_their_areas_and_shapes() -> None:
    found = drawn("crop")
    for half, middle in ((found[:, 0, 0], found[:, 0, 2]), (found[:, 1, 1], found[:, 1, 2])):
        assert (abs(middle) + half <= 1 + 1e-12).all()
    area, shape = found[:, 0, 0] * found[:, 1, 1], found[:, 0, 0] / found[:, 1, 1]
    assert SMALLEST_CROP - 1e-9 <= area.min() < 0.37
    assert area.max() <= 1
    assert 3 / 4 - 1e-9 <= shape.min() < 0.77
    assert 1.3 < shape.max() <= 4 / 3 + 1e-9


def test_half_are_flipped_and_angles_fill_their_range() -> None:
    assert (drawn("flip")[:, 0, 0] == -1).mean() == pytest.approx(0.5, abs=0.03)
    rotations = drawn("rotation")
    angles = np.degrees(np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]))
    assert abs(angles).max() == pytest.approx(STEEPEST, rel=0.01)
    assert abs(angles.mean()) < 0.3


def test_a_tilted_view_never_leaves_the_image() -> None:
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1.0]])
    places = np.einsum("nij,cj->nci", drawn("perspective"), corners)
    places = places[..., :2] / places[..., 2:]
    assert abs(places).max() <= 1 + 1e-9
    assert abs(places).min() >= 1 - TILT - 1e-9


def test_the_factors_of_colour_fill_their_range() -> None:
    brightness = drawn("colour").sum(axis=2)[:, 0]  # grey (1, 1, 1) of mean 1 becomes b
    assert brightness.min() == pytest.approx(1 - COLOUR, abs=0.01)
    assert brightness.max() == pytest.approx(1 + COLOUR, abs=0.01)
