"""Blocks: all images once, in order, whatever the size; what fails in the thread is told."""

from pathlib import Path

import numpy as np
import pytest

from tests.features.test_store import data
from veduta.augment.views import PLAIN, Augmented, View
from veduta.features.store import blocks
from veduta.runtime.streams import sample_keys


@pytest.mark.parametrize("size", [1, 3, 4, 10, 99])
@pytest.mark.parametrize("view", [PLAIN, Augmented(("crop",), 0, 0)], ids=["plain", "crop"])
def test_blocks_of_any_size_are_the_whole(tmp_path: Path, view: View, size: int) -> None:
    images, pixels = data(10, tmp_path)
    places = [7, 1, 2, 9, 0, 3, 8, 5, 4, 6]
    digests = [images[place].digest for place in places]
    found = list(blocks(pixels, places, digests=digests, view=view, size=size))
    assert [part.start for part, _ in found] == list(range(0, 10, size))
    assert found[-1][0].stop == 10
    whole = view.apply(pixels.take(np.array(places)), sample_keys(digests))
    np.testing.assert_array_equal(np.concatenate([shown for _, shown in found]), whole)


def test_no_images_are_no_blocks(tmp_path: Path) -> None:
    _, pixels = data(1, tmp_path)
    assert not list(blocks(pixels, [], digests=[], view=PLAIN, size=4))


def test_what_goes_wrong_ahead_is_told(tmp_path: Path) -> None:
    images, pixels = data(3, tmp_path)
    digests = [image.digest for image in images]
    with pytest.raises(ValueError, match="sparkle"):
        list(blocks(pixels, [0, 1, 2], digests=digests, view=Augmented(("sparkle",), 0, 0), size=2))
