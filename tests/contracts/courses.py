"""A trial trained to its end or left on the way: what the tables of techniques check alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from veduta.runs.checkpoints import Checkpoints
from veduta.training.folds import Fold
from veduta.training.loop import Epoch
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.serial import Way, run_alone
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.progress import Beat
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import Finished

SAME = ("number", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr_now")
SAME += ("gradient_norm",)


def run(
    trial: Trial, folds: Sequence[Fold], way: Way, **how: Any
) -> tuple[list[Epoch], Finished | None]:
    """The epochs of a trial; its end, where it was not left before."""
    epochs: list[Epoch] = []
    ends = []
    for came in run_alone((trial,), folds, way=way, **how):
        epochs += [epoch for _, epoch in came.epochs]
        ends += [end for _, end in came.ended]
    assert not any(isinstance(end, NotFiniteError) for end in ends)
    return epochs, ends[0] if ends else None


def expect_resumed(
    trial: Trial, folds: Sequence[Fold], way: Way, *, after: int, folder: Path
) -> None:
    """Left after so many beats and gone on from its checkpoint, it is as if never stopped."""
    made = 0

    def beating(left: int = 10**9) -> Beat:
        nonlocal made
        made = 0

        def beat(_: int) -> bool:
            nonlocal made
            made += 1
            return made < left

        return beat

    def keeper() -> Keeper:
        return Keeper(Checkpoints(folder, "trial"))

    expected, reference = run(trial, folds, way, beat=beating())
    whole = made
    _, left = run(trial, folds, way, keeper=keeper(), beat=beating(after))
    assert left is None
    found, end = run(trial, folds, way, keeper=keeper(), beat=beating())
    assert made < whole, "it did not begin anew"
    assert end is not None
    assert reference is not None
    for mine, theirs in zip(found, expected, strict=True):
        assert [getattr(mine, name) for name in SAME] == [getattr(theirs, name) for name in SAME]
    weights = end.network.state_dict()
    assert all(torch.equal(weights[n], w) for n, w in reference.network.state_dict().items())
    assert end.reason == reference.reason
    for name in Outcome.FIGURES:
        if name != "seconds":
            assert getattr(end.outcome, name) == getattr(reference.outcome, name)
