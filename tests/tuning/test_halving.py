"""Successive halving: the rounds by hand, and trials that went through them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.support.killed_trainings import BASE, CLASSES, create_folds, create_settings
from tests.support.trials import METRICS, create_study_paths, run_trial
from veduta.experiment.feature_spec import BackboneLoader
from veduta.runs.events import HalvingRoundFinished, events_of_type
from veduta.runs.journal import Journal
from veduta.tracking.tables import build_epochs_table, build_trials_table
from veduta.training.loop import Epoch
from veduta.tuning.executors.serial import TrainingContext
from veduta.tuning.halving import HalvingRound, count_max_epochs, plan_halving_rounds
from veduta.tuning.recorder import Recorder
from veduta.tuning.study import ExecutionConfig, Study
from veduta.tuning.trials.space import Trial, build_trial, build_trials, expand_grid

IMAGES = 50
GRID = {"lr": (1e-30, 1e-3, 1e-2, 3e-2), "schedule": ("cosine", "constant")}


def create_trials(count: int, epochs: int | Sequence[int]) -> list[Trial]:
    """Return trials with the same number of epochs, or with one number per trial."""
    each = [epochs] * count if isinstance(epochs, int) else epochs
    return [
        build_trial(create_settings({**BASE, "lr": 1e-3 * (index + 1), "epochs": number}))
        for index, number in enumerate(each)
    ]


@pytest.mark.parametrize(
    ("trials", "factor", "divisors", "last_epochs", "counts", "max_epochs"),
    [
        (create_trials(16, 48), 4, [16, 4, 1], [3, 12, 48], [16, 4, 1], 16 * 3 + 4 * 9 + 36),
        (create_trials(16, 48), None, [1], [48], [16], 16 * 48),
        (create_trials(4, 28), 4, [4, 1], [7, 28], [4, 1], 4 * 7 + 21),
        (create_trials(10, 30), 3, [9, 3, 1], [3, 10, 30], [10, 4, 2], 10 * 3 + 4 * 7 + 2 * 20),
        (create_trials(8, 3), 2, [2, 1], [1, 3], [8, 4], 8 * 1 + 4 * 2),  # 2 ** 2 > 3 epochs
        (create_trials(3, 100), 4, [1], [100], [3], 300),  # too few trials
        (create_trials(9, 2), 3, [1], [2], [9], 18),  # too few epochs
        (create_trials(1, 9), 2, [1], [9], [1], 9),
    ],
    ids=str,
)
def test_rounds_by_hand(
    trials: list[Trial],
    factor: int | None,
    divisors: list[int],
    last_epochs: list[int],
    counts: list[int],
    max_epochs: int,
) -> None:
    rounds = plan_halving_rounds(trials, factor)
    assert [r.number for r in rounds] == list(range(len(divisors)))
    assert [r.divisor for r in rounds] == divisors
    assert [r.find_last_epoch(trials[0]) for r in rounds] == last_epochs
    candidates = [len(trials)]
    for halving_round in rounds[:-1]:
        candidates.append(halving_round.count_promoted(candidates[-1]))
    assert candidates == counts
    assert rounds[-1].reduction_factor is None
    assert count_max_epochs(trials, factor) == max_epochs


def test_each_trial_trains_a_fraction_of_its_own_epochs() -> None:
    trials = create_trials(4, [4, 8, 12, 13])
    first, second, third = plan_halving_rounds(trials, 2)
    assert [first.find_last_epoch(trial) for trial in trials] == [1, 2, 3, 3]
    assert [second.find_last_epoch(trial) for trial in trials] == [2, 4, 6, 6]
    assert [third.find_last_epoch(trial) for trial in trials] == [4, 8, 12, 13]
    assert count_max_epochs(trials, 2) == (1 + 2 + 3 + 3) + (3 + 3) + 7


def test_at_least_one_trial_is_promoted() -> None:
    assert HalvingRound(0, divisor=8, reduction_factor=8).count_promoted(3) == 1
    assert HalvingRound(0, divisor=8, reduction_factor=8).count_promoted(0) == 0


def run_study(folder: Path, trials: list[Trial]) -> Study:
    folder.mkdir(exist_ok=True)
    loader, folds = BackboneLoader(0, folder), create_folds(trials[0].settings, IMAGES)
    with Journal(folder / "journal.jsonl") as journal:
        recorder = Recorder(trials, journal, create_study_paths(folder))
        study = Study(recorder, ExecutionConfig(CLASSES, memory_limit=1))
        study.run(
            lambda _: folds,
            lambda *_: None,
            find_tail=lambda trial: loader.build_tail(trial.settings),
        )
    return study


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], Study]:
    """Nine trials of four epochs in three rounds; one of them fails."""
    common = {**BASE, "epochs": 4, "augment": ("flip",), "ema": 0.5, "halving": 2}
    failing = create_settings({**common, "optimizer": "sgd", "lr": 1e30})
    trials = build_trials([*expand_grid(create_settings(common), GRID), failing])
    return trials, run_study(tmp_path_factory.mktemp("halved"), trials)


def list_rounds(study: Study) -> list[HalvingRoundFinished]:
    return events_of_type(study.recorder.journal.events, HalvingRoundFinished)


def test_the_best_of_a_round_continue_and_the_others_end(
    halved: tuple[list[Trial], Study],
) -> None:
    trials, study = halved
    first, second = list_rounds(study)
    assert (first.candidates, len(first.promoted)) == (9, 5)
    assert (second.candidates, len(second.promoted)) == (5, 3)
    assert set(second.promoted) <= set(first.promoted)
    table = build_trials_table(study.recorder.journal.events).set_index("trial")
    assert list(table.index) == [trial.id for trial in trials]
    for trial in trials:
        status, epochs = table.loc[trial.id, ["status", "epochs_trained"]]
        if trial.settings.lr == 1e30:
            assert status == "failed"
        elif trial.id in second.promoted:
            assert (status, epochs) == ("finished", 4)
        else:
            assert (status, epochs) == ("stopped", 2 if trial.id in first.promoted else 1)
    rows = build_epochs_table(study.recorder.journal.events).groupby("trial").size()
    trained = table["epochs_trained"].dropna()
    assert rows[trained.index].tolist() == trained.tolist()


def test_trials_are_promoted_by_their_best_epoch_so_far(
    halved: tuple[list[Trial], Study],
) -> None:
    """Ties are broken by cost, which is equal here, then by canonical order."""
    trials, study = halved
    table = build_epochs_table(study.recorder.journal.events)
    canonical_index = {trial.id: index for index, trial in enumerate(trials)}
    candidates = set(table["trial"])
    for event, last_epoch in zip(list_rounds(study), (1, 2), strict=True):
        rows = table[table["trial"].isin(candidates) & (table["epoch"] <= last_epoch)]
        best = rows.groupby("trial")["val_accuracy"].max()
        ranked = sorted(best.index, key=lambda trial: (-best[trial], canonical_index[trial]))
        assert event.promoted == ranked[: len(event.promoted)]
        candidates = set(event.promoted)


def test_a_trial_of_every_round_equals_one_that_was_never_paused(
    halved: tuple[list[Trial], Study],
) -> None:
    """The schedule of a trial spans all of its epochs from the first one on."""
    trials, study = halved
    table = build_epochs_table(study.recorder.journal.events).groupby("trial")
    loader = BackboneLoader(0, Path())
    folds = create_folds(trials[0].settings, IMAGES)
    finished = set(list_rounds(study)[-1].promoted)
    best = study.recorder.best
    assert best is not None
    assert best.outcome.trial in finished
    for trial in trials:
        if trial.settings.lr == 1e30:
            continue
        epochs: list[Epoch] = []
        context = TrainingContext(CLASSES, loader.build_tail(trial.settings))
        end = run_trial(trial, folds, context=context, record=epochs.append)
        rows = table.get_group(trial.id)
        for row, epoch in zip(rows.to_dict("records"), epochs, strict=False):
            assert (row["epoch"], row["current_lr"]) == (epoch.number, epoch.current_lr)
            assert [row[name] for name in METRICS] == [getattr(epoch, name) for name in METRICS]
        assert len(rows) == len(epochs) or trial.id not in finished
        if trial.id == best.outcome.trial:
            actual, expected = best.network.state_dict(), end.network.state_dict()
            assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
            assert torch.equal(best.val_logits, end.val_logits)


def test_among_equals_a_promoted_trial_wins(tmp_path: Path) -> None:
    """With learning rates too small to learn, the first trials are promoted."""
    settings = create_settings({**BASE, "epochs": 2, "halving": 2})
    trials = build_trials(expand_grid(settings, {"lr": (1e-30, 1e-29, 1e-28, 1e-27)}))
    study = run_study(tmp_path / "halved", trials)
    assert list_rounds(study)[0].promoted == [trials[0].id, trials[1].id]
    assert len({outcome.val_accuracy for outcome in study.recorder.outcomes}) == 1
    assert study.recorder.best is not None
    assert study.recorder.best.outcome.trial == trials[0].id
    assert study.recorder.best.outcome.epochs_trained == 2
    names = {path.name.split(".")[0] for path in study.recorder.paths.checkpoints.iterdir()}
    assert names == {trials[0].id}, "checkpoints of the other trials are removed"


def test_a_search_in_which_all_trials_fail_ends(tmp_path: Path) -> None:
    settings = create_settings({**BASE, "epochs": 2, "optimizer": "sgd", "halving": 2})
    trials = build_trials(expand_grid(settings, {"lr": (1e30, 1e31)}))
    study = run_study(tmp_path / "failed", trials)
    assert study.recorder.failures.keys() == {trial.id for trial in trials}
    assert study.recorder.best is None
