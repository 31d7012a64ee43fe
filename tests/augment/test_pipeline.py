"""Augmented images are the same bytes for any batch, order, block size and number of threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.support.augmentation import apply_reference_transforms, make_noise_images
from veduta.augment import pipeline
from veduta.augment.pipeline import ParameterArrays, augment_images
from veduta.augment.registry import AUGMENTATIONS
from veduta.runtime.streams import mix_bits

COUNT, SIZE = 45, 23  # not a multiple of the vector width
KEYS = mix_bits(np.arange(COUNT, dtype=np.uint64))
ALL_NAMES = tuple(AUGMENTATIONS)
ALL_ROWS = slice(None)


@pytest.fixture(scope="module")
def all_views() -> np.ndarray:
    """All images, augmented in one batch."""
    return augment_rows()


@pytest.fixture
def _three_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def augment_rows(
    rows: np.ndarray | slice = ALL_ROWS,
    *,
    names: tuple[str, ...] = ALL_NAMES,
    seed: int = 0,
    view: int = 0,
    size: int = SIZE,
) -> np.ndarray:
    pixels = make_noise_images(COUNT, size)
    return augment_images(pixels[rows], KEYS[rows], names=names, seed=seed, view=view)


def test_images_are_changed_and_keep_shape_and_dtype(all_views: np.ndarray) -> None:
    assert (all_views.shape, all_views.dtype) == ((COUNT, SIZE, SIZE, 3), np.uint8)
    assert all_views.flags.c_contiguous
    assert (all_views != make_noise_images(COUNT, SIZE)).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("size", [1, 2, 7, 32, 44])
def test_result_does_not_depend_on_batch_and_order(all_views: np.ndarray, size: int) -> None:
    order = np.random.default_rng(0).permutation(COUNT)
    batches = [augment_rows(order[start : start + size]) for start in range(0, COUNT, size)]
    np.testing.assert_array_equal(np.concatenate(batches), all_views[order])


@pytest.mark.parametrize("name", ALL_NAMES)
def test_single_image_equals_image_in_batch(name: str) -> None:
    batch = augment_rows(names=(name,), size=64)
    for row in (0, 31, 44):
        single = augment_rows(slice(row, row + 1), names=(name,), size=64)
        np.testing.assert_array_equal(single[0], batch[row])


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize("size", [SIZE, 224])
def test_result_does_not_depend_on_threads(size: int) -> None:
    multi_threaded = augment_rows(slice(0, 9), size=size)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(multi_threaded, augment_rows(slice(0, 9), size=size))


def test_result_does_not_depend_on_block_size(
    all_views: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    block_sizes: list[int] = []
    apply_transforms = pipeline.apply_transforms

    def record_block_size(pixels: np.ndarray, parameters: ParameterArrays) -> np.ndarray:
        block_sizes.append(len(pixels))
        return apply_transforms(pixels, parameters)

    monkeypatch.setattr(pipeline, "apply_transforms", record_block_size)
    for pixels, largest in ((4 * SIZE**2, 4), (SIZE**2 - 1, 1)):  # at least one image per block
        monkeypatch.setattr(pipeline, "PIXELS_PER_BLOCK", pixels)
        np.testing.assert_array_equal(augment_rows(), all_views)
        assert max(block_sizes) == largest
        block_sizes.clear()


def test_result_does_not_depend_on_order_of_names(all_views: np.ndarray) -> None:
    np.testing.assert_array_equal(augment_rows(names=ALL_NAMES[::-1]), all_views)


def test_result_depends_on_seed_view_and_content(all_views: np.ndarray) -> None:
    copies = make_noise_images(1, SIZE).repeat(COUNT, axis=0)
    views = augment_images(copies, KEYS, names=ALL_NAMES, seed=0, view=0)
    assert len(np.unique(views.reshape(COUNT, -1), axis=0)) == COUNT
    assert (augment_rows(view=1) != all_views).any(axis=(1, 2, 3)).all()
    assert (augment_rows(seed=1) != all_views).any(axis=(1, 2, 3)).all()


def test_additional_augmentation_does_not_change_the_draws_of_others() -> None:
    views = augment_rows(names=("flip",))
    flipped = (views == make_noise_images(COUNT, SIZE)[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 10 < flipped.sum() < 35
    matrices = pipeline.draw_parameters(KEYS, ("rotation", "flip"), seed=0, view=0)["geometry"]
    np.testing.assert_array_equal(np.linalg.det(matrices) < 0, flipped)


@pytest.mark.parametrize("size", [SIZE, 64, 129])
@pytest.mark.parametrize(
    "names", ["crop", "flip", "crop+flip", "color", "color+crop+flip", "crop+rotation",
              "color+crop+flip+perspective+rotation"],
)  # fmt: skip
def test_shortcuts_give_the_bytes_of_the_general_case(names: str, size: int) -> None:
    selected = tuple(names.split("+"))
    views = augment_rows(names=selected, seed=3, view=2, size=size)
    parameters = pipeline.draw_parameters(KEYS, selected, seed=3, view=2)
    expected = apply_reference_transforms(make_noise_images(COUNT, size), parameters)
    np.testing.assert_array_equal(views, expected)


def test_mixing_augmentations_are_ignored(all_views: np.ndarray) -> None:
    np.testing.assert_array_equal(augment_rows(names=(*ALL_NAMES, "mixup", "cutmix")), all_views)
    np.testing.assert_array_equal(augment_rows(names=("mixup",)), make_noise_images(COUNT, SIZE))


def test_empty_batch() -> None:
    assert augment_rows(slice(0, 0)).shape == (0, SIZE, SIZE, 3)


def test_positions_outside_the_image_are_reflected() -> None:
    row = np.arange(0, 250, 50, dtype=np.uint8)[None, None, :, None]
    pixels = np.broadcast_to(row, (1, 5, 5, 3)).copy()
    shift = np.array([[[1.0, 0.0, 0.8], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])  # by two pixels
    shifted = pipeline.apply_transforms(pixels, {"geometry": shift})
    assert shifted[0, 0, :, 0].tolist() == [100, 150, 200, 200, 150]
