"""Checkpoints of the serial executor when it is interrupted between epochs."""

from pathlib import Path

import torch

from tests.support.killed_trainings import BASE, CLASSES, EPOCHS, create_folds, create_settings
from veduta.experiment.feature_spec import BackboneLoader
from veduta.runs.checkpoints import Checkpoints
from veduta.tuning.executors.serial import TrainingContext, run_serial
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.space import build_trial


def test_a_trial_interrupted_at_its_end_keeps_the_last_weights_not_the_best(
    tmp_path: Path,
) -> None:
    """As when the last epoch is being recorded; a trial with more epochs continues from them."""
    settings = create_settings({**BASE, "lr": 0.3})
    context = TrainingContext(CLASSES, BackboneLoader(0, tmp_path).build_tail(settings))
    folds, trial = create_folds(settings, 40), build_trial(settings)
    for name in ("undisturbed", "interrupted"):
        checkpoints = Checkpoints(tmp_path / name, "trial")
        checkpointer = Checkpointer(checkpoints, interval_seconds=1000)
        results = run_serial((trial,), folds, context=context, checkpointer=checkpointer)
        for result in results:
            if result.ended and name == "interrupted":
                break
        results.close()
    undisturbed, interrupted = (
        Checkpoints(tmp_path / name, "trial").load_newest()
        for name in ("undisturbed", "interrupted")
    )
    assert undisturbed is not None
    assert interrupted is not None
    assert undisturbed.progress["trial"]["best"] < EPOCHS, "the best weights are other ones"
    assert interrupted.tensors.keys() == undisturbed.tensors.keys()
    for name, tensor in undisturbed.tensors.items():
        assert torch.equal(interrupted.tensors[name], tensor), name
    last = undisturbed.tensors["0.network.dense.0.weight"]
    assert not torch.equal(last, undisturbed.tensors["best.dense.0.weight"])


def test_a_trial_interrupted_between_two_epochs_writes_a_checkpoint(tmp_path: Path) -> None:
    settings = create_settings({**BASE, "folds": 2})
    context = TrainingContext(CLASSES, BackboneLoader(0, tmp_path).build_tail(settings))
    checkpoints = Checkpoints(tmp_path / "interrupted", "trial")
    results = run_serial(
        (build_trial(settings),),
        create_folds(settings, 40),
        context=context,
        checkpointer=Checkpointer(checkpoints, interval_seconds=1000),
    )
    next(results)
    assert checkpoints.load_newest() is None
    results.close()
    checkpoint = checkpoints.load_newest()
    assert checkpoint is not None
    trainings = checkpoint.progress["trainings"]
    assert [(training["epoch"], training["step"]) for training in trainings] == [(2, 0)] * 2
    assert len(checkpoint.progress["trial"]["epochs"]) == 1
