"""Files read once: hashed first, and held in memory until they are decoded, as far as they fit.

Whether an image must be decoded at all is known only when its content is.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, final

from veduta.data.decode import read_file
from veduta.errors import DecodeError

CHUNK = 64  # files a task: one file a task spends more on hand-over than on decoding
HELD = 32 * 2**20  # bytes of files in memory; what does not fit is read a second time

Outcome = str | DecodeError  # of reading a file: the digest of its content, or why there is none
Item = TypeVar("Item")
Result = TypeVar("Result")


@final
class Reader:
    """Reads files for threads.

    Args:
        known: Digests whose content nobody will ask for.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._held: dict[str, bytes] = {}
        self._room = HELD
        self._lock = threading.Lock()

    def digest(self, path: Path) -> Outcome:
        """The SHA-256 of a file, in hexadecimal, or why it could not be read."""
        try:
            data = read_file(path)
        except DecodeError as error:
            return error
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._known:
            with self._lock:
                if digest not in self._held and len(data) <= self._room:
                    self._held[digest] = data
                    self._room -= len(data)
        return digest

    def content(self, paths: Sequence[Path], digest: str) -> bytes:
        """The bytes with this digest, once: held, or from the first of `paths` that has them still.

        Raises:
            DecodeError: no file has this content any more.
        """
        data = self._held.pop(digest, None)
        if data is not None:
            return data
        problem = DecodeError("changed while reading", "its content is not what it was before")
        for path in paths:
            try:
                data = read_file(path)
            except DecodeError as error:
                problem = error
            else:
                if hashlib.sha256(data).hexdigest() == digest:
                    return data
        raise problem


def in_chunks(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> Generator[list[Result], None, None]:
    """Results of `function`, in order, `CHUNK` at a time; an interruption drops what is waiting.

    At most two chunks a thread are ahead of what was taken, so that memory stays flat.
    """

    def run(start: int) -> list[Result]:
        return [function(item) for item in items[start : start + CHUNK]]

    pool = ThreadPoolExecutor(threads)
    ahead: deque[Future[list[Result]]] = deque()
    try:
        for start in range(0, len(items), CHUNK):
            ahead.append(pool.submit(run, start))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
