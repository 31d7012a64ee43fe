"""Whether the disk has room for a run, asked before it starts: a warning then saves hours later."""

import shutil

from rich.filesize import decimal

from veduta.experiment.parts import Parts
from veduta.experiment.plan import Plan
from veduta.models.freezing import frozen_stages
from veduta.models.heads import head_of
from veduta.models.registry import model_of
from veduta.optim.rules import RULES
from veduta.runs.checkpoints import KEPT
from veduta.search.groups import fusable
from veduta.search.space import Trial
from veduta.search.tails import tail_cost
from veduta.tracking.console import Console

NUMBER = 4  # bytes of a float32
EVENTS = 2_000  # bytes an epoch and trial: a line of the journal, a row, points of the curves
PICTURES = 10 * 10**6  # bytes of the report and what it shows


def warn_of_room(plan: Plan, parts: Parts, console: Console) -> None:
    """Warn where what a run is expected to write is more than what is free where it stands."""
    place = plan.place.path.absolute()
    above = next(path for path in (place, *place.parents) if path.is_dir())
    needed, free = expected_bytes(plan, parts), shutil.disk_usage(above).free
    if needed > free:
        console.warn(
            f"a run should have room for all that it writes, about {decimal(needed)}; {above} has "
            f"{decimal(free)} free, and it is tried all the same: free some, or give another --out"
        )


def expected_bytes(plan: Plan, parts: Parts) -> int:
    """What a run is expected to write at most: scores, checkpoints, weights, events, pictures."""
    images = len(parts["validation"]) + (len(parts["train"]) if plan.settings.folds else 0)
    classes = len(plan.folder.classes)
    apart = plan.settings.halving is not None
    model = max(model_of(trial.settings).parameters for trial in plan.trials)
    trials = sum(_of(trial, images, classes, apart=apart) for trial in plan.trials)
    again = max(_checkpoints(trial, classes) for trial in plan.trials) if plan.refit else 0
    return PICTURES + NUMBER * model + trials + again


def _of(trial: Trial, images: int, classes: int, *, apart: bool) -> int:
    """What is written of a trial."""
    settings = trial.settings
    scores = images * (NUMBER * classes + settings.epochs // 8 + 1)
    written = scores + EVENTS * settings.epochs
    if apart or not fusable(settings):
        written += _checkpoints(trial, classes) * (settings.folds or 1)
    return written


def _checkpoints(trial: Trial, classes: int) -> int:
    """Of one training: weights, moments, their average and the best epoch, in each generation."""
    settings = trial.settings
    model = model_of(settings)
    numbers = head_of(settings, model.features, classes).parameters
    if settings.freeze != "all":
        numbers += tail_cost(model, settings.image_size, frozen_stages(settings)).numbers
    copies = 2 + RULES[settings.optimizer].moments + (settings.ema > 0)
    return KEPT * copies * NUMBER * numbers
