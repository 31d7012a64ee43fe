"""Events and journals for tests: every field has a value, and a test states those it is about."""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from veduta.runs.events import (
    EpochFinished,
    Event,
    RunStarted,
    SearchPlanned,
    TrialFinished,
    TrialStarted,
)
from veduta.runs.journal import encode_event
from veduta.runs.provenance import (
    Configuration,
    DataSummary,
    EngineChoice,
    Provenance,
    SplitSizes,
)
from veduta.runs.summary import (
    Abstention,
    Calibration,
    Durations,
    Estimate,
    RowCounts,
    Summary,
    TestResult,
    Winner,
)

DATA = DataSummary(
    classes=("blue", "red"),
    split_sizes=SplitSizes(train=60, validation=20, test=20),
    rejected_files=0,
    dropped_images=0,
    images_in_two_splits=0,
    images_in_two_classes=0,
    problems={},
    errors=0,
)
ENGINE = EngineChoice(name="torch", precision="f32")


def make_provenance(**changes: Any) -> Provenance:
    """Return a provenance in which `changes` replace fields."""
    fields: dict[str, Any] = {
        "command": "search",
        "root": "/data/colors",
        "layout": "class folders",
        "data": DATA,
        "data_fingerprint": "0" * 64,
        "engine": ENGINE,
        "versions": {"veduta": "0"},
    }
    return Provenance(**(fields | changes))


def make_run_started(**changes: Any) -> RunStarted:
    """Return the first event of a journal; `changes` replace fields."""
    fields: dict[str, Any] = {
        "pid": 1,
        "data_path": "/data/colors",
        "provenance": make_provenance(),
        "configuration": Configuration(settings={"lr": 1e-3}),
    }
    return RunStarted(**(fields | changes))


def make_plan(*trials: str) -> SearchPlanned:
    """Return the plan of trials that share their features."""
    return SearchPlanned(trials=list(trials), groups=[list(trials)])


def make_trial_started(trial: str = "t1", **hyperparameters: Any) -> TrialStarted:
    """Return the start of a trial with these hyperparameters; a learning rate by default."""
    return TrialStarted(trial=trial, hyperparameters=hyperparameters or {"lr": 1e-3})


def make_epoch(trial: str = "t1", epoch: int = 1, **changes: Any) -> EpochFinished:
    """Return an epoch of a trial; `changes` replace fields."""
    fields: dict[str, Any] = {
        "current_lr": 1e-3,
        "train_loss": 0.5,
        "train_accuracy": 0.9,
        "val_loss": 0.6,
        "val_accuracy": 0.8,
        "seconds": 1.0,
        "time": 100.5 + epoch,
    }
    return EpochFinished(trial=trial, epoch=epoch, **(fields | changes))


def make_trial_finished(trial: str = "t1", **changes: Any) -> TrialFinished:
    """Return the normal end of a trial; `changes` replace fields."""
    fields: dict[str, Any] = {
        "end_reason": "epochs",
        "epochs_trained": 1,
        "best_epoch": 1,
        "train_loss": 0.5,
        "train_accuracy": 0.9,
        "val_loss": 0.6,
        "val_accuracy": 0.8,
        "seconds": 1.5,
        "cost": 100,
        "val_correct": 80,
        "val_images": 100,
        "time": 104.0,
    }
    return TrialFinished(trial=trial, **(fields | changes))


def make_summary(**changes: Any) -> Summary:
    """Return the summary of a search of two trials; `changes` replace fields."""
    fields: dict[str, Any] = {
        "command": "search",
        "winner": Winner(
            trial="t1",
            hyperparameters={"lr": 1e-3, "freeze": "all"},
            varied={"lr": 1e-3},
            best_epoch=1,
            refit=False,
        ),
        "validation_accuracy": Estimate(value=0.8, low=0.7, high=0.9, images=100),
        "tied_trials": ("t2",),
        "trial_count": 2,
        "grid_cells": 2,
        "failed_trials": 0,
        "strict": False,
        "resume_count": 0,
        "test": TestResult(
            accuracy=Estimate(value=0.75, low=0.6, high=0.9, images=20),
            tta="none",
            evaluations=1,
            previous_evaluations=0,
        ),
        "calibration": Calibration(temperature=1.0, images=100),
        "abstention": Abstention(max_error=0.02, reason="too few images"),
        "data": DATA,
        "engine": ENGINE,
        "rows_from_cache": RowCounts(pixels=0, features=0),
        "rows_computed": RowCounts(pixels=100, features=100),
        "seconds": Durations(pixels=1.0, features=2.0, training=3.0, total=7.0),
    }
    return Summary(**(fields | changes))


def write_journal(path: Path, events: Iterable[Event]) -> None:
    """Write a journal with these events."""
    path.write_bytes(b"".join(map(encode_event, events)))


def encode_content(content: object) -> bytes:
    """Return any JSON value as a line of a journal with a valid checksum."""
    body = json.dumps(content, separators=(",", ":"))[:-1].encode()
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)
