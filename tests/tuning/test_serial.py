"""The serial executor where it is left."""

from pathlib import Path

import torch

from tests.contracts.test_fused import CLASSES
from tests.tuning.killed import BASE, EPOCHS, folds_of, settings_of
from veduta.experiment.feature_spec import Networks
from veduta.runs.checkpoints import Checkpoints
from veduta.tuning.executors.serial import Way, run_alone
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.space import trial_of


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
