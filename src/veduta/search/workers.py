"""Tiles side by side: one worker a processor, one torch thread a worker.

Which tiles there are does not depend on the workers, nor does a tile on its neighbours: only the
order in which epochs of different tiles are seen does.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import takewhile
from queue import SimpleQueue
from threading import Event

from veduta.runtime.process import threads_of
from veduta.search.fused import TileEpoch
from veduta.search.groups import Tile

Beat = Callable[[int], bool]
"""Told how many images a step was made on; says whether to go on."""

Epochs = Generator[TileEpoch, None, None]
"""Those of a tile; closed early, it keeps what it needs to go on."""

Work = Callable[[Tile, Beat], Epochs]
Seen = tuple[Tile, TileEpoch | Exception | int | None]
"""A tile and one of its epochs, or images of the one under way; None where it starts, an exception
where it cannot go on."""

FAILURES = (RuntimeError, ArithmeticError, MemoryError)
"""What may go wrong with the trials of a tile together, their size mostly. Other tiles go on."""


def unheard(_: int) -> bool:
    """A beat that nobody listens to: go on."""
    return True


def side_by_side(
    tiles: Sequence[Tile], work: Work, *, workers: int, threads: int = 1
) -> Generator[Seen, None, None]:
    """Run `work` on every tile; its epochs as they come, those of one tile in order.

    Whoever leaves the iteration early waits until each worker has come to the end of a step that
    it tells of, or of an epoch.

    Args:
        tiles: what there is to do.
        work: trains one of them.
        workers: how many at a time.
        threads: of torch, in each worker.
    """
    seen: SimpleQueue[Seen | BaseException | None] = SimpleQueue()
    stopped = Event()

    def beat(tile: Tile, images: int) -> bool:
        seen.put((tile, images))
        return not stopped.is_set()

    def run(tile: Tile) -> None:
        try:
            if not stopped.is_set():
                seen.put((tile, None))
                with (
                    threads_of(threads),
                    closing(work(tile, lambda images: beat(tile, images))) as came,
                ):
                    for epoch in takewhile(lambda _: not stopped.is_set(), came):
                        seen.put((tile, epoch))
        except FAILURES as error:
            seen.put((tile, error))
        except BaseException as error:  # noqa: BLE001 - raised again where epochs are read
            seen.put(error)
        finally:
            seen.put(None)

    with ThreadPoolExecutor(min(workers, len(tiles))) as pool:
        left = len([pool.submit(run, tile) for tile in tiles])
        try:
            while left:
                came = seen.get()
                if isinstance(came, BaseException):
                    raise came
                if came is None:
                    left -= 1
                else:
                    yield came
        finally:
            stopped.set()
