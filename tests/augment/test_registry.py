"""The names: each does something alone, and none that mixes is among those that do not."""

import numpy as np
import pytest

from tests.augment.test_matrices import noise
from veduta.augment.registry import AUGMENTATIONS, MIXES, image_names, mix_names
from veduta.augment.sampling import augment
from veduta.config.settings import Settings
from veduta.runtime.streams import mix

KEYS = mix(np.arange(40, dtype=np.uint64))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_changes_images_and_gives_one_row_each(name: str) -> None:
    one = AUGMENTATIONS[name]
    assert len(one.make(np.full((7, one.draws), 0.25))) == 7
    changed = augment(noise(40), KEYS, names=[name], seed=0, view=0) != noise(40)
    assert 5 < changed.any(axis=(1, 2, 3)).sum() <= 40


def test_names_fall_into_two_kinds() -> None:
    names = [*MIXES, *reversed(AUGMENTATIONS)]
    assert image_names(names) == tuple(AUGMENTATIONS)
    assert mix_names(names) == MIXES
    assert not set(MIXES) & set(AUGMENTATIONS)


def test_the_setting_lists_every_name() -> None:
    told = str(Settings.model_fields["augment"].description)
    assert all(name in told for name in [*AUGMENTATIONS, *MIXES])
