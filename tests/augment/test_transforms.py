"""Transforms: against torchvision, on examples with known results, and the ranges of parameters."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from tests.support.augmentation import (
    SIZE,
    compute_max_difference,
    draw_many_parameters,
    make_noise_images,
    make_smooth_images,
    to_tensor,
)
from veduta.augment.pipeline import apply_transforms, augment_images
from veduta.augment.registry import AUGMENTATIONS
from veduta.augment.transforms import (
    BLUR_TRUNCATION,
    CORNERS,
    MAX_COLOR_CHANGE,
    MAX_ERASED_AREA,
    MAX_ROTATION,
    MAX_TILT,
    MIN_CROP_AREA,
    MIN_ERASED_AREA,
    MIN_ERASED_ASPECT,
    apply_blur,
    build_color_matrices,
    compute_gaussian_weights,
    compute_max_sigma,
    erase_boxes,
    make_erasing_boxes,
    solve_homographies,
    sum_channels,
)
from veduta.runtime.streams import mix_bits

NEUTRAL = {
    "flip": [0.5], "vertical_flip": [0.5], "rotation": [0.5],
    "perspective": [0.0] * 8, "color": [0.5] * 3,
}  # fmt: skip
BLUR_SIZE = 64


def make_parameters(name: str, *uniforms: float) -> np.ndarray:
    return AUGMENTATIONS[name].make_parameters(np.array([uniforms]))


def resample(pixels: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    return apply_transforms(pixels, {"geometry": matrices})


def blur_by_pixels(pixels: np.ndarray, *sigmas: float) -> np.ndarray:
    """Blur images with standard deviations in pixels."""
    return apply_transforms(pixels, {"blur": np.array(sigmas) / compute_max_sigma(pixels.shape[1])})


@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_parameters_change_nothing(name: str) -> None:
    pixels = make_noise_images()
    parameters = {AUGMENTATIONS[name].kind: make_parameters(name, *NEUTRAL[name])}
    np.testing.assert_array_equal(apply_transforms(pixels, parameters), pixels)


def test_crop_of_whole_image_changes_nothing() -> None:
    pixels = make_noise_images()
    whole = make_parameters("crop", 1.0, 0.5, 0.3, 0.8)
    np.testing.assert_array_equal(resample(pixels, whole), pixels)


def test_flips_equal_numpy_and_torchvision() -> None:
    pixels = make_noise_images()
    horizontal, vertical = make_parameters("flip", 0.49), make_parameters("vertical_flip", 0.49)
    np.testing.assert_array_equal(resample(pixels, horizontal), pixels[:, :, ::-1])
    np.testing.assert_array_equal(resample(pixels, vertical), pixels[:, ::-1])
    expected = reference.vertical_flip(reference.horizontal_flip(to_tensor(pixels)))
    assert not compute_max_difference(resample(pixels, horizontal @ vertical), expected).any()


@pytest.mark.parametrize("size", [1, 24, 63, 301])
def test_flip_shortcut_equals_resampling(size: int) -> None:
    pixels = make_noise_images(4, size)
    flips = np.concatenate([np.diag(d)[None] for d in ([1, 1, 1], [-1, 1, 1], [1, -1, 1.0])])
    crop = np.array([[[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]]])  # disables the shortcut
    resampled = resample(pixels, np.concatenate([flips, crop]))
    np.testing.assert_array_equal(resample(pixels[:3], flips), resampled[:3])


def test_quarter_turn_equals_numpy() -> None:
    quarter_turn = np.array([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    pixels = make_noise_images()
    np.testing.assert_array_equal(resample(pixels, quarter_turn), np.rot90(pixels, axes=(1, 2)))


def test_homography_of_rotated_corners_is_a_quarter_turn() -> None:
    corners = np.array(CORNERS)
    matrices = solve_homographies(corners, np.roll(corners, -1, axis=0)[None])
    pixels = make_noise_images()
    np.testing.assert_array_equal(resample(pixels, matrices), np.rot90(pixels, axes=(1, 2)))


def test_enlarged_quarter_is_interpolated_bilinearly() -> None:
    top_left_quarter = np.array([[[0.5, 0.0, -0.5], [0.0, 0.5, -0.5], [0.0, 0.0, 1.0]]])
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[0, :2, :2] = np.array([[10, 50], [90, 210]])[..., None]
    # weights of 1/4 and 3/4 between the columns; the last pixel is 3/4 of 50, 37.5 rounded to even
    assert resample(pixels, top_left_quarter)[0, 0, :, 0].tolist() == [10, 20, 40, 38]


@pytest.mark.parametrize("degrees", [-MAX_ROTATION, 4.0, MAX_ROTATION])
def test_rotation_equals_torchvision(degrees: float) -> None:
    pixels = make_smooth_images()
    rotated = resample(pixels, make_parameters("rotation", (degrees / MAX_ROTATION + 1) / 2))
    expected = reference.rotate(to_tensor(pixels), degrees, InterpolationMode.BILINEAR)
    inner = slice(4, -4)  # torchvision fills the corners with black
    assert compute_max_difference(rotated, expected)[inner, inner].max() <= 1


def test_crop_equals_torchvision() -> None:
    size, top, left, height, width = 32, 4, 10, 20, 16
    matrices = np.array(
        [[[width / size, 0, (2 * left + width) / size - 1],
          [0, height / size, (2 * top + height) / size - 1],
          [0, 0, 1]]]
    )  # fmt: skip
    pixels = make_smooth_images(size=size)
    expected = reference.resized_crop(
        to_tensor(pixels), top, left, height, width, [size, size], antialias=False
    )
    inner = slice(1, -1)  # torchvision does not use pixels outside the crop at its edges
    difference = compute_max_difference(resample(pixels, matrices), expected)
    assert difference[inner, inner].max() <= 1


def test_perspective_equals_torchvision() -> None:
    uniforms = np.array([[0.9, 0.2], [0.0, 0.7], [0.4, 0.4], [1.0, 0.1]])
    corners = np.array(CORNERS)
    start, end = (
        (points + 1) * SIZE / 2 for points in (corners * (1 - MAX_TILT * uniforms), corners)
    )
    pixels = make_smooth_images()
    expected = reference.perspective(
        to_tensor(pixels), start.tolist(), end.tolist(), InterpolationMode.BILINEAR
    )
    view = resample(pixels, make_parameters("perspective", *uniforms.ravel()))
    assert compute_max_difference(view, expected)[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.25])
def test_color_changes_equal_torchvision(factor: float) -> None:
    one, changed = np.array([1.0]), np.array([factor])
    pixels = make_noise_images()
    for matrices, adjust in (
        (build_color_matrices(changed, one, saturation=one), reference.adjust_brightness),
        (build_color_matrices(one, changed, saturation=one), reference.adjust_contrast),
        (build_color_matrices(one, one, saturation=changed), reference.adjust_saturation),
    ):
        expected = (adjust(to_tensor(pixels).float() / 255, factor) * 255).round()
        view = apply_transforms(pixels, {"color": matrices})
        assert compute_max_difference(view, expected).max() <= 1


def test_joint_color_change_equals_torchvision_one_after_another() -> None:
    pixels = (64 + make_noise_images() // 2).astype(np.uint8)  # no value is clipped
    brightness, contrast, saturation = 1.1, 0.8, 0.9
    expected = reference.adjust_brightness(to_tensor(pixels).float() / 255, brightness)
    expected = reference.adjust_contrast(expected, contrast)
    expected = reference.adjust_saturation(expected, saturation)
    matrices = build_color_matrices(
        np.array([brightness]), np.array([contrast]), saturation=np.array([saturation])
    )
    view = apply_transforms(pixels, {"color": matrices})
    assert compute_max_difference(view, (expected * 255).round()).max() <= 1


def test_crops_are_inside_the_image_and_have_the_specified_areas_and_aspects() -> None:
    matrices = draw_many_parameters("crop")
    width, height = matrices[:, 0, 0], matrices[:, 1, 1]
    for half_side, center in ((width, matrices[:, 0, 2]), (height, matrices[:, 1, 2])):
        assert (abs(center) + half_side <= 1 + 1e-12).all()
    area, aspect = width * height, width / height
    assert MIN_CROP_AREA - 1e-9 <= area.min() < 0.37
    assert area.max() <= 1
    assert 3 / 4 - 1e-9 <= aspect.min() < 0.77
    assert 1.3 < aspect.max() <= 4 / 3 + 1e-9


def test_half_of_the_images_are_flipped() -> None:
    flipped = draw_many_parameters("flip")[:, 0, 0] == -1
    assert flipped.mean() == pytest.approx(0.5, abs=0.03)


def test_rotation_angles_cover_their_range() -> None:
    matrices = draw_many_parameters("rotation")
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert abs(angles).max() == pytest.approx(MAX_ROTATION, rel=0.01)
    assert abs(angles.mean()) < 0.3


def test_perspective_shows_only_positions_inside_the_image() -> None:
    corners = np.array([(x, y, 1.0) for x, y in CORNERS])
    points = np.einsum("nij,cj->nci", draw_many_parameters("perspective"), corners)
    points = points[..., :2] / points[..., 2:]
    assert abs(points).max() <= 1 + 1e-9
    assert abs(points).min() >= 1 - MAX_TILT - 1e-9


def test_brightness_factors_cover_their_range() -> None:
    # the row sum is the result for a gray pixel of value 1 in an image of mean 1
    brightness = draw_many_parameters("color").sum(axis=2)[:, 0]
    assert brightness.min() == pytest.approx(1 - MAX_COLOR_CHANGE, abs=0.01)
    assert brightness.max() == pytest.approx(1 + MAX_COLOR_CHANGE, abs=0.01)


@pytest.mark.parametrize(
    ("size", "sigma"), [(24, 0.5), (64, 0.64), (64, 0.3), (96, 0.96), (224, 2.0)]
)
def test_blur_equals_torchvision(size: int, sigma: float) -> None:
    images = to_tensor(make_noise_images(2, size)).float()
    width = 2 * math.ceil(BLUR_TRUNCATION * compute_max_sigma(size)) + 1
    expected = reference.gaussian_blur(images, [width, width], [sigma, sigma])
    view = blur_by_pixels(make_noise_images(2, size), sigma, sigma)
    assert compute_max_difference(view, expected.round()).max() <= 1
    blurred = apply_blur(images, np.array([sigma, sigma]))
    torch.testing.assert_close(blurred, expected, rtol=0, atol=1e-3)


def test_gaussian_weights_by_hand() -> None:
    # sigma 1: 1, e^-1/2, e^-2 over 1 + 2 (e^-1/2 + e^-2) = 2.48373...
    expected = np.array([1, 0.6065306597, 0.1353352832]) / 2.4837318859
    weights = compute_gaussian_weights(np.array([1.0, 1e-9]), 2)
    np.testing.assert_allclose(weights, [expected, [1, 0, 0]], atol=1e-9)  # type: ignore[arg-type]


def test_blurred_point_is_symmetric_and_keeps_its_sum() -> None:
    point = torch.zeros(1, 1, BLUR_SIZE, BLUR_SIZE)
    point[..., 30, 20] = 1
    blurred = apply_blur(point, np.array([0.6]))[0, 0]
    assert blurred.sum() == pytest.approx(1, abs=1e-6)
    row, column = blurred[30, 15:26], blurred[25:36, 20]
    torch.testing.assert_close(row, row.flip(0))
    torch.testing.assert_close(column, row)


def test_blur_keeps_uniform_images_and_sigma_0_changes_nothing() -> None:
    noise = make_noise_images(1, BLUR_SIZE)
    pixels = np.concatenate([np.zeros_like(noise), np.full_like(noise, 255), noise])
    np.testing.assert_array_equal(blur_by_pixels(pixels, 0.64, 0.64, 0.0), pixels)
    single_pixel = make_noise_images(1, 1)
    np.testing.assert_array_equal(blur_by_pixels(single_pixel, 0.01), single_pixel)


def test_half_of_the_images_are_blurred_with_uniform_sigmas() -> None:
    sigmas = draw_many_parameters("blur")
    assert (sigmas > 0).mean() == pytest.approx(0.5, abs=0.03)
    positive = sigmas[sigmas > 0]
    assert positive.max() <= 1
    assert positive.mean() == pytest.approx(1 / 2, abs=0.02)
    assert positive.var() == pytest.approx(1 / 12, abs=0.01)


def test_erasing_box_by_hand() -> None:
    # a quarter of the area and aspect 1: half a side, which starts at half of the remaining side
    area = (0.25 - MIN_ERASED_AREA) / (MAX_ERASED_AREA - MIN_ERASED_AREA)
    boxes = make_erasing_boxes(np.array([[0.0, area, 0.5, 0.5, 1.0], [0.5, 1, 0.5, 0, 0]]))
    np.testing.assert_allclose(boxes[0], [0.25, 0.5, 0.75, 1.0])
    assert not boxes[1].any()  # not erased


def test_erased_box_has_the_mean_color_and_nothing_else_changes() -> None:
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    pixels[:, :, :2] = [255, 100, 7]
    before = pixels.copy()
    erase_boxes(pixels, np.array([[0.5, 0.25, 1.0, 0.75], [0, 0, 0, 0]]))
    # means 127.5, 50 and 3.5, rounded to even
    assert pixels[0, 1:3, 2:].tolist() == [[[128, 50, 4]] * 2] * 2
    pixels[0, 1:3, 2:] = before[0, 1:3, 2:]
    np.testing.assert_array_equal(pixels, before)


def test_erasing_does_not_change_its_input() -> None:
    pixels = make_noise_images(1)
    erased = apply_transforms(pixels, {"erasing": np.array([[0.0, 0.0, 1.0, 1.0]])})
    np.testing.assert_array_equal(pixels, make_noise_images(1))
    assert (erased == np.rint(pixels.mean(axis=(1, 2)))).all()


def test_erased_color_is_the_mean_of_the_transformed_image() -> None:
    keys = mix_bits(np.arange(30, dtype=np.uint64))
    names, pixels = ["crop", "color"], make_noise_images(30)
    transformed = augment_images(pixels, keys, names=names, seed=0, view=0)
    erased = augment_images(pixels, keys, names=[*names, "erasing"], seed=0, view=0)
    for before, after in zip(transformed, erased, strict=True):
        changed = (before != after).any(axis=-1)
        assert (after[changed] == np.rint(before.mean(axis=(0, 1)))).all()


def test_channel_sums_equal_numpy_without_overflow() -> None:
    white = np.full((1, 300, 300, 3), 255, np.uint8)
    for pixels in (make_noise_images(3, 17), white):
        np.testing.assert_array_equal(sum_channels(pixels), pixels.sum(axis=(1, 2), dtype=np.int64))


def test_erased_boxes_are_inside_and_have_the_specified_areas_and_aspects() -> None:
    boxes = draw_many_parameters("erasing")
    sides = boxes[:, 2:] - boxes[:, :2]
    erased = sides.prod(axis=1) > 0
    assert erased.mean() == pytest.approx(0.5, abs=0.03)
    assert boxes.min() >= 0
    assert boxes.max() <= 1 + 1e-12
    area, aspect = sides[erased].prod(axis=1), sides[erased, 1] / sides[erased, 0]
    assert MIN_ERASED_AREA - 1e-9 <= area.min() < 0.03
    assert 0.39 < area.max() <= MAX_ERASED_AREA + 1e-9
    assert MIN_ERASED_ASPECT - 1e-9 <= aspect.min() < 0.31
    assert np.log(aspect).mean() == pytest.approx(0, abs=0.05)
