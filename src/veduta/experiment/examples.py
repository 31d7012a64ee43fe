"""Training and validation examples of a trial: frozen features or pixels, with labels."""

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from typing import final

import numpy as np
import torch

from veduta.augment.views import PLAIN, View
from veduta.config.settings import Settings
from veduta.data.pixels import Image
from veduta.data.row_store import Rows
from veduta.data.splits import assign_folds
from veduta.experiment.checked_data import Splits
from veduta.experiment.feature_pipeline import FeaturePipeline
from veduta.experiment.feature_spec import (
    FeatureSpec,
    build_feature_spec,
    list_cached_views,
    list_epoch_augmentations,
    sort_images,
)
from veduta.experiment.plan import Plan
from veduta.networks.freezing import Tail
from veduta.runtime.streams import derive_sample_keys
from veduta.training.examples import Examples
from veduta.training.folds import Fold, create_single_fold, split_into_folds
from veduta.tuning.trials.space import Trial

ExampleKey = tuple[FeatureSpec, tuple[View, ...], tuple[str, ...]]
"""What the examples of a trial depend on: feature spec, cached views, and augmentations of every
epoch."""


@final
class ExampleLoader:
    """Loads the examples of trials; those of the last trial are kept in memory."""

    def __init__(self, plan: Plan, splits: Splits, features: FeaturePipeline) -> None:
        self._classes = plan.folder.classes
        self._splits = splits
        self._features = features
        self.images_per_epoch = len(splits["train"]) * (plan.settings.fold_count - 1 or 1)
        self._last: tuple[ExampleKey, Sequence[Fold]] | None = None

    def load_folds(self, trial: Trial) -> Sequence[Fold]:
        """Return training and validation examples of each fold; one fold without `folds`."""
        settings = trial.settings
        key = (
            build_feature_spec(settings),
            list_cached_views(settings),
            list_epoch_augmentations(settings),
        )
        if self._last is None or self._last[0] != key:
            self._last = key, self._build_folds(settings)
        return self._last[1]

    def load_all(self, trial: Trial) -> Examples:
        """Return the examples of training and validation images together, for the refit."""
        images = [*self._splits["train"], *self._splits["validation"]]
        (examples,) = build_examples(
            self._features, [images], trial.settings, classes=self._classes
        )
        return examples

    def build_tail(self, trial: Trial) -> Tail | None:
        """Return the stages of the backbone that a trial trains with its head, or None."""
        return self._features.backbones.build_tail(trial.settings)

    def _build_folds(self, settings: Settings) -> Sequence[Fold]:
        train_images, validation_images = self._splits["train"], self._splits["validation"]
        if not settings.folds:
            train, validation = build_examples(
                self._features, [train_images, validation_images], settings, classes=self._classes
            )
            return create_single_fold(train, validation)
        (examples,) = build_examples(
            self._features, [train_images], settings, classes=self._classes
        )
        fold_by_digest = assign_folds(train_images, settings.folds, settings.seed)
        class_index = {name: index for index, name in enumerate(self._classes)}
        ordered = sort_images(train_images, class_index)
        return split_into_folds(
            examples, np.array([fold_by_digest[image.digest] for image in ordered])
        )


def build_examples(
    features: FeaturePipeline,
    groups: Sequence[Sequence[Image]],
    settings: Settings,
    *,
    classes: Sequence[str],
    training: Collection[int] = (0,),
) -> list[Examples]:
    """Return the examples of each group of images, in canonical order.

    Features of plain images are computed in one pass over all groups, those of augmented views
    only for training groups.

    Args:
        features: computes the features.
        groups: images, such as those of a split.
        settings: settings of the trial.
        classes: names of the classes; the position of a name is its class index.
        training: indices of the groups that are trained on.
    """
    class_index = {name: index for index, name in enumerate(classes)}
    ordered = [sort_images(group, class_index) for group in groups]
    augmentations = list_epoch_augmentations(settings)
    plain = _compute_tables(features, ordered, settings, views=(PLAIN,))
    if "cutmix" in augmentations and plain[0][0].shape[1:][-2:] == (1, 1):
        features.pixels.console.warn(
            "cutmix has no effect here: the feature maps of the frozen stages have a spatial size "
            "of 1 x 1; freeze fewer stages, or give a larger image_size"
        )
    trained = [group for index, group in enumerate(ordered) if index in training]
    views = iter(_compute_tables(features, trained, settings, views=list_cached_views(settings)))
    return [
        Examples(
            plain[index][0],
            torch.tensor([class_index[str(image.sample.label)] for image in group]),
            derive_sample_keys([image.digest for image in group]),
            next(views) if index in training else (),
            augmentations if index in training else (),
            settings.seed,
        )
        for index, group in enumerate(ordered)
    ]


def _compute_tables(
    features: FeaturePipeline,
    groups: Sequence[Sequence[Image]],
    settings: Settings,
    *,
    views: Sequence[View],
) -> list[tuple[Rows, ...]]:
    """Return for each group its features: one table per view."""
    tables = features.compute([image for group in groups for image in group], settings, views)
    edges = [0, *accumulate(len(group) for group in groups)]
    return [tuple(table.select(slice(*edge)) for table in tables) for edge in pairwise(edges)]
