"""How long nothing has happened: what tells a worker that hangs from one that is slow."""

import time
from collections.abc import Callable
from typing import final

POLL = 1.0  # seconds between two looks


@final
class Idle:
    """Seconds since a count last changed, as somebody sees who looks again and again.

    Time in which nobody looked is not counted: a process that was stopped, and goes on, has not
    hung.

    Args:
        clock: gives seconds.

    >>> times = iter([0.0, 1.0, 2.0, 500.0, 501.0])
    >>> idle = Idle(lambda: next(times))
    >>> [idle.seconds(count) for count in (7, 7, 7, 8)]
    [0.0, 1.0, 3.0, 0.0]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = clock()
        self._count: int | None = None
        self._seconds = 0.0

    def seconds(self, count: int) -> float:
        """Look: how long the count has been what it is now."""
        now = self._clock()
        self._seconds += min(now - self._looked, 2 * POLL)
        self._looked = now
        if count != self._count:
            self._count, self._seconds = count, 0.0
        return self._seconds
