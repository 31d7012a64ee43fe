"""What determines the features of an image, and the backbones that compute them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, final

from veduta.augment.registry import select_mixing_augmentations
from veduta.augment.views import Augmented, View
from veduta.config.settings import Settings
from veduta.data.pixels import Image, Resize
from veduta.data.sample import compute_canonical_order
from veduta.networks.backbones import Backbone, build_backbone, build_preprocessing
from veduta.networks.catalogue.model import Model, Options
from veduta.networks.catalogue.registry import resolve_model
from veduta.networks.freezing import Prefix, Tail


class FeatureSpec(NamedTuple):
    """The settings that determine the features of an image; 0 is the image size of the model."""

    model: str
    weights: str
    options: Options | None
    image_size: int
    resize: str
    freeze: str | int


def build_feature_spec(settings: Settings) -> FeatureSpec:
    """Return the feature spec of settings whose image size is resolved."""
    return FeatureSpec(
        settings.model,
        settings.weights,
        resolve_model(settings).options,
        settings.image_size or 0,
        settings.resize,
        settings.freeze,
    )


def list_cached_views(settings: Settings) -> tuple[View, ...]:
    """Return the augmented views whose frozen features are computed besides the plain image's."""
    return tuple(
        Augmented(settings.augment, settings.seed, number)
        for number in range(settings.cached_views)
    )


def list_epoch_augmentations(settings: Settings) -> tuple[str, ...]:
    """Return the augmentations that are drawn again in every epoch.

    Where the first stages are frozen, only those that mix images, since they mix feature maps, too.
    """
    if not settings.trains_backbone:
        return ()
    if settings.trains_whole_backbone:
        return settings.augment
    return select_mixing_augmentations(settings.augment)


def build_resize(settings: Settings) -> Resize:
    """Return the resize operation that turns decoded images into pixels."""
    preprocessing = build_preprocessing(resolve_model(settings), settings.image_size)
    return Resize(preprocessing.image_size, preprocessing.filter, settings.resize)


def sort_images(images: Sequence[Image], class_index: Mapping[str, int]) -> list[Image]:
    """Return images in canonical order: by content, then by class index."""
    labels = [class_index[str(image.sample.label)] for image in images]
    order = compute_canonical_order([image.digest for image in images], labels)
    return [images[int(index)] for index in order]


@final
@dataclass(frozen=True, slots=True)
class BackboneLoader:
    """Builds backbones with their initial weights; the last one is kept in memory.

    Attributes:
        seed: random seed of initial weights that are not pretrained.
        cache: folder of the cache, where downloaded weights are kept.
    """

    seed: int
    cache: Path
    _last: dict[tuple[Model, str, int | None], Backbone] = field(init=False, default_factory=dict)

    def load(self, settings: Settings) -> Backbone:
        """Return the whole backbone with its initial weights.

        Raises:
            WeightsError: weights are missing, damaged or of another architecture.
        """
        model = resolve_model(settings)
        key = model, settings.weights, settings.image_size
        if key not in self._last:
            self._last.clear()
            self._last[key] = build_backbone(
                model,
                settings.weights,
                image_size=settings.image_size,
                seed=self.seed,
                cache=self.cache,
            )
        return self._last[key]

    def load_frozen(self, settings: Settings) -> Backbone:
        """Return the frozen part of the backbone: its first stages, or all of it.

        If nothing is frozen, return the whole backbone with its initial weights.
        """
        backbone = self.load(settings)
        return Prefix(backbone, settings.frozen_stages) if settings.frozen_stages else backbone

    def build_tail(self, settings: Settings) -> Tail | None:
        """Return the stages that are trained with the head; None if only the head is trained."""
        if (frozen_stages := settings.frozen_stages) is None:
            return None
        backbone = self.load(settings)
        return Tail(backbone.model, backbone.network, frozen_stages)

    def compute_digests(self, settings: Iterable[Settings]) -> dict[str, str]:
        """Build every backbone once, so that unusable weights are found early.

        Returns:
            SHA-256 of the initial weights, by model, weights and options.

        Raises:
            WeightsError: weights are missing, damaged or of another architecture.
        """
        distinct = {build_feature_spec(one)[:3]: one for one in settings}
        return {
            " ".join(str(part) for part in spec if part): self.load(one).weights_sha256
            for spec, one in reversed(distinct.items())
        }
