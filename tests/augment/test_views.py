"""Views: the images that each returns, and specs that identify each view."""

import json

import numpy as np

from tests.support.augmentation import make_noise_images
from veduta.augment.pipeline import augment_images
from veduta.augment.views import PLAIN, TTA, Augmented, HorizontalFlip
from veduta.runtime.streams import mix_bits

KEYS = mix_bits(np.arange(3, dtype=np.uint64))


def test_plain_view_and_horizontal_flip() -> None:
    pixels = make_noise_images(3)
    np.testing.assert_array_equal(PLAIN.apply(pixels, KEYS), pixels)
    flipped = HorizontalFlip().apply(pixels, KEYS)
    np.testing.assert_array_equal(flipped, np.flip(pixels, axis=2))
    assert flipped.flags.c_contiguous


def test_augmented_view_uses_names_seed_and_number() -> None:
    pixels = make_noise_images(3)
    view = Augmented(("crop", "color"), 3, 2).apply(pixels, KEYS)
    expected = augment_images(pixels, KEYS, names=("color", "crop"), seed=3, view=2)
    np.testing.assert_array_equal(view, expected)


def test_different_views_have_different_specs() -> None:
    views = [
        PLAIN, HorizontalFlip(), Augmented(("flip",), 0, 0), Augmented(("flip",), 0, 1),
        Augmented(("flip",), 1, 0), Augmented(("crop", "flip"), 0, 0),
    ]  # fmt: skip
    assert len({json.dumps(view.spec()) for view in views}) == len(views)


def test_spec_does_not_depend_on_order_of_names() -> None:
    assert Augmented(("flip", "crop"), 0, 0).spec() == Augmented(("crop", "flip"), 0, 0).spec()


def test_test_time_augmentation_uses_the_image_and_its_flip() -> None:
    assert TTA["none"] == (PLAIN,)
    assert [type(view) for view in TTA["flip"]] == [type(PLAIN), HorizontalFlip]
