"""Train one trial by the serial executor."""

from collections.abc import Callable, Sequence

from veduta.training.folds import Fold
from veduta.training.loop import Epoch
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.fused.executor import End
from veduta.tuning.executors.serial import Way, run_alone
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import Finished


def run_trial(
    trial: Trial,
    folds: Sequence[Fold],
    *,
    way: Way,
    record: Callable[[Epoch], None],
) -> Finished:
    """Train one trial, once a fold; pass every epoch to `record` and return the result.

    Raises:
        NotFiniteError: The loss ceased to be a finite number.
    """
    ends: list[End] = []
    for came in run_alone((trial,), folds, way=way):
        for _, epoch in came.epochs:
            record(epoch)
        ends += [end for _, end in came.ended]
    (end,) = ends
    if isinstance(end, NotFiniteError):
        raise end
    return end
