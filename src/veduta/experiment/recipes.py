"""What decides the features of an image: recipes, views, pixels, and the order of images."""

from collections.abc import Mapping, Sequence

from veduta.augment.registry import select_mixing_augmentations
from veduta.augment.views import Augmented, View
from veduta.config.settings import Settings
from veduta.data.pixels import Image, Resize
from veduta.models.backbones import preprocessing_of
from veduta.models.model import Options
from veduta.models.registry import model_of
from veduta.training.state import canonical_order

Recipe = tuple[str, str, Options | None, int, str, str | int]
"""What decides the features of an image: model, weights, options, image size, resize, freeze."""


def recipe_of(settings: Settings) -> Recipe:
    """The recipe that `settings` ask for; the image size is resolved."""
    size, options = settings.image_size or 0, model_of(settings).options
    return settings.model, settings.weights, options, size, settings.resize, settings.freeze


def views_of(settings: Settings) -> tuple[View, ...]:
    """What `settings` show frozen stages of an image in training besides the image itself."""
    numbers = range(0 if settings.freeze == "none" else settings.views or 0)
    return tuple(Augmented(settings.augment, settings.seed, number) for number in numbers)


def fresh_of(settings: Settings) -> tuple[str, ...]:
    """What changes the images afresh in every epoch: where some stages are frozen, what mixes."""
    if settings.freeze == "all":
        return ()
    return (
        settings.augment
        if settings.freeze == "none"
        else select_mixing_augmentations(settings.augment)
    )


def resize_of(settings: Settings) -> Resize:
    """How files become pixels under `settings`."""
    wanted = preprocessing_of(model_of(settings), settings.image_size)
    return Resize(wanted.image_size, wanted.filter, settings.resize)


def canonical(images: Sequence[Image], number: Mapping[str, int]) -> list[Image]:
    """Images in canonical order: by content, then by the number of their class."""
    labels = [number[str(image.sample.label)] for image in images]
    return [images[int(i)] for i in canonical_order([image.digest for image in images], labels)]
