"""Runs tiles concurrently in threads.

Neither the division into tiles nor the results of a tile depend on the number of workers; only the
order in which results of different tiles arrive does. An error in one tile does not affect the
others. A thread cannot be killed: a hung one is abandoned, and ends with the process or at its next
heartbeat.
"""

import math
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TypeAlias, final

from veduta.runtime.process import POLL_SECONDS, TILE_THREAD, IdleTimer, use_torch_threads
from veduta.tuning.executors.protocol import FATAL, Executor, TileResult
from veduta.tuning.trials.space import Tile
from veduta.tuning.trials.state import HungError


def run_tiles(
    tiles: Sequence[Tile],
    executor: Executor,
    *,
    workers: int,
    threads: int = 1,
    hang_seconds: float = math.inf,
) -> Generator[tuple[Tile, TileResult], None, None]:
    """Yield the results of all tiles as they arrive; those of one tile are in order.

    Closing the generator early asks all workers to stop and waits for their next heartbeat.

    Args:
        tiles: the tiles to train.
        executor: trains one tile.
        workers: maximum number of tiles at a time.
        threads: number of torch threads in each worker.
        hang_seconds: time without a heartbeat after which a worker is abandoned.

    Raises:
        Exception: an error of `FATAL` that `executor` raised; all workers have stopped.
    """
    pool = _Pool(executor, threads)
    waiting, checked_at = deque(tiles), time.monotonic()
    try:
        while waiting or pool.running:
            while waiting and len(pool.running) < workers:
                yield waiting[0], None  # recorded before it starts, in case the process crashes
                pool.start(waiting.popleft())
            yield from pool.receive()
            if time.monotonic() - checked_at >= POLL_SECONDS:
                checked_at = time.monotonic()
                for tile in pool.abandon_hung(hang_seconds):
                    yield tile, HungError(hang_seconds)
    finally:
        pool.stop(hang_seconds)


@dataclass(frozen=True, slots=True)
class _WorkerEnded:
    """The last message of a worker."""

    error: BaseException | None


Queue: TypeAlias = "SimpleQueue[tuple[_Worker, TileResult | _WorkerEnded]]"


@final
class _Worker:
    """A thread that trains one tile and puts its results into a queue."""

    def __init__(self, tile: Tile, queue: Queue) -> None:
        self.tile = tile
        self.idle_timer = IdleTimer()
        self.heartbeats = 0
        self._stopping = Event()
        self._queue = queue
        self._thread: Thread | None = None

    def start(self, executor: Executor, threads: int) -> None:
        """Start a daemon thread: a hung worker does not keep the process alive."""
        self._thread = Thread(
            target=self._run, args=(executor, threads), name=TILE_THREAD, daemon=True
        )
        self._thread.start()

    def request_stop(self) -> None:
        """Ask the worker to stop at its next heartbeat."""
        self._stopping.set()

    def join(self, seconds: float) -> bool:
        """Wait for the worker to stop, `seconds` at most; return whether it has."""
        if self._thread:
            self._thread.join(seconds)
        return not (self._thread and self._thread.is_alive())

    def _run(self, executor: Executor, threads: int) -> None:
        error: BaseException | None = None
        try:
            with (
                use_torch_threads(threads),
                closing(executor(self.tile, self._send_heartbeat)) as epochs,
            ):
                for epoch in epochs:
                    self._put(epoch)
                    if self._stopping.is_set():
                        break
        except BaseException as caught:  # noqa: BLE001 - the receiver decides what it means
            error = caught
        self._put(_WorkerEnded(error))

    def _put(self, message: TileResult | _WorkerEnded) -> None:
        self.heartbeats += 1
        self._queue.put((self, message))

    def _send_heartbeat(self, images: int) -> bool:
        self.heartbeats += 1
        if images:
            self._queue.put((self, images))
        return not self._stopping.is_set()


@final
class _Pool:
    """The running workers and the queue of their results."""

    def __init__(self, executor: Executor, threads: int) -> None:
        self.running: list[_Worker] = []
        self._executor, self._threads = executor, threads
        self._queue: Queue = SimpleQueue()

    def start(self, tile: Tile) -> None:
        """Start a worker on a tile."""
        worker = _Worker(tile, self._queue)
        self.running.append(worker)
        worker.start(self._executor, self._threads)

    def receive(self) -> Iterator[tuple[Tile, TileResult]]:
        """Yield the next result of a worker; nothing if none arrives within `POLL_SECONDS`."""
        try:
            worker, message = self._queue.get(timeout=POLL_SECONDS)
        except Empty:
            return
        if worker not in self.running:  # it was abandoned
            return
        if not isinstance(message, _WorkerEnded):
            yield worker.tile, message
            return
        self.running.remove(worker)
        if message.error is not None:
            if isinstance(message.error, FATAL) or not isinstance(message.error, Exception):
                raise message.error
            yield worker.tile, message.error

    def stop(self, hang_seconds: float) -> None:
        """Ask all workers to stop and wait for them; abandon those that hang."""
        for worker in self.running:
            worker.request_stop()
        while self.running:
            self.running = [worker for worker in self.running if not worker.join(POLL_SECONDS)]
            self.abandon_hung(hang_seconds)

    def abandon_hung(self, hang_seconds: float) -> list[Tile]:
        """Abandon workers without a heartbeat for `hang_seconds`; return their tiles."""
        hung = [
            worker
            for worker in self.running
            if worker.idle_timer.measure(worker.heartbeats) > hang_seconds
        ]
        for worker in hung:
            self.running.remove(worker)
            worker.request_stop()
        return [worker.tile for worker in hung]
