"""What trials train on: images of a part as examples, once or fold by fold."""

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch

from veduta.augment.views import PLAIN, View
from veduta.config.settings import Settings
from veduta.data.pixels import Image
from veduta.data.row_store import Rows
from veduta.data.splits import fold_of
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.feature_spec import Recipe, canonical, fresh_of, recipe_of, views_of
from veduta.experiment.gate import Parts
from veduta.experiment.plan import Plan
from veduta.networks.freezing import Tail
from veduta.runtime.streams import sample_keys
from veduta.training.folds import Fold, divided, undivided
from veduta.training.state import Examples
from veduta.tuning.trials.space import Trial

Views = tuple[View, ...]


class Data:
    """Training and validation examples of a trial; those of the last recipe are kept."""

    def __init__(self, plan: Plan, parts: Parts, materials: Materials) -> None:
        self._classes = plan.folder.classes
        self._parts = parts
        self._materials = materials
        self.training_images = len(parts["train"]) * ((plan.settings.folds or 2) - 1)  # an epoch
        self._kept: tuple[tuple[Recipe, Views, tuple[str, ...]], Sequence[Fold]] | None = None

    def __call__(self, trial: Trial) -> Sequence[Fold]:
        """Those of the trial's folds; one where nothing is divided."""
        settings = trial.settings
        recipe = recipe_of(settings), views_of(settings), fresh_of(settings)
        if self._kept is None or self._kept[0] != recipe:
            self._kept = recipe, self._examples(settings)
        return self._kept[1]

    def together(self, trial: Trial) -> Examples:
        """Training and validation images as one, for the last training of a winner."""
        images = [*self._parts["train"], *self._parts["validation"]]
        return examples(self._materials, [images], trial.settings, classes=self._classes)[0]

    def tail(self, trial: Trial) -> Tail | None:
        """The stages of the backbone that `trial` trains."""
        return self._materials.networks.tail(trial.settings)

    def _examples(self, settings: Settings) -> Sequence[Fold]:
        if settings.folds:
            images = self._parts["train"]
            return _divided(images, settings, classes=self._classes, materials=self._materials)
        groups = [self._parts["train"], self._parts["validation"]]
        train, validation = examples(self._materials, groups, settings, classes=self._classes)
        return undivided(train, validation)


def examples(
    materials: Materials,
    groups: Sequence[Sequence[Image]],
    settings: Settings,
    *,
    classes: Sequence[str],
    training: Collection[int] = (0,),
) -> list[Examples]:
    """Each group of images with features, and labels that `classes` number.

    Inside a group the images stand in canonical order. Plain features are made in one pass for
    all groups; augmented views of those that train alone.

    Args:
        materials: make the features.
        groups: images that serve for the same.
        settings: of the trials.
        classes: names of the classes, in order.
        training: numbers of the groups that train.
    """
    number = {name: index for index, name in enumerate(classes)}
    ordered = [canonical(group, number) for group in groups]
    trained = [group for place, group in enumerate(ordered) if place in training]
    plain = _tables(materials, ordered, settings, views=(PLAIN,))
    if "cutmix" in fresh_of(settings) and plain[0][0].shape[1:][-2:] == (1, 1):
        materials.console.warn(
            "cutmix changes nothing here: the maps of the frozen stages are of 1 x 1; freeze fewer "
            "stages, or give a larger image_size"
        )
    views = iter(_tables(materials, trained, settings, views=views_of(settings)))
    return [
        Examples(
            plain[place][0],
            torch.tensor([number[str(image.sample.label)] for image in group]),
            sample_keys([image.digest for image in group]),
            next(views) if place in training else (),
            fresh_of(settings) if place in training else (),
            settings.seed,
        )
        for place, group in enumerate(ordered)
    ]


def _tables(
    materials: Materials,
    groups: Sequence[Sequence[Image]],
    settings: Settings,
    *,
    views: Sequence[View],
) -> list[tuple[Rows, ...]]:
    """For each group one table of features a view."""
    rows = materials.features([image for group in groups for image in group], settings, views)
    edges = [0, *accumulate(len(group) for group in groups)]
    return [tuple(view.among(slice(*part)) for view in rows) for part in pairwise(edges)]


def _divided(
    images: Sequence[Image],
    settings: Settings,
    *,
    classes: Sequence[str],
    materials: Materials,
) -> tuple[Fold, ...]:
    """The folds of `images`; all judge together in canonical order."""
    assert settings.folds, "who calls this has folds"  # noqa: S101
    (found,) = examples(materials, [images], settings, classes=classes)
    fold = fold_of(images, settings.folds, settings.seed)
    ordered = canonical(images, {name: number for number, name in enumerate(classes)})
    return divided(found, np.array([fold[image.digest] for image in ordered]))
