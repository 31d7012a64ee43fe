"""The files that a run writes at its start and at its end."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from veduta.config.settings import Settings, as_plain, plain
from veduta.data.checks.findings import CONFLICT, LEAK, counted
from veduta.data.pixels import Image, Rejection
from veduta.data.splits import fold_of
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.gate import Gate
from veduta.experiment.plan import Plan
from veduta.experiment.recovery.derived import LISTS, config_text, lists_of, stood_on
from veduta.metrics.classification import Accuracy
from veduta.metrics.intervals import compute_wilson_interval
from veduta.runs.directory import RunDirectory
from veduta.runs.files import write_atomically, write_json
from veduta.runs.journal import FORMAT, Journal
from veduta.runs.test_set import fingerprint
from veduta.tracking.console import Console
from veduta.tracking.tables import epochs_table, rows_to_csv, trials_table, write_csv
from veduta.tuning.halving import rungs
from veduta.tuning.optimism import correct
from veduta.tuning.recorder import Record
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import varied


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


def start_of(plan: Plan, gate: Gate) -> dict[str, Any]:
    """What a run stands on, settings and grid apart."""
    found = counted(gate.findings)
    return {
        "command": plan.command,
        "data": str(plan.folder.root),
        "layout": plan.folder.layout,
        "classes": list(plan.folder.classes),
        "images": {name: len(part) for name, part in gate.parts.items()},
        "rejected": len(gate.unreadable),
        "dropped": len(gate.dropped),
        "in_two_splits": found.get(LEAK, 0),
        "in_two_classes": found.get(CONFLICT, 0),
        "findings": found,
        "weigh": sum(finding.weighs for finding in gate.findings),
        "data_fingerprint": fingerprint(gate.images),
        "engine": plan.engine,
        "precision": plan.settings.precision,
        "versions": versions(),
    }


def begin(journal: Journal, plan: Plan, start: Mapping[str, Any]) -> dict[str, Any]:
    """Journal that a run starts, or goes on; what it stood on when it started."""
    now = {"pid": os.getpid(), "settings": settings_of(plan)}
    if plan.earlier is None:
        journal.append("start", format=FORMAT, **start, given=str(plan.data), **now)
        return dict(start)
    if now["settings"] == plan.earlier.settings[-1]:
        del now["settings"]
    now["backbones"] = start["backbones"]
    journal.append("resumed", format=FORMAT, versions=start["versions"], **now)
    return stood_on(journal.events[0])


def settings_of(plan: Plan) -> dict[str, Any]:
    """The resolved settings, and the grid: what `--config` takes to run this again.

    Where models or heads stand in the grid, what they decide cell by cell is not in it: presets
    decide it again.
    """
    apart = {*plan.grid, *plan.preset}
    common = {k: v for k, v in plan.settings.model_dump().items() if k not in apart}
    grid = {name: [as_plain(value) for value in values] for name, values in plan.grid.items()}
    return {**plain(common), **({"grid": grid} if grid else {})}


def write_start(
    directory: RunDirectory, plan: Plan, gate: Gate, *, start: Mapping[str, Any]
) -> None:
    """config.yaml, splits.csv and rejected.csv."""
    write_atomically(directory.config, config_text(settings_of(plan), start))
    write_splits(directory, gate.images, gate.parts, settings=plan.settings)
    write_rejected(directory, [*gate.unreadable, *gate.dropped])


def keep_lists(directory: RunDirectory, journal: Journal) -> None:
    """Journal the lists of images as they were written, so that they are there without the images.

    Those of an earlier attempt that are the same are not told again.
    """
    found = {
        name: (directory.path / name).read_bytes().decode("utf-8", "surrogateescape")
        for name in LISTS
    }
    if found != lists_of(journal.events):
        journal.append("lists", files=found)


def write_rejected(directory: RunDirectory, rejected: Sequence[Rejection]) -> None:
    """rejected.csv: the files left out, each once, with the reason."""
    rows = [(r.name, r.problem, r.detail, r.action) for r in rejected]
    rows_to_csv(directory.rejected, ("path", "problem", "detail", "action"), rows)


STANDS_ON = (
    *("classes", "images", "rejected", "dropped", "in_two_splits", "in_two_classes"),
    *("findings", "weigh"),
    *("engine", "precision", "engine_measured"),
)
"""What the summary repeats of the start."""


def summary_of(
    plan: Plan, record: Record, outcome: Outcome, *, ties: Sequence[str]
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
        "halving": _halving(plan, record),
        "validation": Accuracy(
            outcome.val_accuracy, *compute_wilson_interval(hits, images), images
        ).as_dict(),
        "ties": list(ties),
        "trials": len(plan.trials),
        "cells": plan.cells,
        "failed": len(record.failed),
        "strict": plan.settings.strict,
        "resumed": sum(event["event"] == "resumed" for event in record.journal.events),
        "class_order": "by name, in code point order",
    }


def _halving(plan: Plan, record: Record) -> dict[str, Any] | None:
    """The rounds of successive halving: how many trials went into each, and up to which epoch."""
    if plan.settings.halving is None:
        return None
    decided = {e["number"]: e for e in record.journal.events if e["event"] == "rung"}
    rounds, alive = [], list(plan.trials)
    for rung in rungs(plan.trials, plan.settings.halving):
        rounds.append({"trials": len(alive), "epochs": max(map(rung.epochs, alive), default=0)})
        promoted = decided.get(rung.number, {}).get("promoted", ())
        alive = [trial for trial in alive if trial.id in promoted]
    return {"factor": plan.settings.halving, "rounds": rounds}


def corrected_of(directory: RunDirectory, record: Record, seed: int) -> dict[str, Any] | None:
    """What the choice is expected to be worth on other images; cheaper trials come first."""
    hits = []
    for outcome in sorted(record.outcomes, key=lambda one: one.cost):
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
