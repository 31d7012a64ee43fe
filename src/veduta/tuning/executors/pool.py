"""Tiles side by side: one worker a processor, one torch thread a worker.

Which tiles there are does not depend on the workers, nor does a tile on its neighbours: only the
order in which epochs of different tiles are seen does. What goes wrong with one tile leaves the
others at work. A thread cannot be killed: one that hangs is left alone, and ends with the process,
or at the next step that it tells of.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TypeAlias, final

from veduta.errors import VedutaError
from veduta.runtime.process import POLL, TILE, Idle, threads_of
from veduta.tuning.executors.fused.executor import TileEpoch
from veduta.tuning.trials.groups import Tile
from veduta.tuning.trials.progress import Beat, HungError

Epochs = Generator[TileEpoch, None, None]
"""Those of a tile; closed early, it keeps what it needs to go on."""

Work = Callable[[Tile, Beat], Epochs]

Came = TileEpoch | Exception | int | None
"""Of a tile: an epoch, or images of the one under way; None where it starts, an exception where it
cannot go on."""

OURS = (OSError, VedutaError)
"""What is no fault of a trial: files that cannot be written, and what a user must see to."""


def side_by_side(
    tiles: Sequence[Tile],
    work: Work,
    *,
    workers: int,
    threads: int = 1,
    hang_seconds: float = math.inf,
) -> Generator[tuple[Tile, Came], None, None]:
    """Run `work` on every tile; its epochs as they come, those of one tile in order.

    Whoever leaves the iteration early waits until each worker has come to the end of a step that
    it tells of, or of an epoch.

    Args:
        tiles: what there is to do.
        work: trains one of them.
        workers: how many at a time.
        threads: of torch, in each worker.
        hang_seconds: without a step, after which a worker is given up.

    Raises:
        Exception: as `work` raises it, where it is one of `OURS`; nothing is at work any more.
    """
    team = _Team(work, threads)
    waiting, looked = deque(tiles), time.monotonic()
    try:
        while waiting or team.running:
            while waiting and len(team.running) < workers:
                yield waiting[0], None  # on record before it starts, even where it crashes
                team.start(waiting.popleft())
            yield from team.heard()
            if time.monotonic() - looked >= POLL:
                looked = time.monotonic()
                for tile in team.give_up(hang_seconds):
                    yield tile, HungError(hang_seconds)
    finally:
        team.leave(hang_seconds)


@dataclass(frozen=True, slots=True)
class _End:
    """The last that is heard of a worker."""

    error: BaseException | None


Queue: TypeAlias = "SimpleQueue[tuple[_Worker, Came | _End]]"


@final
class _Worker:
    """A thread at work on one tile, which tells a queue of it."""

    def __init__(self, tile: Tile, queue: Queue) -> None:
        self.tile = tile
        self.idle = Idle()
        self.heard = 0  # how often something was
        self._left = Event()
        self._queue = queue
        self._thread: Thread | None = None

    def start(self, work: Work, threads: int) -> None:
        """Begin; as a daemon, for the process may end while it hangs."""
        self._thread = Thread(target=self._run, args=(work, threads), name=TILE, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Let it come to the end of its step, and of itself."""
        self._left.set()

    def left(self, seconds: float) -> bool:
        """Whether it has, after waiting so long for it."""
        if self._thread:
            self._thread.join(seconds)
        return not (self._thread and self._thread.is_alive())

    def _run(self, work: Work, threads: int) -> None:
        error: BaseException | None = None
        try:
            with threads_of(threads), closing(work(self.tile, self._beat)) as epochs:
                for epoch in epochs:
                    self._tell(epoch)
                    if self._left.is_set():
                        break
        except BaseException as caught:  # noqa: BLE001 - whoever listens decides what it is
            error = caught
        self._tell(_End(error))

    def _tell(self, came: Came | _End) -> None:
        self.heard += 1
        self._queue.put((self, came))

    def _beat(self, images: int) -> bool:
        self.heard += 1
        if images:
            self._queue.put((self, images))
        return not self._left.is_set()


@final
class _Team:
    """The workers that are at work, and what they tell."""

    def __init__(self, work: Work, threads: int) -> None:
        self.running: list[_Worker] = []
        self._work, self._threads = work, threads
        self._queue: Queue = SimpleQueue()

    def start(self, tile: Tile) -> None:
        """Let one more work, on `tile`."""
        worker = _Worker(tile, self._queue)
        self.running.append(worker)
        worker.start(self._work, self._threads)

    def heard(self) -> Iterator[tuple[Tile, Came]]:
        """The next that one of them tells; nothing where none does for a while."""
        try:
            worker, came = self._queue.get(timeout=POLL)
        except Empty:
            return
        if worker not in self.running:  # it was given up
            return
        if not isinstance(came, _End):
            yield worker.tile, came
            return
        self.running.remove(worker)
        if came.error is not None:
            if isinstance(came.error, OURS) or not isinstance(came.error, Exception):
                raise came.error
            yield worker.tile, came.error

    def leave(self, hang_seconds: float) -> None:
        """Wait until all have come to the end of a step; those that do not are given up."""
        for worker in self.running:
            worker.leave()
        while self.running:
            self.running = [one for one in self.running if not one.left(POLL)]
            self.give_up(hang_seconds)

    def give_up(self, hang_seconds: float) -> list[Tile]:
        """Leave those alone that have made no step for so long; their tiles."""
        hung = [one for one in self.running if one.idle.seconds(one.heard) > hang_seconds]
        for worker in hung:
            self.running.remove(worker)
            worker.leave()
        return [worker.tile for worker in hung]
