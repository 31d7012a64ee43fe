"""Successive halving: the rounds by hand, and what a trial is that went through them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.support.trials import run_trial
from tests.tuning.killed import BASE, CLASSES, folds_of, settings_of
from veduta.experiment.feature_spec import Networks
from veduta.runs.journal import Event, Journal
from veduta.tracking.tables import epochs_table, trials_table
from veduta.training.loop import Epoch
from veduta.tuning.executors.serial import Way
from veduta.tuning.halving import Rung, most_epochs, rungs
from veduta.tuning.recorder import Places, Record
from veduta.tuning.study import Means, Study
from veduta.tuning.trials.space import Trial, cells, trial_of, trials

FIGURES = ("number", "lr_now", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


def of(count: int, epochs: int | Sequence[int]) -> list[Trial]:
    """So many trials, of so many epochs."""
    each = [epochs] * count if isinstance(epochs, int) else epochs
    return [
        trial_of(settings_of({**BASE, "lr": 1e-3 * (n + 1), "epochs": e}))
        for n, e in enumerate(each)
    ]


@pytest.mark.parametrize(
    ("found", "factor", "shares", "epochs", "alive", "most"),
    [
        (of(16, 48), 4, [16, 4, 1], [3, 12, 48], [16, 4, 1], 16 * 3 + 4 * 9 + 36),
        (of(16, 48), None, [1], [48], [16], 16 * 48),
        (of(4, 28), 4, [4, 1], [7, 28], [4, 1], 4 * 7 + 21),
        (of(10, 30), 3, [9, 3, 1], [3, 10, 30], [10, 4, 2], 10 * 3 + 4 * 7 + 2 * 20),
        (of(8, 3), 2, [2, 1], [1, 3], [8, 4], 8 * 1 + 4 * 2),  # 2 ** 2 > 3 epochs
        (of(3, 100), 4, [1], [100], [3], 300),  # too few trials
        (of(9, 2), 3, [1], [2], [9], 18),  # too few epochs
        (of(1, 9), 2, [1], [9], [1], 9),
    ],
    ids=str,
)
def test_rounds_by_hand(
    found: list[Trial],
    factor: int | None,
    shares: list[int],
    epochs: list[int],
    alive: list[int],
    most: int,
) -> None:
    rounds = rungs(found, factor)
    assert [rung.number for rung in rounds] == list(range(len(shares)))
    assert [rung.share for rung in rounds] == shares
    assert [rung.epochs(found[0]) for rung in rounds] == epochs
    counts = [len(found)]
    for rung in rounds[:-1]:
        counts.append(rung.promoted(counts[-1]))
    assert counts == alive
    assert rounds[-1].keep is None
    assert most_epochs(found, factor) == most


def test_trials_of_different_lengths_have_their_own_share() -> None:
    found = of(4, [4, 8, 12, 13])
    first, second, third = rungs(found, 2)
    assert [first.epochs(trial) for trial in found] == [1, 2, 3, 3]
    assert [second.epochs(trial) for trial in found] == [2, 4, 6, 6]
    assert [third.epochs(trial) for trial in found] == [4, 8, 12, 13]
    assert most_epochs(found, 2) == (1 + 2 + 3 + 3) + (3 + 3) + 7


def test_one_at_least_goes_on() -> None:
    assert Rung(0, share=8, keep=8).promoted(3) == 1
    assert Rung(0, share=8, keep=8).promoted(0) == 0


GRID = {"lr": (1e-30, 1e-3, 1e-2, 3e-2), "schedule": ("cosine", "constant")}


def run(folder: Path, found: list[Trial], halving: int) -> Study:
    folder.mkdir(exist_ok=True)
    places = Places(*(folder / name for name in ("tensorboard", "scores", "checkpoints")))
    networks, data = Networks(0, folder), folds_of(found[0].settings, 50)
    with Journal(folder / "journal.jsonl") as journal:
        study = Study(Record(found, journal, places), Means(CLASSES, 1, halving=halving))
        study.run(lambda _: data, lambda *_: None, tails=lambda one: networks.tail(one.settings))
    return study


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], Study]:
    """Nine trials of four epochs, halved twice; one of them fails."""
    common = {**BASE, "epochs": 4, "augment": ("flip",), "ema": 0.5}
    fails = settings_of({**common, "optimizer": "sgd", "lr": 1e30})
    found = trials([*cells(settings_of(common), GRID), fails])
    return found, run(tmp_path_factory.mktemp("halved"), found, halving=2)


def events(study: Study, kind: str) -> list[Event]:
    return [event for event in study.record.journal.events if event["event"] == kind]


def test_the_best_of_a_round_go_on_and_the_others_are_stopped(
    halved: tuple[list[Trial], Study],
) -> None:
    found, study = halved
    first, second = events(study, "rung")
    assert (first["of"], len(first["promoted"])) == (9, 5)
    assert (second["of"], len(second["promoted"])) == (5, 3)
    assert set(second["promoted"]) <= set(first["promoted"])
    table = trials_table(study.record.journal.events).set_index("trial")
    assert list(table.index) == [trial.id for trial in found]
    promoted = {1: set(first["promoted"]), 2: set(second["promoted"])}
    for trial in found:
        status, trained = table.loc[trial.id, ["status", "epochs_trained"]]
        if trial.settings.lr == 1e30:
            assert status == "failed"
        elif trial.id in promoted[2]:
            assert (status, trained) == ("finished", 4)
        else:
            assert (status, trained) == ("stopped", 2 if trial.id in promoted[1] else 1)
    rows = epochs_table(study.record.journal.events).groupby("trial").size()
    assert all(rows[t] == n for t, n in table["epochs_trained"].dropna().items())


def test_each_decision_is_by_the_best_epoch_so_far(halved: tuple[list[Trial], Study]) -> None:
    """Ties by cost, which is the same here, then as trials stand."""
    found, study = halved
    table = epochs_table(study.record.journal.events)
    places = {trial.id: place for place, trial in enumerate(found)}
    alive = set(table["trial"])
    for event, upto in zip(events(study, "rung"), (1, 2), strict=True):
        some = table[table["trial"].isin(alive) & (table["epoch"] <= upto)]
        best = some.groupby("trial")["val_accuracy"].max()
        order = sorted(best.index, key=lambda trial: (-best[trial], places[trial]))
        assert event["promoted"] == order[: len(event["promoted"])]
        alive = set(event["promoted"])


def test_a_trial_of_every_round_is_the_one_that_was_never_paused(
    halved: tuple[list[Trial], Study],
) -> None:
    """Its schedule spans all of its epochs from the first one on."""
    found, study = halved
    table = epochs_table(study.record.journal.events).groupby("trial")
    networks = Networks(0, Path())
    data = folds_of(found[0].settings, 50)
    finished = set(events(study, "rung")[-1]["promoted"])
    assert study.record.best is not None
    assert study.record.best.outcome.trial in finished
    for trial in found:
        if trial.settings.lr == 1e30:
            continue
        epochs: list[Epoch] = []
        way = Way(CLASSES, networks.tail(trial.settings))
        end = run_trial(trial, data, way=way, record=epochs.append)
        rows = table.get_group(trial.id)
        for row, epoch in zip(rows.to_dict("records"), epochs, strict=False):
            assert [row["epoch" if n == "number" else n] for n in FIGURES] == [
                getattr(epoch, n) for n in FIGURES
            ]
        assert len(rows) == len(epochs) or trial.id not in finished
        if trial.id == study.record.best.outcome.trial:
            mine, theirs = study.record.best.network.state_dict(), end.network.state_dict()
            assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())
            assert torch.equal(study.record.best.val_logits, end.val_logits)


def test_of_equals_the_one_that_went_on_wins(tmp_path: Path) -> None:
    """Rates too small to learn with: nobody gets better, and the first of them went on."""
    found = trials(cells(settings_of({**BASE, "epochs": 2}), {"lr": (1e-30, 1e-29, 1e-28, 1e-27)}))
    study = run(tmp_path / "halved", found, halving=2)
    assert events(study, "rung")[0]["promoted"] == [found[0].id, found[1].id]
    assert len({outcome.val_accuracy for outcome in study.record.outcomes}) == 1
    assert study.record.best is not None
    assert study.record.best.outcome.trial == found[0].id
    assert study.record.best.outcome.epochs == 2
    left = {path.name.split(".")[0] for path in study.record.places.checkpoints.iterdir()}
    assert left == {found[0].id}, "checkpoints of the others have gone"


def test_a_search_in_which_all_fail_ends(tmp_path: Path) -> None:
    common = settings_of({**BASE, "epochs": 2, "optimizer": "sgd"})
    found = trials(cells(common, {"lr": (1e30, 1e31)}))
    study = run(tmp_path / "failed", found, halving=2)
    assert study.record.failed.keys() == {trial.id for trial in found}
    assert study.record.best is None
