"""The registry of augmentations: each changes images, and names are sorted into the two kinds."""

import numpy as np
import pytest

from tests.support.augmentation import make_noise_images
from veduta.augment.pipeline import augment_images
from veduta.augment.registry import (
    AUGMENTATIONS,
    MIXING_AUGMENTATIONS,
    select_image_augmentations,
    select_mixing_augmentations,
)
from veduta.config.settings import Settings
from veduta.runtime.streams import mix_bits

KEYS = mix_bits(np.arange(40, dtype=np.uint64))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_augmentation_changes_images(name: str) -> None:
    augmentation = AUGMENTATIONS[name]
    assert len(augmentation.make_parameters(np.full((7, augmentation.draws), 0.25))) == 7
    pixels = make_noise_images(40)
    changed = augment_images(pixels, KEYS, names=[name], seed=0, view=0) != pixels
    assert 5 < changed.any(axis=(1, 2, 3)).sum() <= 40


def test_names_are_image_augmentations_or_mixing_augmentations() -> None:
    names = [*MIXING_AUGMENTATIONS, *reversed(AUGMENTATIONS)]
    assert select_image_augmentations(names) == tuple(AUGMENTATIONS)
    assert select_mixing_augmentations(names) == MIXING_AUGMENTATIONS
    assert not set(MIXING_AUGMENTATIONS) & set(AUGMENTATIONS)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="sharpen"):
        select_image_augmentations(["flip", "sharpen"])


def test_setting_description_lists_every_name() -> None:
    description = str(Settings.model_fields["augment"].description)
    assert all(name in description for name in [*AUGMENTATIONS, *MIXING_AUGMENTATIONS])
