"""The augmentations by name: how many random numbers an image needs, and what they become."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Literal

from veduta.augment import blurring, erasing, matrices
from veduta.augment.matrices import Array

Kind = Literal["colours", "positions", "sharpness", "patch"]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A random change of an image.

    Attributes:
        of: what it changes: "colours" and "positions" by the matrices of `matrices`, "sharpness" by
            the deviations of `blurring`, a "patch" by the boxes of `erasing`.
        draws: how many random numbers an image needs.
        make: numbers in [0, 1), (n, draws), to what says how each image changes, (n, ...).
    """

    of: Kind
    draws: int
    make: Callable[[Array], Array]


AUGMENTATIONS: Final[dict[str, Augmentation]] = {
    "crop": Augmentation("positions", 4, matrices.crop),
    "flip": Augmentation("positions", 1, matrices.flip),
    "vertical_flip": Augmentation("positions", 1, matrices.vertical_flip),
    "rotation": Augmentation("positions", 1, matrices.rotation),
    "perspective": Augmentation("positions", 8, matrices.perspective),
    "colour": Augmentation("colours", 3, matrices.colour),
    "blur": Augmentation("sharpness", 2, blurring.deviations),
    "erasing": Augmentation("patch", 5, erasing.boxes),
}
"""In the order in which those of a kind act on an image, whatever the order of a request.

Colours are mixed first: the mean grey is that of the whole image, not of what a crop leaves of it.
Then the image is resampled, blurred, and a patch of it erased.
"""

MIXES: Final = ("cutmix", "mixup")
"""What `augment` may name besides: they change an image together with another one, and its label.

They act behind frozen stages, which see one image at a time; `mixing` holds them.
"""


def image_names(names: Collection[str]) -> tuple[str, ...]:
    """Those of `names` that change an image alone, in the order in which they act.

    Raises:
        ValueError: a name is of no augmentation.

    >>> image_names(["mixup", "flip", "crop"])
    ('crop', 'flip')
    """
    if strange := {*names} - {*AUGMENTATIONS, *MIXES}:
        raise ValueError(f"augmentations are {', '.join(AUGMENTATIONS)}; got {sorted(strange)}")
    return tuple(name for name in AUGMENTATIONS if name in names)


def mix_names(names: Collection[str]) -> tuple[str, ...]:
    """Those of `names` that mix two images.

    >>> mix_names(["mixup", "flip", "cutmix"])
    ('cutmix', 'mixup')
    """
    return tuple(name for name in MIXES if name in names)
