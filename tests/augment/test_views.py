"""Views: what each does, and that its name tells it from every other."""

import json

import numpy as np

from tests.augment.test_matrices import noise
from veduta.augment.sampling import augment
from veduta.augment.views import PLAIN, TTA, Augmented, Mirror
from veduta.runtime.streams import mix

KEYS = mix(np.arange(3, dtype=np.uint64))


def test_plain_and_mirror() -> None:
    np.testing.assert_array_equal(PLAIN.of(noise(3), KEYS), noise(3))
    mirrored = Mirror().of(noise(3), KEYS)
    np.testing.assert_array_equal(mirrored, np.flip(noise(3), axis=2))
    assert mirrored.flags.c_contiguous


def test_an_augmented_view_is_that_of_its_names_seed_and_number() -> None:
    found = Augmented(("crop", "colour"), 3, 2).of(noise(3), KEYS)
    expected = augment(noise(3), KEYS, names=("colour", "crop"), seed=3, view=2)
    np.testing.assert_array_equal(found, expected)


def test_no_two_views_have_the_same_name() -> None:
    views = [
        PLAIN, Mirror(), Augmented(("flip",), 0, 0), Augmented(("flip",), 0, 1),
        Augmented(("flip",), 1, 0), Augmented(("crop", "flip"), 0, 0),
    ]  # fmt: skip
    assert len({json.dumps(view.spec()) for view in views}) == len(views)
    turned = Augmented(("flip", "crop"), 0, 0), Augmented(("crop", "flip"), 0, 0)
    assert turned[0].spec() == turned[1].spec()


def test_tta_averages_over_the_image_and_its_mirror() -> None:
    assert [[view.spec() for view in views] for views in TTA.values()] == [
        ["plain"], ["plain", "mirror"],
    ]  # fmt: skip
