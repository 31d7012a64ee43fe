"""Views: what is done to an image before a network sees it, and the name that its features keep."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from veduta.augment.sampling import CODE, Pixels, augment
from veduta.runtime.streams import Keys


class View(ABC):
    """One way of showing an image."""

    @abstractmethod
    def spec(self) -> object:
        """Everything that decides the view, the image apart, as plain JSON values."""

    @abstractmethod
    def of(self, pixels: Pixels, keys: Keys, /) -> Pixels:
        """The view of images, uint8 (n, S, S, 3), whose contents have `keys`, (n,)."""


@final
class Plain(View):
    """The image as it is."""

    def spec(self) -> object:
        """Its name."""
        return "plain"

    def of(self, pixels: Pixels, _: Keys, /) -> Pixels:
        """The images themselves."""
        return pixels


@final
class Mirror(View):
    """Left and right exchanged."""

    def spec(self) -> object:
        """Its name."""
        return "mirror"

    def of(self, pixels: Pixels, _: Keys, /) -> Pixels:
        """The images in a mirror."""
        return np.ascontiguousarray(pixels[:, :, ::-1])


@final
@dataclass(frozen=True, slots=True)
class Augmented(View):
    """One of the random views of a run.

    Attributes:
        names: of the augmentations, in any order.
        seed: of the run.
        number: which view, from 0.
    """

    names: tuple[str, ...]
    seed: int
    number: int

    def spec(self) -> object:
        """Names, seed, number, and the version of the code."""
        return {
            "augment": sorted(self.names),
            "seed": self.seed,
            "number": self.number,
            "code": CODE,
        }

    def of(self, pixels: Pixels, keys: Keys, /) -> Pixels:
        """The augmented images."""
        return augment(pixels, keys, names=self.names, seed=self.seed, view=self.number)


PLAIN: Final = Plain()

TTA: Final[dict[str, tuple[View, ...]]] = {"none": (PLAIN,), "flip": (PLAIN, Mirror())}
"""The views over which a prediction averages, by the value of the setting `tta`."""
