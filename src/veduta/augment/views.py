"""Views of an image, such as its horizontal flip, and the specification that identifies each view.

The specification is part of the key of cached features.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from veduta.augment.pipeline import VERSION, augment_images
from veduta.augment.registry import select_image_augmentations
from veduta.types import KeyArray, PixelArray


class View(ABC):
    """A deterministic transform of images."""

    @abstractmethod
    def spec(self) -> object:
        """Return everything that determines the view except the image, as plain JSON values."""

    @abstractmethod
    def apply(self, pixels: PixelArray, keys: KeyArray, /) -> PixelArray:
        """Return the view of each image, uint8 (n, S, S, 3).

        Args:
            pixels: uint8 (n, S, S, 3).
            keys: (n,) one 64-bit number per image, computed from its content.
        """


@final
class Plain(View):
    """The image itself."""

    def spec(self) -> object:
        """Return the name of the view."""
        return "plain"

    def apply(self, pixels: PixelArray, _: KeyArray, /) -> PixelArray:
        """Return the images unchanged."""
        return pixels


@final
class HorizontalFlip(View):
    """The horizontally flipped image."""

    def spec(self) -> object:
        """Return the name of the view."""
        return "mirror"

    def apply(self, pixels: PixelArray, _: KeyArray, /) -> PixelArray:
        """Return the flipped images."""
        return np.ascontiguousarray(pixels[:, :, ::-1])


@final
@dataclass(frozen=True, slots=True)
class Augmented(View):
    """A randomly augmented view.

    If stages are frozen, the features of K views are computed once, numbered from 0, and epoch e
    (from 1) uses view e mod K. If no stage is frozen, the images are augmented in each
    epoch, and epoch e uses view e. With as many views as epochs, both cases use the same views in
    all epochs but the last, which uses view 0 if stages are frozen.

    Attributes:
        names: augmentations, in any order; those that mix images are ignored.
        seed: random seed of the run.
        number: number of the view, from 0.
    """

    names: tuple[str, ...]
    seed: int
    number: int

    def spec(self) -> object:
        """Return the augmentations, the seed, the number and the version of the augmentations."""
        return {
            "augment": sorted(select_image_augmentations(self.names)),
            "seed": self.seed,
            "number": self.number,
            "code": VERSION,
        }

    def apply(self, pixels: PixelArray, keys: KeyArray, /) -> PixelArray:
        """Return the augmented images."""
        return augment_images(pixels, keys, names=self.names, seed=self.seed, view=self.number)


PLAIN: Final = Plain()

TTA: Final[dict[str, tuple[View, ...]]] = {"none": (PLAIN,), "flip": (PLAIN, HorizontalFlip())}
"""Views that test-time augmentation averages over, by the value of the setting `tta`."""
