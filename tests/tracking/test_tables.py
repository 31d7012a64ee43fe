"""Tables are derived from the journal alone: one row per epoch, one row per trial."""

import pandas as pd

from tests.support.journals import (
    make_epoch,
    make_plan,
    make_run_started,
    make_trial_finished,
    make_trial_started,
)
from veduta.runs.events import Event, RunResumed, TrialFailed, TrialStarted, WinnerSelected
from veduta.tracking.tables import build_epochs_table, build_trials_table

HYPERPARAMETERS = {"lr": 1e-3, "hidden": [20, 10], "epochs": 9, "patience": None}


def start(trial: str) -> TrialStarted:
    """Return the start of a trial with the usual hyperparameters."""
    return make_trial_started(trial, **HYPERPARAMETERS)


EVENTS: list[Event] = [
    make_run_started(),
    start("ta"),
    make_epoch("ta"),
    make_trial_finished("ta"),
    make_trial_started("tb", **{**HYPERPARAMETERS, "hidden": []}),
    TrialFailed(trial="tb", cause="raised", reason="x", time=4.0),
    start("tc"),
    start("td"),
    make_trial_finished("td", end_reason="halving"),
    WinnerSelected(winner="ta", tied_trials=["td"]),
]


def test_one_row_per_epoch() -> None:
    table = build_epochs_table(EVENTS)
    assert list(table.columns) == [
        "trial", "epoch", "lr", "hidden", "epochs", "patience", "current_lr",
        "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds",
    ]  # fmt: skip
    (row,) = table.to_dict("records")
    assert row["hidden"] == "20x10"
    assert (row["current_lr"], row["val_loss"], row["seconds"]) == (1e-3, 0.6, 1.0)


def test_one_row_per_trial_however_it_ended() -> None:
    table = build_trials_table(EVENTS)
    assert list(table.columns) == [
        "trial", "status", "lr", "hidden", "epochs", "patience", "epochs_trained", "best_epoch",
        "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_accuracy_low",
        "val_accuracy_high", "tied", "seconds",
    ]  # fmt: skip
    assert list(table["status"]) == ["finished", "failed", "unfinished", "stopped"]
    assert list(table["tied"]) == [True, False, False, True]
    assert list(table["epochs"]) == [9] * 4  # as requested
    assert table.loc[0, "epochs_trained"] == 1
    # Wilson's interval of 80 of 100, from a published table
    interval = [table["val_accuracy_low"][0], table["val_accuracy_high"][0]]
    assert [round(float(end), 3) for end in interval] == [0.711, 0.867]
    assert table.loc[1:2, "val_accuracy"].isna().all()


def test_a_run_without_trials_has_tables_too() -> None:
    assert len(build_trials_table([make_run_started()])) == len(build_epochs_table([])) == 0


def test_only_the_last_attempt_of_a_trial_counts() -> None:
    epoch, finished = make_epoch("ta"), make_trial_finished("ta")
    events: list[Event] = [
        *(make_plan("ta", "tb"), start("ta"), start("tb")),
        *(epoch, make_epoch("tb"), finished, make_trial_finished("tb")),
        WinnerSelected(winner="tb", tied_trials=["ta"]),
        RunResumed(pid=2, versions={}, backbones={}),
        *(make_plan("tc", "ta", "tb"), start("ta"), start("tc")),
        make_epoch("ta", val_loss=0.7),
        WinnerSelected(winner="tb", tied_trials=[]),
    ]
    table = build_epochs_table(events)
    assert list(table["trial"]) == ["ta", "tb"]
    assert list(table["val_loss"]) == [0.7, 0.6]
    table = build_trials_table(events)
    assert list(table["trial"]) == ["tc", "ta", "tb"]
    assert list(table["status"]) == ["unfinished", "unfinished", "finished"]
    assert list(table["tied"]) == [False, False, True]


def test_a_row_does_not_change_when_a_trial_is_added() -> None:
    values = {**HYPERPARAMETERS, "patience": 5, "momentum": 0.9, "batch_norm": True}
    events: list[Event] = [make_trial_started("ta", **values), *EVENTS[2:4]]
    missing = {"patience": None, "momentum": None, "batch_norm": None}
    added = make_trial_started("tb", **{**values, **missing})
    rows = [
        build_trials_table(journal).to_csv(index=False).splitlines()[1]
        for journal in (events, [*events, added])
    ]
    assert rows[0] == rows[1]
    assert ",5,0.9,True," in rows[0]


def test_numbers_of_epochs_are_integers_beside_missing_ones() -> None:
    table = build_trials_table(EVENTS)
    for name in ("epochs_trained", "best_epoch"):
        assert pd.api.types.is_integer_dtype(table[name])
