"""What determines a feature, and the networks that compute it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from veduta.augment.registry import select_mixing_augmentations
from veduta.augment.views import Augmented, View
from veduta.config.settings import Settings
from veduta.data.pixels import Image, Resize
from veduta.networks.backbones import Backbone, build_backbone, preprocessing_of
from veduta.networks.catalogue.model import Model, Options
from veduta.networks.catalogue.registry import model_of
from veduta.networks.freezing import Prefix, Tail, frozen_stages
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


@dataclass(slots=True)
class Networks:
    """Builds them on demand; the backbone last asked for is kept."""

    seed: int
    cache: Path
    _kept: dict[tuple[Model, str, int | None], Backbone] = field(default_factory=dict)

    def backbone(self, settings: Settings) -> Backbone:
        """The whole backbone of `settings`, as it came.

        Raises:
            WeightsError: weights are missing, damaged or of another architecture.
        """
        model = model_of(settings)
        key = model, settings.weights, settings.image_size
        if key not in self._kept:
            self._kept.clear()
            self._kept[key] = build_backbone(
                model,
                settings.weights,
                image_size=settings.image_size,
                seed=self.seed,
                cache=self.cache,
            )
        return self._kept[key]

    def frozen(self, settings: Settings) -> Backbone:
        """The part of it that is frozen: its leading stages, or all of it.

        Where nothing is, that is the backbone as it will be when it has been trained.
        """
        whole = self.backbone(settings)
        some = settings.freeze not in ("all", "none")
        return Prefix(whole, frozen_stages(settings)) if some else whole

    def tail(self, settings: Settings) -> Tail | None:
        """The stages that train with the head; None where that is the head alone."""
        if settings.freeze == "all":
            return None
        whole = self.backbone(settings)
        return Tail(whole.model, whole.network, frozen_stages(settings))
