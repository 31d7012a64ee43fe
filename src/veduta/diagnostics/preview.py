"""Draw what a run would train on: training images, and what each epoch trains on in their place.

The images are those of the training split, and their batches are made as in a training; so the
pictures of an epoch are what the network trains on, images that are mixed with their partners
included. Where the first stages are frozen, feature maps are mixed instead of pixels: the pictures
have the same partners and fractions; the boxes of CutMix, and their fraction, are those of the
pixels, which feature maps have at a coarser resolution.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from veduta.augment.registry import select_mixing_augmentations
from veduta.config.presets import merge_settings
from veduta.config.settings import Settings
from veduta.data.pixels import Image, draw_images, open_pixel_store
from veduta.errors import InputError
from veduta.experiment.checked_data import check_data
from veduta.experiment.feature_pipeline import PixelLoader
from veduta.experiment.feature_spec import build_resize, list_epoch_augmentations, sort_images
from veduta.experiment.plan import Command, Plan, make_plan
from veduta.reporting.pictures.sheets import Row, Sheet, write_sheets
from veduta.runs.directory import RUNS_FOLDER, choose_output_path, create_run_directory
from veduta.runtime.environment import open_cache
from veduta.runtime.streams import derive_sample_keys
from veduta.tracking.console import Console
from veduta.training.examples import Examples
from veduta.training.loss import Batch
from veduta.types import IndexArray

MAX_EPOCHS = 6
TARGET_ROWS = 12  # number of images that is aimed at; each class has at least one
MAX_CLASSES = 24
MAX_IMAGES_PER_CLASS = 3
UNMIXED_FRACTION = 0.995  # fraction of itself from which on an image counts as not mixed


def run_preview(
    data: str | Path,
    settings: Mapping[str, object],
    *,
    grid: Mapping[str, object],
    config: str | Path | None,
    preset: str | None,
    out: str | Path | None,
    console: Console,
) -> tuple[Path, ...]:
    """Draw what a run would train on, in a new directory, and return the paths of the pictures.

    Args:
        data: a folder of images, or a CSV file.
        settings: settings by name.
        grid: several values per setting, by name; one picture is drawn per value of `augment`.
        config: a YAML file of settings; `settings` and `grid` take precedence.
        preset: name of a preset; everything else takes precedence.
        out: the new directory; default `runs/preview-N`.
        console: shows progress.

    Raises:
        InputError: nothing augments the images, or they cannot be used.
    """
    values, merged_grid = merge_settings(settings, grid, config=config, preset=preset)
    output = choose_output_path(out, RUNS_FOLDER, "preview")
    command: Command = "search" if merged_grid else "train"
    plan = make_plan(data, values, grid=merged_grid, output=output, command=command)
    with open_cache(console.warn) as cache:
        sheets = build_sheets(plan, cache=cache, console=console)
    return write_sheets(create_run_directory(plan.output).path, sheets)


def build_sheets(plan: Plan, *, cache: Path, console: Console) -> list[Sheet]:
    """Build one sheet of pictures for each value of `augment` in the trials of a plan.

    Raises:
        InputError: nothing augments the images, or they cannot be used.
    """
    settings_by_augment = {trial.settings.augment: trial.settings for trial in plan.trials}
    if not any(settings_by_augment):
        raise InputError(
            "a preview needs an augmentation; got augment=none: give names such as "
            "augment=crop+flip"
        )
    if not any(
        settings.views or list_epoch_augmentations(settings)
        for settings in settings_by_augment.values()
    ):
        console.warn(
            "this run trains on the plain images, because its backbone is frozen and views is not "
            "given; the preview shows what views would add"
        )
    classes, seed = plan.folder.classes, plan.settings.seed
    class_index = {name: index for index, name in enumerate(classes)}
    splits = check_data(plan, PixelLoader(cache, console)).splits
    images = sort_images(splits["train"], class_index)
    resize = build_resize(plan.trials[0].settings)
    digests = [image.digest for image in images]
    examples = Examples(
        open_pixel_store(resize, cache).load_rows(digests),
        torch.tensor([class_index[str(image.sample.label)] for image in images]),
        derive_sample_keys(digests),
        seed=seed,
    )
    rows = _choose_rows(images, classes, seed)
    some = "" if len(classes) <= MAX_CLASSES else f", {MAX_CLASSES} of {len(classes)} classes"
    detail = f"{resize.size} x {resize.size} pixels, seed {seed}{some}"
    return [
        _build_sheet(
            replace(examples, augment=names), settings, rows, classes=classes, detail=detail
        )
        for names, settings in settings_by_augment.items()
        if names
    ]


def _choose_rows(images: Sequence[Image], classes: Sequence[str], seed: int) -> IndexArray:
    """Choose the images of a sheet, class by class; each class has at least one."""
    names = classes[:MAX_CLASSES]
    count = max(1, min(MAX_IMAGES_PER_CLASS, TARGET_ROWS // len(names)))
    row = {(image.digest, image.sample.label): index for index, image in enumerate(images)}
    return np.array(
        [
            row[image.digest, name]
            for name in names
            for image in draw_images(
                [image for image in images if image.sample.label == name],
                count,
                seed=seed,
                purpose="preview",
            )
        ]
    )


def _build_sheet(
    examples: Examples,
    settings: Settings,
    rows: IndexArray,
    *,
    classes: Sequence[str],
    detail: str,
) -> Sheet:
    """Build a sheet of what the first epochs of a training with `settings` train on."""
    epochs = range(1, min(MAX_EPOCHS, settings.epochs) + 1)
    views = settings.cached_views
    if views:
        detail += f", {views} {'view' if views == 1 else 'views'} in turn"
    mixes = bool(select_mixing_augmentations(settings.augment))
    if mixes and not settings.trains_whole_backbone:
        detail += ", mixed as feature maps of the frozen stages"
    batches = [replace(examples, augment=()).get_batch_source(1)(rows)]
    for epoch in epochs:
        get_batch = examples.get_batch_source(epoch, view_epoch=epoch % views if views else epoch)
        batches.append(get_batch(rows))
    pixels = np.stack([batch.features.numpy() for batch in batches], axis=1)
    notes = zip(*(_describe_mixing(batch, classes) for batch in batches), strict=True)
    labels = [classes[label] for label in batches[0].labels.tolist()]
    return Sheet(
        " + ".join(name.replace("_", " ") for name in settings.augment),
        detail,
        ("image", *(f"epoch {epoch}" for epoch in epochs)),
        tuple(Row(*row) for row in zip(labels, pixels, notes, strict=True)),
    )


def _describe_mixing(batch: Batch, classes: Sequence[str]) -> list[str]:
    """Return for each image the fraction and class of its partner; empty if it is not mixed."""
    if batch.fractions is None or batch.partner_labels is None:
        return [""] * len(batch.labels)
    pairs = zip(batch.fractions.tolist(), batch.partner_labels.tolist(), strict=True)
    return [
        f"+ {1 - fraction:.0%} {classes[label]}" if fraction < UNMIXED_FRACTION else ""
        for fraction, label in pairs
    ]
