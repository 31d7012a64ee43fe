"""The tables `epochs.csv` and `trials.csv` of a run, derived from its journal alone."""

from collections.abc import Mapping, Sequence

import pandas as pd

from veduta.config.parsing import format_value
from veduta.metrics.intervals import compute_wilson_interval
from veduta.runs.events import (
    EpochFinished,
    Event,
    Hyperparameters,
    TrialEnded,
    TrialFinished,
    TrialStarted,
    WinnerSelected,
    events_of_type,
    last_event,
    latest_attempts,
    planned_trials,
)
from veduta.runs.summary import Winner

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
TIMING = "seconds"  # the one column that differs between two runs of the same command
EPOCH_COLUMNS = ("current_lr", *METRICS, TIMING)
RESULT_COLUMNS = (
    *("epochs_trained", "best_epoch", *METRICS, "val_accuracy_low", "val_accuracy_high"),
    *("tied", TIMING),
)


def build_epochs_table(events: Sequence[Event]) -> pd.DataFrame:
    """Return the table of epochs: trial, epoch, hyperparameters, learning rate and metrics.

    One row per epoch of a trial, trials in canonical order. Columns: `trial`, `epoch`, all
    hyperparameters, `EPOCH_COLUMNS`.
    """
    events = latest_attempts(events)
    hyperparameters = _find_hyperparameters(events)
    order = {trial: position for position, trial in enumerate(hyperparameters)}
    epochs = [event for event in events_of_type(events, EpochFinished) if event.trial in order]
    rows = [
        {
            "trial": epoch.trial,
            "epoch": epoch.epoch,
            **hyperparameters[epoch.trial],
            **epoch.model_dump(include=set(EPOCH_COLUMNS)),
        }
        for epoch in sorted(epochs, key=lambda epoch: order[epoch.trial])
    ]
    names = _list_names(hyperparameters)
    return _build_table(rows, ("trial", "epoch", *names, *EPOCH_COLUMNS), names)


def build_trials_table(events: Sequence[Event]) -> pd.DataFrame:
    """Return the table of trials, in canonical order; the metrics are those of the best epoch.

    Columns: `trial`, `status` (finished, failed, unfinished, or stopped: not promoted by
    successive halving), all hyperparameters, `RESULT_COLUMNS`. `tied` is true for the winner and
    the trials that do not differ significantly from it.
    """
    events = latest_attempts(events)
    ends = {event.trial: event for event in events if isinstance(event, TrialEnded)}
    selected = last_event(events, WinnerSelected)
    best = {selected.winner, *selected.tied_trials} if selected else set()
    hyperparameters = _find_hyperparameters(events)
    rows = [
        {
            "trial": trial,
            "status": _describe_status(ends.get(trial)),
            **values,
            **_summarize_result(ends.get(trial)),
            "tied": trial in best,
        }
        for trial, values in hyperparameters.items()
    ]
    names = _list_names(hyperparameters)
    table = _build_table(rows, ("trial", "status", *names, *RESULT_COLUMNS), names)
    return table.astype({"epochs_trained": "Int64", "best_epoch": "Int64"})


def build_leaderboard(trials: pd.DataFrame, winner: Winner, *, rows: int) -> pd.DataFrame:
    """Return the best trials, the winner first: varied settings, accuracy with its interval.

    Args:
        trials: the table of trials.
        winner: the selected trial.
        rows: maximum number of trials.
    """
    trials = trials.assign(is_winner=trials["trial"] == winner.trial)
    trials = trials[trials["status"].isin(["finished", "stopped"])].sort_values(
        ["val_accuracy", "is_winner"], ascending=False, kind="stable"
    )
    epochs = ["epochs_trained"] if (trials["status"] == "stopped").any() else []
    board = trials[["trial", *winner.varied, *epochs, "best_epoch"]].copy()
    board["validation"] = trials["val_accuracy"].map("{:.1%}".format)
    ends = zip(trials["val_accuracy_low"], trials["val_accuracy_high"], strict=True)
    board["95 % interval"] = [f"{low:.1%} to {high:.1%}" for low, high in ends]
    board["tied"] = trials["tied"].map({True: "yes", False: "no"})
    return board.head(rows)


def _describe_status(end: TrialEnded | None) -> str:
    """Return the status of a trial by the event of its end."""
    if end is None:
        return "unfinished"
    if isinstance(end, TrialFinished):
        return "stopped" if end.end_reason == "halving" else "finished"
    return "failed"


def _summarize_result(end: TrialEnded | None) -> dict[str, object]:
    """Return the columns of a trial's result; all are missing unless it finished."""
    if not isinstance(end, TrialFinished):
        return dict.fromkeys(RESULT_COLUMNS)
    low, high = compute_wilson_interval(end.val_correct, end.val_images)
    result = end.model_dump(include=set(RESULT_COLUMNS))
    return {**result, "val_accuracy_low": low, "val_accuracy_high": high}


def _build_table(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], hyperparameters: Sequence[str]
) -> pd.DataFrame:
    """Return rows as a table; hyperparameters keep their type in each row.

    pandas would turn a column of integers with a missing one into floats: 5 would become 5.0 as
    soon as a trial without `patience` is added.
    """
    typed = {name: pd.Series([row[name] for row in rows], dtype=object) for name in hyperparameters}
    return pd.DataFrame(rows, columns=list(columns)).assign(**typed)


def _list_names(hyperparameters: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the names of the hyperparameters, which are the same in every trial."""
    return list(next(iter(hyperparameters.values()), {}))


def _find_hyperparameters(events: Sequence[Event]) -> dict[str, dict[str, object]]:
    """Return the hyperparameters of each trial that was started, in canonical order.

    Lists become text. The last plan gives the order: trials are started tile by tile.
    """
    started: dict[str, Hyperparameters] = {
        event.trial: event.hyperparameters for event in events_of_type(events, TrialStarted)
    }
    return {
        trial: {
            name: format_value(value) if isinstance(value, list) else value
            for name, value in started[trial].items()
        }
        for trial in planned_trials(events) or started
        if trial in started
    }
