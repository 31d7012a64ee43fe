"""Train one trial by the serial executor."""

from collections.abc import Callable, Sequence

from veduta.search.course import Finished
from veduta.search.fused import End
from veduta.search.serial import Way, run_alone
from veduta.search.space import Trial
from veduta.training.folds import Fold
from veduta.training.loop import Epoch
from veduta.training.step import NotFiniteError


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
