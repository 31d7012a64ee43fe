"""A run with folds: what it announces, and who judged where.

Folds are dealt by content (`data.splits.fold_of`), so they are the same for every trial, model and
image size, and the features of all images serve every fold.
"""

from collections.abc import Mapping, Sequence

from veduta.config.settings import Settings
from veduta.data.pixels import Image
from veduta.data.splits import fold_of
from veduta.experiment.plan import Plan
from veduta.runs.directory import RunDirectory
from veduta.tracking.console import Console
from veduta.tracking.tables import rows_to_csv


def announce_folds(plan: Plan, folds: int, *, images: int, console: Console) -> None:
    """How many folds of how many images there are, and what becomes of the winner."""
    console.say(
        f"folds       {folds} folds of about {round(images / folds):,} images, each judged by a "
        "training on the others; the winner is trained again on all"
    )
    if any(sample.split == "validation" for sample in plan.folder.samples):
        console.say("            the validation images that came are divided with the others")


def write_splits(
    directory: RunDirectory,
    images: Sequence[Image],
    parts: Mapping[str, Sequence[Image]],
    *,
    settings: Settings,
) -> None:
    """splits.csv: which image served for what; with folds, in which fold it judged.

    Copies that were dropped have no row.
    """
    where = {image.sample.name: part for part, found in parts.items() for image in found}
    fold = fold_of(parts["train"], settings.folds, settings.seed) if settings.folds else {}
    rows = []
    for image in (image for image in images if image.sample.name in where):
        name, part = image.sample.name, where[image.sample.name]
        judged = str(fold[image.digest]) if part == "train" and fold else ""
        rows.append((name, image.sample.label, part, image.digest, judged))
    width = 5 if fold else 4
    columns = ("path", "label", "split", "sha256", "fold")
    rows_to_csv(directory.splits, columns[:width], [row[:width] for row in rows])
