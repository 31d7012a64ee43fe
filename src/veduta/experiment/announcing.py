"""What a run says before anything starts."""

from collections.abc import Mapping
from typing import Any

from veduta.data.inspect.findings import CONFLICT, LEAK, PLACES
from veduta.experiment.earlier import Earlier
from veduta.experiment.folding import announce_folds
from veduta.experiment.plan import Plan
from veduta.search.rungs import most_epochs
from veduta.tracking.console import Console


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


def _announce_earlier(earlier: Earlier, now: Mapping[str, str], console: Console) -> None:
    """That a run goes on, and what is not as it was."""
    console.say(
        f"resumed     {earlier.directory.path}: goes on after {len(earlier.events):,} events"
    )
    if earlier.torn:
        console.warn(f"the last line of the journal was torn; {earlier.torn} bytes were cut off")
    was = earlier.start["versions"]
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if names:
        changes = ", ".join(f"{name} {was.get(name)} -> {now.get(name)}" for name in names)
        console.warn(f"versions differ, so what runs now may differ in its last bits: {changes}")
