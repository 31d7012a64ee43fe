"""What all executors have in common: the results that they yield, and heartbeats.

An executor is a generator function: it trains the trials of a tile and yields a `TileEpoch` after
each epoch. `serial` is the reference, `fused` trains many heads at once and must give the same
results; `pool` runs tiles of both in threads.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from veduta.errors import VedutaError
from veduta.training.loop import Epoch
from veduta.training.step import NotFiniteError
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import Tile, Trial
from veduta.tuning.trials.state import FinishedTrial

Item = TypeVar("Item")

End: TypeAlias = FinishedTrial | NotFiniteError
"""How a trial ends."""


@dataclass(frozen=True, slots=True)
class TileEpoch:
    """Results of one epoch of a tile.

    Attributes:
        number: number of the epoch, from 1.
        epochs: the epoch of every trial that trained.
        ended: the trials that ended with this epoch.
        remaining: the trials that are left where ended trials were removed from the tile, or None.
        paused: outcomes so far of trials that pause and may continue later.
    """

    number: int
    epochs: Sequence[tuple[Trial, Epoch]]
    ended: Sequence[tuple[Trial, End]]
    remaining: Sequence[Trial] | None = None
    paused: Sequence[Outcome] = ()


TileEpochs: TypeAlias = Generator[TileEpoch, None, None]
"""The epochs of a tile. When the generator is closed early, it saves what it needs to continue."""

TileResult: TypeAlias = TileEpoch | Exception | int | None
"""Message about a tile: None when it starts, a number of images that were trained on, an epoch, or
the exception that ended it."""

Heartbeat: TypeAlias = Callable[[int], bool]
"""Called between steps with the number of images of the last training step, 0 after other steps.
Returns whether to continue."""

Executor: TypeAlias = Callable[[Tile, Heartbeat], TileEpochs]
"""Trains the trials of a tile."""

FATAL = (OSError, VedutaError)
"""Errors that end the whole search rather than one trial: files that cannot be written, and what
the user must correct."""


class CancelledError(Exception):
    """The heartbeat asked a training to stop."""


def always_continue(_: int) -> bool:
    """Continue; the heartbeat of a training that nobody observes."""
    return True


def send_heartbeats(items: Iterable[Item], heartbeat: Heartbeat) -> Iterator[Item]:
    """Yield `items` with a heartbeat before each.

    Raises:
        CancelledError: the heartbeat asked to stop.
    """
    for item in items:
        if not heartbeat(0):
            raise CancelledError
        yield item
