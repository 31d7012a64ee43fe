"""The CSV files of a run, each derived from the journal alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from veduta.config.settings import as_text
from veduta.metrics.intervals import wilson
from veduta.runs.files import write_atomically
from veduta.runs.journal import Event

MEASURED = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
TIMING = "seconds"  # the one column that differs between two runs of the same command


def epochs_table(events: Sequence[Event]) -> pd.DataFrame:
    """One row an epoch of a trial: trial, epoch, hyper-parameters, lr_now, losses, accuracies."""
    parameters = _parameters(events)
    places = {trial: place for place, trial in enumerate(parameters)}
    rows = [
        {
            "trial": event["trial"],
            "epoch": event["epoch"],
            **parameters[event["trial"]],
            **{name: event[name] for name in ("lr_now", *MEASURED, TIMING)},
        }
        for event in sorted(_of(events, "epoch"), key=lambda e: places[e["trial"]])
    ]
    return pd.DataFrame(rows)


def trials_table(events: Sequence[Event]) -> pd.DataFrame:
    """One row a trial, in canonical order; its figures are those of its best epoch.

    `tied` is true for the winner and the trials that a paired test cannot tell from it.
    """
    finished = {event["trial"]: event for event in _of(events, "trial finished")}
    best = {name for event in _of(events, "selected") for name in (event["winner"], *event["tied"])}
    rows = []
    for trial, parameters in _parameters(events).items():
        end = finished.get(trial, {"status": "unfinished"})
        row = {"trial": trial, "status": end["status"], **parameters}
        row["epochs"] = end.get("epochs", row.pop("epochs"))
        row |= {name: end.get(name) for name in ("best_epoch", *MEASURED)}
        low, high = wilson(end["hits"], end["images"]) if "hits" in end else (None, None)
        row |= {"val_low": low, "val_high": high, "tied": trial in best, TIMING: end.get(TIMING)}
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.astype({"epochs": "Int64", "best_epoch": "Int64"})


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table; numbers in the shortest form that reads back the same."""
    write_atomically(path, table.to_csv(index=False, lineterminator="\n"))


def rows_to_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows under their column names."""
    write_csv(path, pd.DataFrame(list(rows), columns=list(columns)))


def _of(events: Sequence[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def _parameters(events: Sequence[Event]) -> dict[str, dict[str, object]]:
    """Hyper-parameters by trial; lists as text, what a trial does not use left empty.

    Trials run tile by tile; here they stand in the canonical order that the plan gives.
    """
    started = {event["trial"]: event["parameters"] for event in _of(events, "trial started")}
    planned = [trial for event in _of(events, "plan") for trial in event["trials"]]
    return {
        trial: {
            name: as_text(value) if isinstance(value, list) else value
            for name, value in started[trial].items()
        }
        for trial in planned or started
        if trial in started
    }
