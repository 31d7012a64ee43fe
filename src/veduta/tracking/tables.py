"""The CSV files of a run, each derived from the journal alone."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from veduta.config.settings import as_text
from veduta.metrics.intervals import compute_wilson_interval
from veduta.runs.files import write_atomically
from veduta.runs.journal import Event, latest_attempts

MEASURED = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
TIMING = "seconds"  # the one column that differs between two runs of the same command


def epochs_table(events: Sequence[Event]) -> pd.DataFrame:
    """One row an epoch of a trial: trial, epoch, hyper-parameters, lr_now, losses, accuracies."""
    events = latest_attempts(events)
    parameters = _parameters(events)
    places = {trial: place for place, trial in enumerate(parameters)}
    rows = [
        {
            "trial": event["trial"],
            "epoch": event["epoch"],
            **parameters[event["trial"]],
            **{name: event[name] for name in ("lr_now", *MEASURED, TIMING)},
        }
        for event in sorted(
            (event for event in _of(events, "epoch") if event["trial"] in places),
            key=lambda event: places[event["trial"]],
        )
    ]
    names = ("trial", "epoch", *_names(parameters), "lr_now", *MEASURED, TIMING)
    return _table(rows, names, parameters)


def trials_table(events: Sequence[Event]) -> pd.DataFrame:
    """One row a trial, in canonical order; its figures are those of its best epoch.

    A trial that halving left out of the next round is `stopped`. `tied` is true for the winner and
    the trials that a paired test cannot tell from it.
    """
    events = latest_attempts(events)
    finished = {event["trial"]: event for event in _of(events, "trial finished")}
    best = {
        name for event in _of(events, "selected")[-1:] for name in (event["winner"], *event["tied"])
    }
    rows = []
    parameters = _parameters(events)
    for trial, own in parameters.items():
        end = finished.get(trial, {"status": "unfinished"})
        status = "stopped" if end.get("ended_by") == "halving" else end["status"]
        row = {"trial": trial, "status": status, **own}
        row |= {"epochs_trained": end.get("epochs")}
        row |= {name: end.get(name) for name in ("best_epoch", *MEASURED)}
        low, high = (
            compute_wilson_interval(end["hits"], end["images"]) if "hits" in end else (None, None)
        )
        row |= {"val_low": low, "val_high": high, "tied": trial in best, TIMING: end.get(TIMING)}
        rows.append(row)
    ends = ("epochs_trained", "best_epoch", *MEASURED, "val_low", "val_high", "tied", TIMING)
    names = ("trial", "status", *_names(parameters), *ends)
    table = _table(rows, names, parameters)
    return table.astype({"epochs_trained": "Int64", "best_epoch": "Int64"})


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table."""
    write_atomically(path, csv_of(table))


def csv_of(table: pd.DataFrame) -> bytes:
    """A table as a file; numbers in the shortest form that reads back the same.

    Cells are data, and stay as they are: `=1+1` too, which a spreadsheet takes for a formula. Only
    what is no text of a table on its own is quoted; a carriage return, which Python's writer leaves
    bare and every reader takes for the end of a row, has all text quoted.
    """
    text: str = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode("utf-8", "surrogateescape")


def rows_to_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows under their column names."""
    write_csv(path, pd.DataFrame(list(rows), columns=list(columns)))


def _table(
    rows: Sequence[Mapping[str, object]],
    names: Sequence[str],
    parameters: Mapping[str, Mapping[str, object]],
) -> pd.DataFrame:
    """Rows as a table; hyper-parameters keep their type in each row, whatever the others hold.

    A column of whole numbers in which one is missing would become one of fractions: 5 would turn
    into 5.0 when a trial without patience joins.
    """
    typed = {
        name: pd.Series([row[name] for row in rows], dtype=object) for name in _names(parameters)
    }
    return pd.DataFrame(rows, columns=list(names)).assign(**typed)


def _names(parameters: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The hyper-parameters; every trial has the same."""
    return list(next(iter(parameters.values()), {}))


def _of(events: Sequence[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def _parameters(events: Sequence[Event]) -> dict[str, dict[str, object]]:
    """Hyper-parameters by trial; lists as text, what a trial does not use left empty.

    Trials run tile by tile; here they stand in the canonical order that the last plan gives.
    """
    started = {event["trial"]: event["parameters"] for event in _of(events, "trial started")}
    planned = [trial for event in _of(events, "plan")[-1:] for trial in event["trials"]]
    return {
        trial: {
            name: as_text(value) if isinstance(value, list) else value
            for name, value in started[trial].items()
        }
        for trial in planned or started
        if trial in started
    }
