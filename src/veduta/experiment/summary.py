"""What a run writes when it ends: tables and summary."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veduta.config.fields import plain
from veduta.experiment.materials import Materials
from veduta.experiment.plan import Plan
from veduta.metrics.classification import Accuracy
from veduta.metrics.intervals import compute_wilson_interval
from veduta.runs.directory import RunDirectory
from veduta.runs.files import write_json
from veduta.runs.journal import Journal
from veduta.search.optimism import correct
from veduta.search.record import Record
from veduta.search.rungs import rungs
from veduta.search.selection import Outcome
from veduta.search.space import varied
from veduta.tracking.tables import epochs_table, trials_table, write_csv

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
