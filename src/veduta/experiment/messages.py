"""What a run prints before it starts."""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from veduta.data.checks.findings import CONFLICT, LEAK, PLACES
from veduta.experiment.gate import Parts
from veduta.experiment.plan import Plan
from veduta.experiment.record import announce_folds
from veduta.experiment.recovery.previous_run import Earlier
from veduta.networks.catalogue.registry import model_of
from veduta.networks.freezing import frozen_stages
from veduta.networks.heads import head_of
from veduta.optim.rules import RULES
from veduta.runs.checkpoints import KEPT
from veduta.tracking.console import Console
from veduta.tuning.halving import most_epochs
from veduta.tuning.memory_plan import tail_cost
from veduta.tuning.trials.groups import fusable
from veduta.tuning.trials.space import Trial

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


def announce_plan(plan: Plan, start: Mapping[str, Any], console: Console) -> None:
    """What is about to happen, and what a user should know before it does."""
    counts = {part: n for part, n in start["images"].items() if n or part != "validation"}
    sizes = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    console.say(f"images      {sizes} (sealed); {len(plan.folder.classes)} classes")
    if plan.settings.folds:
        announce_folds(plan, plan.settings.folds, images=counts["train"], console=console)
    fewer = f" ({plan.cells} cells, of which some differ only in what they do not use)"
    console.say(
        f"trials      {len(plan.trials)}{fewer if plan.cells != len(plan.trials) else ''}, "
        f"{most_epochs(plan.trials, plan.settings.halving):,} epochs at most"
    )
    _announce_findings(plan, start, console)
    for name in plan.idle:
        console.warn(f"{name} has no effect here")
    if plan.earlier is not None:
        _announce_earlier(plan.earlier, start["versions"], console)


def _announce_findings(plan: Plan, start: Mapping[str, Any], console: Console) -> None:
    """What is wrong with the data; the files that cannot be read were told while they were read."""
    if leaks := start["in_two_splits"]:
        done = (
            "they are kept, so that scores say more than is true"
            if plan.settings.keep_leaks
            else f"{start['dropped']} copies are dropped where they would train, see rejected.csv"
        )
        console.warn(f"{leaks} images came in more than one split: {done}")
    if conflicts := start["in_two_classes"]:
        console.warn(f"{conflicts} images came with more than one label")
    others = {
        name: count
        for name, count in start["findings"].items()
        if name in PLACES and name not in {LEAK, CONFLICT}
    }
    if others:
        told = ", ".join(f"{count:,} {name}" for name, count in others.items())
        console.say(f"findings    {told}; `veduta inspect` shows them")


def way_on(command: str, directory: Path) -> str:
    """What a user types to go on with a run that was interrupted.

    >>> way_on("search", Path("runs/search 1"))
    "veduta search --resume 'runs/search 1'"
    """
    return f"veduta {command} --resume {shlex.quote(str(directory))}"


def _announce_earlier(earlier: Earlier, now: Mapping[str, str], console: Console) -> None:
    """That a run goes on, and what is not as it was."""
    console.say(
        f"resumed     {earlier.directory.path}: goes on after {len(earlier.events):,} events"
    )
    for said in earlier.told:
        console.warn(said)
    was = earlier.start["versions"]
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if names:
        changes = ", ".join(f"{name} {was.get(name)} -> {now.get(name)}" for name in names)
        console.warn(f"versions differ, so what runs now may differ in its last bits: {changes}")
