"""What a run says and writes besides its journal: configuration, splits, tables, summary."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import yaml

from veduta.config.parsing import PROVENANCE
from veduta.config.settings import as_plain, plain
from veduta.data.pixels import Image, Pixels, Rejection
from veduta.data.splits import shared
from veduta.experiment.earlier import Earlier
from veduta.experiment.folding import announce_folds, write_splits
from veduta.experiment.materials import Materials
from veduta.experiment.plan import Plan
from veduta.experiment.sealed import fingerprint
from veduta.metrics.classification import Accuracy
from veduta.metrics.intervals import wilson
from veduta.runs.directory import RunDirectory
from veduta.runs.files import write_atomically, write_json
from veduta.runs.journal import Journal
from veduta.search.optimism import correct
from veduta.search.selection import Outcome
from veduta.search.space import varied
from veduta.search.study import Study
from veduta.tracking.console import Console
from veduta.tracking.tables import epochs_table, rows_to_csv, trials_table, write_csv

Parts = Mapping[str, Sequence[Image]]
STANDS_ON = (
    *("classes", "images", "rejected", "in_two_splits", "in_two_classes"),
    *("engine", "precision", "engine_measured"),
)
"""What the summary repeats of the start."""

LIBRARIES = (
    "veduta",
    "nncf",
    "numpy",
    "openvino",
    "pandas",
    "pillow",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)


def versions() -> dict[str, str]:
    """What the numbers may depend on: Veduta, Python, the machine type, the libraries."""
    found = {"machine": f"{platform.system()} {platform.machine()}"}
    found["python"] = platform.python_version()
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except ModuleNotFoundError:
            found[library] = "not installed"
    return found


def start_of(plan: Plan, gate: Pixels, parts: Parts) -> dict[str, Any]:
    """What a run stands on, settings and grid apart."""
    images = [image for part in parts.values() for image in part]
    copies = shared(images, [name for name, part in parts.items() for _ in part])
    return {
        "command": plan.command,
        "data": str(plan.folder.root),
        "layout": plan.folder.layout,
        "classes": list(plan.folder.classes),
        "images": {name: len(part) for name, part in parts.items()},
        "rejected": len(gate.rejected),
        "in_two_splits": sum(group.leak for group in copies),
        "in_two_classes": sum(group.conflict for group in copies),
        "data_fingerprint": fingerprint(gate.images),
        "engine": plan.engine,
        "precision": plan.settings.precision,
        "versions": versions(),
    }


def begin(journal: Journal, plan: Plan, start: Mapping[str, Any]) -> dict[str, Any]:
    """Journal that a run starts, or goes on; what it stood on when it started."""
    now = {"pid": os.getpid(), "settings": settings_of(plan)}
    if plan.earlier is None:
        journal.append("start", **start, given=str(plan.data), **now)
        return dict(start)
    if now["settings"] == plan.earlier.settings[-1]:
        del now["settings"]
    now["backbones"] = start["backbones"]
    journal.append("resumed", versions=start["versions"], **now)
    apart = ("event", "given", "pid", "settings")
    return {name: value for name, value in journal.events[0].items() if name not in apart}


def announce(plan: Plan, start: Mapping[str, Any], console: Console) -> None:
    """What is about to happen, and what a user should know before it does."""
    counts = {part: n for part, n in start["images"].items() if n or part != "validation"}
    sizes = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    console.say(f"images      {sizes} (sealed); {len(plan.folder.classes)} classes")
    if plan.settings.folds:
        announce_folds(plan, plan.settings.folds, images=counts["train"], console=console)
    fewer = f" ({plan.cells} cells, of which some differ only in what they do not use)"
    console.say(
        f"trials      {len(plan.trials)}{fewer if plan.cells != len(plan.trials) else ''}, "
        f"{sum(trial.settings.epochs for trial in plan.trials):,} epochs at most"
    )
    if leaks := start["in_two_splits"]:
        console.warn(f"{leaks} images came in more than one split; splits.csv has their sha256")
    if conflicts := start["in_two_classes"]:
        console.warn(f"{conflicts} images came with more than one label; see splits.csv")
    for name in plan.idle:
        console.warn(f"{name} has no effect here")
    if plan.earlier is not None:
        _announce_earlier(plan.earlier, start["versions"], console)


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


def settings_of(plan: Plan) -> dict[str, Any]:
    """The resolved settings, and the grid: what `--config` takes to run this again."""
    common = {k: v for k, v in plan.settings.model_dump().items() if k not in plan.grid}
    grid = {name: [as_plain(value) for value in values] for name, values in plan.grid.items()}
    return {**plain(common), **({"grid": grid} if grid else {})}


def write_start(
    directory: RunDirectory, plan: Plan, gate: Pixels, *, start: Mapping[str, Any], parts: Parts
) -> None:
    """config.yaml, splits.csv and rejected.csv."""
    content = {**settings_of(plan), PROVENANCE: dict(start)}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomically(directory.config, text)
    write_splits(directory, gate.images, parts, settings=plan.settings)
    write_rejected(directory, gate.rejected)


def write_rejected(directory: RunDirectory, rejected: Sequence[Rejection]) -> None:
    """rejected.csv: the files left out, each once, with the reason."""
    rows = [(r.name, r.problem, r.detail, r.action) for r in rejected]
    rows_to_csv(directory.rejected, ("path", "problem", "detail", "action"), rows)


def summary_of(
    plan: Plan, study: Study, outcome: Outcome, *, ties: Sequence[str]
) -> dict[str, Any]:
    """What a search found, before the test is opened."""
    hits, images = int(outcome.hits.sum()), len(outcome.hits)
    winner = next(trial for trial in plan.trials if trial.id == outcome.trial)
    return {
        "command": plan.command,
        "winner": {
            "trial": winner.id,
            "hyper_parameters": plain(winner.parameters),
            "varied": {name: winner.parameters[name] for name in varied(list(plan.trials))},
            "best_epoch": outcome.best_epoch,
            "refit": plan.refit,
        },
        "folds": plan.settings.folds,
        "validation": Accuracy(outcome.val_accuracy, *wilson(hits, images), images).as_dict(),
        "ties": list(ties),
        "trials": len(plan.trials),
        "cells": plan.cells,
        "failed": len(study.failed),
        "resumed": sum(event["event"] == "resumed" for event in study.journal.events),
        "class_order": "by name, in code point order",
    }


def corrected_of(directory: RunDirectory, study: Study, seed: int) -> dict[str, Any] | None:
    """What the choice is expected to be worth on other images; cheaper trials come first."""
    hits = []
    for outcome in sorted(study.outcomes, key=lambda one: one.cost):
        with np.load(directory.scores / f"{outcome.trial}.npz") as kept:
            packed, images = kept["hits"], int(kept["images"])
        hits.append(np.unpackbits(packed, axis=1, count=images).astype(bool))
    found = correct(hits, seed)
    return found.as_dict() if found else None


def write_tables(directory: RunDirectory, journal: Journal) -> None:
    """epochs.csv and trials.csv, from the journal."""
    write_csv(directory.epochs, epochs_table(journal.events))
    write_csv(directory.trials, trials_table(journal.events))


def write_end(
    directory: RunDirectory,
    journal: Journal,
    summary: Mapping[str, Any],
    *,
    materials: Materials,
    seconds: Mapping[str, float],
) -> None:
    """summary.json, and the journal's last line, which says the same."""
    start = journal.events[0]
    full = {
        **summary,
        **{name: start[name] for name in STANDS_ON if name in start},
        "reused": dict(materials.reused),
        "computed": dict(materials.made),
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
    journal.append("end", **full)
    write_json(directory.summary, full)
