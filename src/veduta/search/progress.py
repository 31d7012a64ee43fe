"""Epochs as they come: counted for whoever waits, recorded for good."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from veduta.runs.journal import Journal
from veduta.search.space import Trial
from veduta.training.loop import Epoch

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
