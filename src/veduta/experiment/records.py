"""What a run writes besides its journal: configuration, splits, tables, summary."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import yaml

from veduta import __version__
from veduta.config.settings import plain
from veduta.data.pixels import Image, Pixels
from veduta.experiment.materials import Materials
from veduta.experiment.plan import Plan
from veduta.experiment.sealed import fingerprint
from veduta.metrics.classification import Accuracy
from veduta.metrics.intervals import wilson
from veduta.runs.directory import RunDirectory
from veduta.runs.files import write_atomically, write_json
from veduta.runs.journal import Journal
from veduta.search.selection import Outcome
from veduta.search.space import varied
from veduta.search.study import Study
from veduta.tracking.tables import epochs_table, rows_to_csv, trials_table, write_csv

Parts = Mapping[str, Sequence[Image]]
LIBRARIES = ("numpy", "openvino", "pandas", "pillow", "safetensors", "timm", "torch", "torchvision")


def versions() -> dict[str, str]:
    """What the numbers may depend on: Veduta, Python, the machine type, the libraries."""
    found = {"veduta": __version__, "python": platform.python_version()}
    found["machine"] = f"{platform.system()} {platform.machine()}"
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except ModuleNotFoundError:
            found[library] = "not installed"
    return found


def start_of(plan: Plan, gate: Pixels, parts: Parts) -> dict[str, Any]:
    """What a run stands on, for the journal and config.yaml."""
    return {
        "command": plan.command,
        "data": str(plan.folder.root),
        "layout": plan.folder.layout,
        "classes": list(plan.folder.classes),
        "images": {name: len(images) for name, images in parts.items()},
        "rejected": len(gate.rejected),
        "data_fingerprint": fingerprint(gate.images),
        "settings": plain(plan.settings.model_dump()),
        "grid": {name: [_value(v) for v in values] for name, values in plan.grid.items()},
        "engine": plan.engine,
        "precision": "f32",
        "versions": versions(),
    }


def write_start(directory: RunDirectory, plan: Plan, gate: Pixels, parts: Parts) -> None:
    """config.yaml, splits.csv and rejected.csv."""
    start = start_of(plan, gate, parts)
    text = yaml.safe_dump(start, sort_keys=False, allow_unicode=True)
    write_atomically(directory.config, text)
    where = {image.sample.name: part for part, images in parts.items() for image in images}
    rows = [(i.sample.name, i.sample.label, where[i.sample.name], i.digest) for i in gate.images]
    rows_to_csv(directory.splits, ("path", "label", "split", "sha256"), rows)
    left_out = [(r.name, r.problem, r.detail, r.action) for r in gate.rejected]
    rows_to_csv(directory.rejected, ("path", "problem", "detail", "action"), left_out)


def summary_of(
    plan: Plan, study: Study, materials: Materials, *, outcome: Outcome, ties: Sequence[str]
) -> dict[str, Any]:
    """Everything of summary.json that is known before the test is opened."""
    hits, images = int(outcome.hits.sum()), len(outcome.hits)
    winner = next(trial for trial in plan.trials if trial.id == outcome.trial)
    return {
        "command": plan.command,
        "winner": {
            "trial": winner.id,
            "hyper_parameters": plain(winner.parameters),
            "varied": {name: winner.parameters[name] for name in varied(list(plan.trials))},
            "best_epoch": outcome.best_epoch,
            "refit": plan.settings.refit,
        },
        "validation": Accuracy(outcome.val_accuracy, *wilson(hits, images), images).as_dict(),
        "ties": list(ties),
        "trials": len(plan.trials),
        "cells": plan.cells,
        "failed": len(study.failed),
        "classes": list(plan.folder.classes),
        "class_order": "by name, in code point order",
        "engine": plan.engine,
        "reused": dict(materials.reused),
        "computed": dict(materials.made),
    }


def write_tables(directory: RunDirectory, journal: Journal) -> None:
    """epochs.csv and trials.csv, from the journal."""
    write_csv(directory.epochs, epochs_table(journal.events))
    write_csv(directory.trials, trials_table(journal.events))


def write_end(
    directory: RunDirectory,
    journal: Journal,
    summary: Mapping[str, Any],
    *,
    test: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> None:
    """The tables and summary.json, and the journal's last line."""
    journal.append("end", test=dict(test), seconds=dict(seconds))
    write_tables(directory, journal)
    order = ("command", "winner", "validation", "test")
    full = {**summary, "test": dict(test), "seconds": dict(seconds)}
    write_json(directory.summary, {**{name: full[name] for name in order}, **full})


def _value(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
