"""Runs that are cut off and resumed: make one, cut its journal, resume it, and compare it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import veduta
from tests.support.runs import QUIET
from veduta.results.run import Run
from veduta.runs.events import Event, JournalEvent, events_of_type
from veduta.runs.journal import read_journal
from veduta.tracking.tables import TIMING

# two groups of four trials
GRID: dict[str, list[Any]] = {"lr": [3e-3, 1e-2], "dropout": [0.0, 0.3], "batch_size": [8, 16]}
HEAD_SETTINGS: dict[str, Any] = {
    "image_size": 32,
    "weights": "none",
    "epochs": 12,
    "engine": "torch",
}
CNN_SETTINGS: dict[str, Any] = {
    "model": "cnn", "image_size": 32, "channels": (8, 12), "epochs": 3, "batch_size": 8,
    "lr": 3e-3, "optimizer": "adam", "schedule": "constant", "warmup": 0,
    "augment": "crop+flip+mixup", "ema": 0.5, "checkpoint_seconds": 0,
}  # fmt: skip
UNCOMPARED = {"seconds", "resume_count", "rows_from_cache", "rows_computed", "engine_agreement"}

Kind = TypeVar("Kind", bound=JournalEvent)


def search_heads(data: Path, out: Path, grid: dict[str, list[Any]] = GRID, **settings: Any) -> Run:
    """Search a grid of heads on a frozen backbone."""
    return veduta.search(data, grid=grid, out=out, console=QUIET, **{**HEAD_SETTINGS, **settings})


def resume_search(path: Path, data: Path | None = None, **values: Any) -> Run:
    """Resume a search."""
    return veduta.search(data, resume=path, **{"console": QUIET, **values})


def train_cnn(data: Path | None = None, **values: Any) -> Run:
    """Train a small convolutional network; without data, resume its training."""
    settings = CNN_SETTINGS if data else {}
    return veduta.train(data, console=QUIET, **{**settings, **values})


def find_events(run: Run | Path, kind: type[Kind]) -> list[Kind]:
    """Return the events of one class in the journal of a run."""
    path = run.directory.path if isinstance(run, Run) else run
    return events_of_type(read_journal(path / "journal.jsonl"), kind)


def has_events(kind: type[JournalEvent], count: int = 1) -> Callable[[Sequence[Event]], bool]:
    """Return a condition: a journal has this number of events of a class."""
    return lambda events: len(events_of_type(events, kind)) == count


def cut_journal(path: Path, condition: Callable[[Sequence[Event]], bool]) -> None:
    """Remove the end of a journal, after the first line at which `condition` is true."""
    journal = path / "journal.jsonl"
    events = read_journal(journal)
    count = next(n for n in range(1, len(events) + 1) if condition(events[:n]))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:count]))


def cut_run(path: Path, kind: type[JournalEvent]) -> None:
    """Cut a run after the first event of a class: its later events, tables and model are gone."""
    cut_journal(path, has_events(kind))
    for name in ("summary.json", "trials.csv", "epochs.csv"):
        (path / name).unlink()
    shutil.rmtree(path / "model")


def read_untimed(path: Path) -> bytes:
    """Return the content of a table without its timing column."""
    lines = path.read_text().splitlines()
    column = lines[0].split(",").index(TIMING)
    return "\n".join(",".join(np.delete(line.split(","), column)) for line in lines).encode()


def read_weights(run: Run) -> bytes:
    """Return the content of the file of weights of a run's model."""
    return (run.directory.model / "model.safetensors").read_bytes()


def assert_same_results(run: Run, whole: Run) -> None:
    """Assert that two runs have the same tables, weights, selection and test accuracy."""
    for name in ("trials", "epochs"):
        assert read_untimed(getattr(run.directory, name)) == read_untimed(
            getattr(whole.directory, name)
        )
    assert read_weights(run) == read_weights(whole)
    for name in ("validation_accuracy", "tied_trials", "winner", "halving"):
        assert getattr(run.summary, name) == getattr(whole.summary, name)
    assert run.summary.test.accuracy == whole.summary.test.accuracy


def summarize(run: Run) -> dict[str, Any]:
    """Return the summary of a run without durations and counts that depend on other runs."""
    summary = run.summary.model_dump(exclude=UNCOMPARED)
    del summary["test"]["previous_evaluations"]
    return summary


def assert_same_run(run: Run, whole: Run, *, evaluations: int = 1) -> None:
    """Assert that two runs have the same results, summary and files."""
    assert_same_results(run, whole)
    expected = summarize(whole)
    expected["test"]["evaluations"] = evaluations
    assert summarize(run) == expected
    winner = run.summary.winner
    for trial in run.directory.tensorboard.iterdir():
        has_pictures = winner.trains_backbone and trial.name == winner.trial
        assert len(list(trial.iterdir())) == 1 + has_pictures, "the curves of one attempt only"
    for folder in ("path", "scores"):
        first, second = (getattr(one.directory, folder) for one in (run, whole))
        assert {path.name for path in first.iterdir()} == {path.name for path in second.iterdir()}
