"""Tables come from the journal alone, and read back as they were written."""

from pathlib import Path

import pandas as pd

from veduta.runs.journal import Event
from veduta.tracking.tables import epochs_table, rows_to_csv, trials_table

PARAMETERS = {"lr": 1e-3, "hidden": [20, 10], "epochs": 9, "patience": None}
EVENTS: list[Event] = [
    {"event": "start"},
    {"event": "trial started", "trial": "ta", "parameters": PARAMETERS},
    {
        "event": "epoch", "trial": "ta", "epoch": 1, "lr_now": 1e-3, "train_loss": 0.5,
        "train_accuracy": 0.9, "val_loss": 0.6, "val_accuracy": 0.8, "seconds": 1.0, "time": 2.0,
    },
    {
        "event": "trial finished", "trial": "ta", "status": "finished", "epochs": 1,
        "best_epoch": 1, "train_loss": 0.5, "train_accuracy": 0.9, "val_loss": 0.6,
        "val_accuracy": 0.8, "hits": 80, "images": 100, "seconds": 1.5, "time": 3.0,
    },
    {"event": "trial started", "trial": "tb", "parameters": {**PARAMETERS, "hidden": []}},
    {"event": "trial finished", "trial": "tb", "status": "failed", "reason": "x", "time": 4.0},
    {"event": "trial started", "trial": "tc", "parameters": PARAMETERS},
    {"event": "selected", "winner": "ta", "tied": []},
]  # fmt: skip


def test_one_row_an_epoch() -> None:
    table = epochs_table(EVENTS)
    assert list(table.columns) == [
        "trial", "epoch", "lr", "hidden", "epochs", "patience", "lr_now",
        "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds",
    ]  # fmt: skip
    assert table.to_dict("records")[0]["hidden"] == "20x10"


def test_one_row_a_trial_whatever_became_of_it() -> None:
    table = trials_table(EVENTS)
    assert list(table.columns) == [
        "trial", "status", "lr", "hidden", "epochs", "patience", "epochs_trained", "best_epoch",
        "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_low", "val_high", "tied",
        "seconds",
    ]  # fmt: skip
    assert list(table["status"]) == ["finished", "failed", "unfinished"]
    assert list(table["tied"]) == [True, False, False]
    assert list(table["epochs"]) == [9, 9, 9]  # what was asked for
    assert table.loc[0, "epochs_trained"] == 1
    # Wilson's interval of 80 of 100, from a published table
    assert table.loc[0, ["val_low", "val_high"]].round(3).tolist() == [0.711, 0.867]
    assert table.loc[1, "val_accuracy"] is None or pd.isna(table.loc[1, "val_accuracy"])


def test_words_that_look_like_numbers_survive(tmp_path: Path) -> None:
    words = ["nan", "007", "1e5", "true", "None", "a,b", 'say "x"', "two\nlines", "=cmd()", "éä"]
    words += ["a carriage\rreturn", "both\r\n", " spaces ", ""]
    rows_to_csv(tmp_path / "t.csv", ("word", "n"), [(word, 1.5) for word in words])
    back = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)
    assert list(back["word"]) == words
    assert set(back["n"]) == {"1.5"}


def test_a_run_that_has_not_begun_has_tables_too() -> None:
    assert len(trials_table([{"event": "start"}])) == len(epochs_table([])) == 0


def test_only_the_last_attempt_of_a_trial_counts() -> None:
    def started(trial: str) -> Event:
        return {"event": "trial started", "trial": trial, "parameters": PARAMETERS}

    epoch, finished = EVENTS[2], EVENTS[3]
    events = [
        *({"event": "plan", "trials": ["ta", "tb"]}, started("ta"), started("tb")),
        *(epoch, {**epoch, "trial": "tb"}, finished, {**finished, "trial": "tb"}),
        *({"event": "selected", "winner": "tb", "tied": ["ta"]}, {"event": "resumed"}),
        *({"event": "plan", "trials": ["tc", "ta", "tb"]}, started("ta"), started("tc")),
        *({**epoch, "val_loss": 0.7}, {"event": "selected", "winner": "tb", "tied": []}),
    ]
    table = epochs_table(events)
    assert list(table["trial"]) == ["ta", "tb"]
    assert list(table["val_loss"]) == [0.7, 0.6]
    table = trials_table(events)
    assert list(table["trial"]) == ["tc", "ta", "tb"]
    assert list(table["status"]) == ["unfinished", "unfinished", "finished"]
    assert list(table["tied"]) == [False, False, True]


def test_a_row_stays_as_it_is_when_a_trial_joins(tmp_path: Path) -> None:
    patient = {**PARAMETERS, "patience": 5, "momentum": 0.9, "batch_norm": True}
    events: list[Event] = [{**EVENTS[1], "parameters": patient}, *EVENTS[2:4]]
    other = {"patience": None, "momentum": None, "batch_norm": None}
    joined = {"event": "trial started", "trial": "tb", "parameters": {**patient, **other}}
    rows = [
        trials_table(found).to_csv(index=False).splitlines()[1]
        for found in (events, [*events, joined])
    ]
    assert rows[0] == rows[1]
    assert ",5,0.9,True," in rows[0]
