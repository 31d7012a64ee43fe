"""Views: what is done to an image before a network sees it, and the name that its features keep."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from veduta.augment.registry import image_names
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

    Where stages are frozen, K views are kept, with numbers from 0: epoch e, from 1, sees number
    e mod K. Where nothing is frozen, nothing is kept, and epoch e sees number e: the same view as
    with K epochs and K views, the last epoch apart.

    Attributes:
        names: of the augmentations, in any order; those that mix images change nothing here.
        seed: of the run.
        number: which view, from 0.
    """

    names: tuple[str, ...]
    seed: int
    number: int

    def spec(self) -> object:
        """Names of what changes a view, seed, number, and the version of the code."""
        return {
            "augment": sorted(image_names(self.names)),
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
