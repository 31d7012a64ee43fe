"""What a run would train on, before it starts: images, and what each epoch shows of them.

The images are those of the training part, and the way from them to a batch is the training's own;
so the pictures of an epoch are what the network is given in it, mixed ones with their partners.
Where stages are frozen their maps are mixed: the pictures show the same partners and shares; boxes
of CutMix, and their share, are those of pixels, which maps take to their own coarser grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.augment.registry import select_mixing_augmentations
from veduta.config.settings import Settings
from veduta.data.pixels import Image, pixel_store
from veduta.errors import InputError
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.feature_spec import canonical, fresh_of, resize_of
from veduta.experiment.gate import gate_of
from veduta.experiment.plan import Plan
from veduta.features.quantized import drawn
from veduta.runtime.streams import sample_keys
from veduta.tracking.console import Console
from veduta.training.loss import Batch
from veduta.training.state import Examples
from veduta.types import PixelArray

EPOCHS = 6  # shown at most
ROWS = 12  # about so many images, and at least one a class
MOST_CLASSES = 24  # shown at most
EACH = 3  # images a class at most
ALL_ITS_OWN = 0.995  # share of itself from which an image counts as not mixed


@dataclass(frozen=True, slots=True)
class Row:
    """An image, and what the epochs show of it.

    Attributes:
        label: its class.
        pixels: uint8 (1 + epochs, S, S, 3), the plain image first.
        notes: (1 + epochs), how much of which other class it has; empty where nothing is mixed.
    """

    label: str
    pixels: PixelArray
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Some images of each class, and what changes them.

    Attributes:
        title: the augmentations.
        detail: what else decides how they look.
        columns: what stands above the pictures of a row.
        rows: those of a class one after another.
    """

    title: str
    detail: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def sheets_of(plan: Plan, *, cache: Path, console: Console) -> list[Sheet]:
    """One sheet for each value of `augment` that trials of the plan have.

    Raises:
        InputError: nothing changes the images, or they do not do.
    """
    wanted = {trial.settings.augment: trial.settings for trial in plan.trials}
    if not any(wanted):
        raise InputError(
            "a preview needs something that changes images; got augment=none: give names such as "
            "augment=crop+flip"
        )
    if not any(settings.views or fresh_of(settings) for settings in wanted.values()):
        console.warn(
            "this run trains on the plain images: its backbone is frozen and no --views are given; "
            "shown is what --views would add"
        )
    classes = plan.folder.classes
    number = {name: index for index, name in enumerate(classes)}
    materials = Materials(plan.engine, plan.settings.seed, cache, console)
    images = canonical(gate_of(plan, materials).parts["train"], number)
    resize = resize_of(plan.trials[0].settings)
    digests = [image.digest for image in images]
    examples = Examples(
        pixel_store(resize, cache).rows(digests),
        torch.tensor([number[str(image.sample.label)] for image in images]),
        sample_keys(digests),
        seed=plan.settings.seed,
    )
    chosen = _chosen(images, classes, plan.settings.seed)
    few = "" if len(classes) <= MOST_CLASSES else f", {MOST_CLASSES} of {len(classes)} classes"
    detail = f"{resize.size} x {resize.size} pixels, seed {plan.settings.seed}{few}"
    return [
        _sheet(replace(examples, augment=names), settings, chosen, classes=classes, detail=detail)
        for names, settings in wanted.items()
        if names
    ]


def _chosen(images: Sequence[Image], classes: Sequence[str], seed: int) -> NDArray[np.intp]:
    """Places of the images that are shown, class by class; each class has at least one."""
    shown = classes[:MOST_CLASSES]
    each = max(1, min(EACH, ROWS // len(shown)))
    place = {(image.digest, image.sample.label): index for index, image in enumerate(images)}
    return np.array(
        [
            place[one.digest, name]
            for name in shown
            for one in drawn(
                [image for image in images if image.sample.label == name],
                each,
                seed=seed,
                purpose="preview",
            )
        ]
    )


def _sheet(
    examples: Examples,
    settings: Settings,
    chosen: NDArray[np.intp],
    *,
    classes: Sequence[str],
    detail: str,
) -> Sheet:
    """What the first epochs of a training with `settings` show of the chosen images."""
    epochs = range(1, min(EPOCHS, settings.epochs) + 1)
    again = settings.views if settings.freeze != "none" else None
    turn = f", {again} {'view' if again == 1 else 'views'} in turn" if again else ""
    maps = settings.freeze != "none" and select_mixing_augmentations(settings.augment)
    behind = ", mixed as maps behind the frozen stages" if maps else ""
    batches = [
        examples.seen_in(epoch, like=epoch % again if again else epoch)(chosen) for epoch in epochs
    ]
    plain = replace(examples, augment=()).seen_in(1)(chosen)
    pixels = np.stack([batch.features.numpy() for batch in (plain, *batches)], axis=1)
    notes = zip(*(_notes(batch, classes) for batch in (plain, *batches)), strict=True)
    labels = [classes[label] for label in plain.labels.tolist()]
    return Sheet(
        " + ".join(name.replace("_", " ") for name in settings.augment),
        detail + turn + behind,
        ("image", *(f"epoch {epoch}" for epoch in epochs)),
        tuple(Row(*row) for row in zip(labels, pixels, notes, strict=True)),
    )


def _notes(batch: Batch, classes: Sequence[str]) -> list[str]:
    """How much of another class each image has."""
    if batch.shares is None or batch.partner_labels is None:
        return [""] * len(batch.labels)
    pairs = zip(batch.shares.tolist(), batch.partner_labels.tolist(), strict=True)
    return [
        f"+ {1 - share:.0%} {classes[label]}" if share < ALL_ITS_OWN else ""
        for share, label in pairs
    ]
