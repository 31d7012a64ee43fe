"""Progress of trials while they train, and why trials fail."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, final

from veduta.errors import VedutaError
from veduta.runs.journal import Journal
from veduta.runtime.memory import ran_out
from veduta.training.loop import Epoch
from veduta.training.step import NotFiniteError
from veduta.tuning.trials.space import Trial

DIVERGED, MEMORY, HUNG, RAISED, CRASHED = "diverged", "memory", "hung", "raised", "crashed"
LASTING = {DIVERGED, CRASHED}
"""Causes of failures that would come again."""


@final
class HungError(VedutaError):
    """A training made no step for so long that it was given up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"a step must be made at least every {seconds:g} s; none was: raise --hang-seconds "
            "where steps take that long"
        )


def cause_of(error: BaseException) -> str:
    """The word for what went wrong with a trial."""
    if isinstance(error, NotFiniteError):
        return DIVERGED
    if isinstance(error, HungError):
        return HUNG
    return MEMORY if ran_out(error) else RAISED


def reason_of(error: BaseException) -> str:
    """The sentence for it, in one line; with the place in the program where it says nothing else.

    >>> reason_of(MemoryError("too large"))
    'out of memory: too large'
    """
    said = " ".join(str(error).split())
    cause = cause_of(error)
    if cause == MEMORY:
        return f"out of memory: {said}" if said else "out of memory"
    if cause != RAISED:
        return said
    steps = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(steps[-1].filename).name}, line {steps[-1].lineno})" if steps else ""
    return f"{type(error).__name__}{': ' if said else ''}{said}{place}"


def too_many(count: int, reason: str) -> VedutaError:
    """The error of a search that is stopped."""
    return VedutaError(
        f"a search stops where {count} trainings in a row fail (max_failures={count}); the last "
        f"one: {reason}: see to that and go on with --resume, where --max-failures may be higher"
    )


Part = TypeVar("Part")

Beat = Callable[[int], bool]
"""Told how many images a training step was made on, 0 for other steps; says whether to go on."""


class LeftError(Exception):
    """Whoever waits for a training does not any more."""


def unheard(_: int) -> bool:
    """A beat that nobody listens to: go on."""
    return True


def beating(parts: Iterable[Part], beat: Beat) -> Iterator[Part]:
    """The same parts, with a beat before each.

    Raises:
        LeftError: it says not to go on.
    """
    for part in parts:
        if not beat(0):
            raise LeftError
        yield part


@dataclass(slots=True)
class Meter:
    """Progress in epochs, or in images where an epoch takes long.

    What a trial that stopped early leaves out counts as done; epochs before a resume, which are
    told again from a checkpoint, neither count nor are to be done.

    Attributes:
        left: epochs by trial.
        show: told of (done, total).
        unit: images of an epoch where images are counted; 1 where epochs are.
    """

    left: dict[str, int]
    show: Callable[[int, int], None]
    unit: int = 1
    _last: dict[str, int] = field(init=False)  # number of the last epoch, by trial
    _epochs: dict[str, int] = field(init=False)
    _images: dict[str, int] = field(default_factory=dict)  # of the epoch under way

    def __post_init__(self) -> None:
        self._last, self._epochs = dict(self.left), dict(self.left)

    def images(self, trial: str, count: int) -> None:
        """Some more images of an epoch under way."""
        self._images[trial] = self._images.get(trial, 0) + count
        self._show()

    def epoch(self, trial: str, number: int, *, fresh: bool = True) -> None:
        """One more epoch of a trial; one that is told again, and is not `fresh`, counts once."""
        self._images[trial] = 0
        left = min(self.left[trial], self._last[trial] - number)
        if not fresh:
            self._epochs[trial] -= self.left[trial] - left
        self.left[trial] = left
        self._show()

    def ended(self, trial: str) -> None:
        """A trial that will have no more."""
        self.left[trial] = self._images[trial] = 0

    def done(self) -> None:
        """Everything."""
        total = self._total()
        self.show(total, total)

    def _show(self) -> None:
        under_way = sum(self._images.values()) if self.unit > 1 else 0
        total = self._total()
        done = total - self.unit * sum(self.left.values()) + under_way
        self.show(min(done, total), total)

    def _total(self) -> int:
        return self.unit * sum(self._epochs.values())


def record_epoch(journal: Journal, trial: Trial, epoch: Epoch) -> None:
    """Put one epoch into the journal."""
    more = {name: getattr(epoch, name) for name in ("gradient_norm", "weights")}
    journal.append(
        "epoch",
        trial=trial.id,
        epoch=epoch.number,
        lr_now=epoch.lr_now,
        train_loss=epoch.train_loss,
        train_accuracy=epoch.train_accuracy,
        val_loss=epoch.val_loss,
        val_accuracy=epoch.val_accuracy,
        seconds=epoch.seconds,
        **{name: value for name, value in more.items() if value is not None},
        time=time.time(),
    )


def told(epoch: Epoch, *, of: int, images: int) -> str:
    """An epoch in a line.

    Args:
        epoch: a fresh one.
        of: how many there are at most.
        images: how many it trained on.
    """
    return (
        f"epoch {epoch.number} of {of}: training {epoch.train_loss:.3f}, "
        f"{epoch.train_accuracy:.1%}; validation {epoch.val_loss:.3f}, {epoch.val_accuracy:.1%}; "
        f"lr {epoch.lr_now:.2g}; {epoch.seconds:.1f} s, {images / epoch.seconds:,.0f} images/s"
    )


def unread(_: str) -> None:
    """A line that nobody reads."""
