"""The serial executor where it is left, and the last training of a winner."""

from pathlib import Path

import pytest
import torch

from tests.contracts.test_fused import CLASSES, FEATURES, data
from tests.search.killed import BASE, EPOCHS, folds_of, settings_of
from veduta.config.settings import Settings
from veduta.experiment.networks import Networks
from veduta.models.heads import Head, HeadNetwork, build_head
from veduta.runs.checkpoints import Checkpoints
from veduta.search import keeper as rules
from veduta.search.keeper import Keeper
from veduta.search.progress import Meter
from veduta.search.serial import Way, refit, run_alone
from veduta.search.space import trial_of
from veduta.training.loop import Training


def test_a_refit_stops_inside_the_schedule_of_the_whole_trial() -> None:
    train, _ = data(torch.float32)
    settings = Settings(epochs=6, schedule="cosine", warmup=2.5)
    network = build_head(Head(FEATURES, CLASSES), settings.seed)
    training = Training(network, train, settings)
    for _ in range(2):  # warming up still
        training.finish_epoch()
        training.next_epoch()
    made = refit(trial_of(settings), train, way=Way(CLASSES), epochs=2)
    assert torch.equal(made.dense[0].weight, network.dense[0].weight)


@pytest.mark.parametrize("steps", [2, 6, 11])
def test_a_refit_that_ends_on_the_way_goes_on_from_its_checkpoint(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "SHARE", 0)
    settings = settings_of({**BASE, "ema": 0.9, "augment": ("crop", "mixup")})
    trial, train = trial_of(settings), folds_of(settings, 40)[0].train
    way = Way(CLASSES, Networks(0, tmp_path).tail(settings))
    told: list[tuple[int, int]] = []

    def made(every: float, left: int = 1000) -> HeadNetwork:
        def show(done: int, total: int) -> None:
            told.append((done, total))
            if len(told) > left:
                raise KeyboardInterrupt

        told.clear()
        keeper = Keeper(Checkpoints(tmp_path / "kept", "again"), every=every)
        meter = Meter({trial.id: EPOCHS}, show, len(train))
        return refit(trial, train, way=way, epochs=EPOCHS, keeper=keeper, meter=meter)

    whole = refit(trial, train, way=way, epochs=EPOCHS).state_dict()
    with pytest.raises(KeyboardInterrupt):
        made(0.0, steps)
    found = made(1000.0).state_dict()
    assert len(told) < 1 + EPOCHS * (len(train) // 8 + 1), "it did not begin anew"
    assert told[-1][0] == told[-1][1]
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())
    made(1000.0)
    assert len(told) == 1, "what is done is not done again"


def test_who_leaves_at_the_end_leaves_the_last_weights_not_the_best(tmp_path: Path) -> None:
    """As an interrupt does while the last epoch is recorded; a longer training goes on from it."""
    settings = settings_of({**BASE, "lr": 0.3})
    way = Way(CLASSES, Networks(0, tmp_path).tail(settings))
    folds, trial = folds_of(settings, 40), trial_of(settings)
    for name, left in (("whole", False), ("left", True)):
        keeper = Keeper(Checkpoints(tmp_path / name, "trial"), every=1000)
        came = run_alone((trial,), folds, way=way, keeper=keeper)
        if left:
            while not next(came).ended:
                pass
            came.close()
        assert left or list(came)[-1].ended
    whole, mine = (Checkpoints(tmp_path / name, "trial").newest() for name in ("whole", "left"))
    assert whole is not None
    assert mine is not None
    assert whole.progress["course"]["best"] < EPOCHS, "so that the best are other weights"
    assert all(torch.equal(mine.tensors[name], tensor) for name, tensor in whole.tensors.items())
    last = whole.tensors["0.network.dense.0.weight"]
    assert not torch.equal(last, whole.tensors["best.dense.0.weight"])


def test_who_leaves_between_two_epochs_leaves_a_checkpoint(tmp_path: Path) -> None:
    settings = settings_of({**BASE, "folds": 2})
    way = Way(CLASSES, Networks(0, tmp_path).tail(settings))
    keeper = Keeper(Checkpoints(tmp_path / "left", "trial"), every=1000)
    came = run_alone((trial_of(settings),), folds_of(settings, 40), way=way, keeper=keeper)
    next(came)
    assert not keeper.kept or keeper.kept.newest() is None
    came.close()
    found = Checkpoints(tmp_path / "left", "trial").newest()
    assert found is not None
    assert [(one["epoch"], one["step"]) for one in found.progress["trainings"]] == [(2, 0)] * 2
    assert len(found.progress["course"]["epochs"]) == 1
