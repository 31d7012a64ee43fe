"""Blocks contain all images once and in order; errors of the reading thread are raised."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.features import draw_noise, store_images
from veduta.augment.views import PLAIN, Augmented, View
from veduta.features.store import iterate_blocks
from veduta.runtime.streams import derive_sample_keys


@pytest.mark.parametrize("size", [1, 3, 4, 10, 99])
@pytest.mark.parametrize("view", [PLAIN, Augmented(("crop",), 0, 0)], ids=["plain", "crop"])
def test_blocks_of_any_size_contain_all_images(tmp_path: Path, view: View, size: int) -> None:
    images, pixels = store_images(draw_noise(10, 32), tmp_path)
    indices = [7, 1, 2, 9, 0, 3, 8, 5, 4, 6]
    digests = [images[index].digest for index in indices]
    blocks = list(iterate_blocks(pixels, indices, digests=digests, view=view, size=size))
    assert [part.start for part, _ in blocks] == list(range(0, 10, size))
    assert blocks[-1][0].stop == 10
    expected = view.apply(pixels.take(np.array(indices)), derive_sample_keys(digests))
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), expected)


def test_no_images_give_no_blocks(tmp_path: Path) -> None:
    _, pixels = store_images(draw_noise(1, 32), tmp_path)
    assert not list(iterate_blocks(pixels, [], digests=[], view=PLAIN, size=4))


def test_an_error_in_the_reading_thread_is_raised(tmp_path: Path) -> None:
    images, pixels = store_images(draw_noise(3, 32), tmp_path)
    digests = [image.digest for image in images]
    with pytest.raises(ValueError, match="sparkle"):
        list(
            iterate_blocks(
                pixels, [0, 1, 2], digests=digests, view=Augmented(("sparkle",), 0, 0), size=2
            )
        )
