"""The augmentations by name, with the random numbers that each needs per image."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Literal

from veduta.augment import transforms
from veduta.types import FloatArray

TransformKind = Literal["color", "geometry", "blur", "erasing"]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A random transform of a single image.

    Attributes:
        kind: what its parameters are: matrices of colors or positions ("color", "geometry"),
            standard deviations ("blur") or boxes ("erasing"); see `transforms`.
        draws: number of random numbers per image.
        make_parameters: maps uniform numbers in [0, 1), (n, draws), to parameters, (n, ...).
        stream_name: name of its random stream, if it differs from the name of the augmentation.
    """

    kind: TransformKind
    draws: int
    make_parameters: Callable[[FloatArray], FloatArray]
    stream_name: str | None = None


AUGMENTATIONS: Final[dict[str, Augmentation]] = {
    "crop": Augmentation("geometry", 4, transforms.make_crops),
    "flip": Augmentation("geometry", 1, transforms.make_flips),
    "vertical_flip": Augmentation("geometry", 1, transforms.make_vertical_flips),
    "rotation": Augmentation("geometry", 1, transforms.make_rotations),
    "perspective": Augmentation("geometry", 8, transforms.make_perspectives),
    "color": Augmentation(
        "color",
        3,
        transforms.make_color_changes,
        stream_name="colour",  # an earlier spelling, kept because it determines the random numbers
    ),
    "blur": Augmentation("blur", 2, transforms.make_blur_sigmas),
    "erasing": Augmentation("erasing", 5, transforms.make_erasing_boxes),
}
"""Augmentations of one kind are applied in this order, whatever the order of the setting `augment`.

Colors are changed first, so that the mean gray value is that of the whole image and not of a crop.
Then the image is resampled, blurred, and a box of it erased.
"""

MIXING_AUGMENTATIONS: Final = ("cutmix", "mixup")
"""Augmentations that combine an image and its label with those of another image; see `mixing`.

They are applied to the input of the trainable stages: frozen stages see unmixed images.
"""


def select_image_augmentations(names: Collection[str]) -> tuple[str, ...]:
    """Select the augmentations of single images from `names`, in the order of application.

    Raises:
        ValueError: a name is not an augmentation.

    >>> select_image_augmentations(["mixup", "flip", "crop"])
    ('crop', 'flip')
    """
    if unknown := {*names} - {*AUGMENTATIONS, *MIXING_AUGMENTATIONS}:
        known = ", ".join([*AUGMENTATIONS, *MIXING_AUGMENTATIONS])
        raise ValueError(f"augmentations must be among {known}; got {sorted(unknown)}")
    return tuple(name for name in AUGMENTATIONS if name in names)


def select_mixing_augmentations(names: Collection[str]) -> tuple[str, ...]:
    """Select the augmentations that mix two images from `names`.

    >>> select_mixing_augmentations(["mixup", "flip", "cutmix"])
    ('cutmix', 'mixup')
    """
    return tuple(name for name in MIXING_AUGMENTATIONS if name in names)
