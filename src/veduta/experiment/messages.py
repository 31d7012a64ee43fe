"""Messages that a run prints before it starts."""

import shutil
from collections.abc import Mapping

from rich.filesize import decimal

from veduta.data.checks.findings import CONFLICT, LEAK, PROBLEM_ORDER
from veduta.experiment.checked_data import Splits
from veduta.experiment.plan import Plan
from veduta.experiment.recovery.previous_run import PreviousRun
from veduta.networks.catalogue.registry import resolve_model
from veduta.networks.heads import describe_head
from veduta.optim.rules import RULES
from veduta.runs.checkpoints import MAX_CHECKPOINTS
from veduta.runs.provenance import Provenance
from veduta.tracking.console import Console
from veduta.tuning.halving import count_max_epochs
from veduta.tuning.memory_plan import measure_tail
from veduta.tuning.trials.space import Trial, uses_fused_executor

NUMBER_BYTES = 4  # size of a float32
EPOCH_BYTES = 2_000  # per epoch and trial: journal line, table row, points of the curves
PICTURE_BYTES = 10 * 10**6  # size of the report and its pictures


def announce_plan(
    plan: Plan, provenance: Provenance, previous: PreviousRun | None, console: Console
) -> None:
    """Print the size of the data and of the search, and warnings about data and settings."""
    sizes = provenance.data.split_sizes
    split_sizes = ", ".join(
        f"{size:,} {split}"
        for split, size in sizes.model_dump().items()
        if size or split != "validation"
    )
    classes = len(plan.folder.classes)
    console.say(f"images      {split_sizes} (held out); {classes} classes")
    if plan.settings.folds:
        _announce_folds(plan, plan.settings.folds, sizes.train, console)
    duplicates = f" ({plan.cell_count} cells, some of which differ only in unused settings)"
    max_epochs = count_max_epochs(plan.trials, plan.settings.halving)
    console.say(
        f"trials      {len(plan.trials)}{duplicates if plan.cell_count != len(plan.trials) else ''}"
        f", {max_epochs:,} epochs at most"
    )
    _announce_problems(plan, provenance, console)
    for name in plan.unused_settings:
        console.warn(f"{name} has no effect in this run")
    if previous is not None:
        _announce_previous_run(previous, provenance.versions, console)


def _announce_folds(plan: Plan, folds: int, images: int, console: Console) -> None:
    """Print the number of folds, and that the winner is refit."""
    console.say(
        f"folds       {folds} folds of about {round(images / folds):,} images, each validated by a "
        "model trained on the others; the winner is refit on all images"
    )
    if any(sample.split == "validation" for sample in plan.folder.samples):
        console.say("            the validation images of the data set are among them")


def _announce_problems(plan: Plan, provenance: Provenance, console: Console) -> None:
    """Print problems of the data; unreadable files were reported when they were read."""
    data = provenance.data
    if leaks := data.images_in_two_splits:
        action = (
            "they are kept, so scores are too high"
            if plan.settings.keep_leaks
            else f"{data.dropped_images} training or validation copies are dropped, see "
            "rejected.csv"
        )
        console.warn(f"{leaks} images are in more than one split: {action}")
    if conflicts := data.images_in_two_classes:
        console.warn(f"{conflicts} images have more than one label")
    others = [
        f"{count:,} {problem}"
        for problem, count in data.problems.items()
        if problem in PROBLEM_ORDER and problem not in {LEAK, CONFLICT}
    ]
    if others:
        console.say(f"findings    {', '.join(others)}; `veduta inspect` shows them")


def _announce_previous_run(
    previous: PreviousRun, versions: Mapping[str, str], console: Console
) -> None:
    """Print that a run is resumed, and which versions differ from those it was started with."""
    events = len(previous.events)
    console.say(f"resumed     {previous.directory.path}: continues after {events:,} events")
    for warning in previous.warnings:
        console.warn(warning)
    recorded = previous.start.provenance.versions
    names = [n for n in {**recorded, **versions} if recorded.get(n) != versions.get(n)]
    if names:
        changes = ", ".join(f"{n} {recorded.get(n)} -> {versions.get(n)}" for n in names)
        console.warn(f"versions differ, so the last bits of new results may differ: {changes}")


def warn_about_disk_space(plan: Plan, splits: Splits, console: Console) -> None:
    """Warn if a run is expected to write more than the free space of its file system."""
    output = plan.output.path.absolute()
    folder = next(path for path in (output, *output.parents) if path.is_dir())
    needed, free = estimate_run_bytes(plan, splits), shutil.disk_usage(folder).free
    if needed > free:
        console.warn(
            f"a run should have free disk space for its files, about {decimal(needed)}; {folder} "
            f"has {decimal(free)} free, and the run starts nevertheless: free some space, or give "
            "another --out"
        )


def estimate_run_bytes(plan: Plan, splits: Splits) -> int:
    """Estimate the maximum size of the files of a run: scores, checkpoints, model, pictures."""
    settings, classes = plan.settings, len(plan.folder.classes)
    images = len(splits["validation"]) + (len(splits["train"]) if settings.uses_folds else 0)
    model = max(resolve_model(trial.settings).parameters for trial in plan.trials)
    trials = sum(_estimate_trial_bytes(trial, images, classes) for trial in plan.trials)
    refit = 0
    if settings.refits_winner:
        refit = max(_estimate_checkpoint_bytes(trial, classes) for trial in plan.trials)
    return PICTURE_BYTES + NUMBER_BYTES * model + trials + refit


def _estimate_trial_bytes(trial: Trial, images: int, classes: int) -> int:
    """Estimate the size of the files and journal lines of a trial."""
    settings = trial.settings
    scores = images * (NUMBER_BYTES * classes + settings.epochs // 8 + 1)
    size = scores + EPOCH_BYTES * settings.epochs
    if not uses_fused_executor(settings):
        size += _estimate_checkpoint_bytes(trial, classes) * settings.fold_count
    return size


def _estimate_checkpoint_bytes(trial: Trial, classes: int) -> int:
    """Estimate the size of the checkpoints of one training.

    Each checkpoint contains the weights, their moving average, the moments of the optimizer and the
    weights of the best epoch.
    """
    settings = trial.settings
    model = resolve_model(settings)
    parameters = describe_head(settings, model.features, classes).parameters
    if (frozen_stages := settings.frozen_stages) is not None:
        parameters += measure_tail(model, settings.image_size, frozen_stages).weights
    copies = 2 + RULES[settings.optimizer].moments + settings.averages_weights
    return MAX_CHECKPOINTS * copies * NUMBER_BYTES * parameters
