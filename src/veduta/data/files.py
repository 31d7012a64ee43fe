"""Find files below a folder, and read them once: hashed first, decoded later."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, final

from veduta.data.decode import read_file
from veduta.errors import DecodeError, VedutaError
from veduta.runtime.process import POLL, Idle

READ = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
READ |= {".webp", ".ppm", ".pgm", ".pbm", ".pnm"}
UNREAD = {".avif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".svg", ".eps", ".psd", ".fits"}
UNREAD |= {".ico", ".tga", ".pfm", ".dng", ".cr2", ".nef"}  # rejected by name, not lost in silence
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
CLUTTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})


@dataclass(slots=True)
class Listing:
    """What lies in one folder: visible folders and images by name; how many others; faults."""

    folders: list[Path]
    images: list[Path]
    ignored: int
    faults: list[str]


def look(folder: Path) -> Listing:
    """What lies directly in `folder`, sorted by name."""
    found = Listing([], [], 0, [])
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.faults.append(
            f"every folder must be readable; {folder}: {error.strerror}; change its permissions"
        )
        return found
    for entry in listed:
        if entry.name.startswith(".") or entry.name.lower() in CLUTTER:
            found.ignored += 1
        elif _is_folder(entry):
            found.folders.append(folder / entry.name)
        elif is_image(entry.name) or ("." not in entry.name and _begins_as_image(entry)):
            found.images.append(folder / entry.name)
        else:
            found.ignored += 1
    return found


def below(folder: Path) -> Listing:
    """Every image below `folder`, however deep; a folder reached twice by links counts once.

    A link to a folder that `folder` lies in leads nowhere new: it would bring in what lies beside.
    """
    found = Listing([], [], 0, [])
    above = {_identity(parent) for parent in folder.absolute().parents}
    for listing in _levels(folder, above):
        found.images += listing.images
        found.ignored += listing.ignored
        found.faults += listing.faults
    found.images.sort()
    return found


def exists(path: Path) -> bool:
    """Whether a path leads somewhere; never an error, whatever the path is."""
    try:
        path.stat()
    except (OSError, ValueError):  # too long, a link to itself, a null character
        return False
    return True


def is_image(name: str) -> bool:
    """Whether a file's extension is that of an image."""
    return os.path.splitext(name)[1].lower() in READ | UNREAD  # noqa: PTH122


def _begins_as_image(entry: os.DirEntry[str]) -> bool:
    """Whether a file without an extension begins as images do; what cannot be read does not."""
    try:
        if not entry.is_file():
            return False
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 (a descriptor)
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(BEGINNINGS) or (start[:4], start[8:]) == (b"RIFF", b"WEBP")


def _levels(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Listing]:
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        identity = _identity(current)
        if identity not in seen:
            seen.add(identity)
            listing = look(current)
            yield listing
            waiting += reversed(listing.folders)


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


CHUNK = 64  # files a task: one file a task spends more on hand-over than on decoding
HANG = 300.0  # seconds in which not one file was read or decoded
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
    function: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int,
    *,
    finish: Callable[[list[Result]], list[Result]] = lambda made: made,
    name: Callable[[Item], object] = lambda item: item,
) -> Generator[list[Result], None, None]:
    """Results of `function`, in order, `CHUNK` at a time; an interruption drops what is waiting.

    At most two chunks a thread are ahead of what was taken, so that memory stays flat.

    Args:
        function: reads or decodes one file.
        items: what it takes.
        threads: how many call it.
        finish: what the results of a chunk become, in the same thread.
        name: of the file of an item, for people.

    Raises:
        VedutaError: for `HANG` seconds no call has come back.
    """
    crew = _Crew(function, items, finish)
    pool = ThreadPoolExecutor(threads)
    ahead: deque[Future[list[Result]]] = deque()
    try:
        for start in range(0, len(items), CHUNK):
            ahead.append(pool.submit(crew.run, start))
            if len(ahead) > 2 * threads:
                yield crew.result_of(ahead.popleft(), name)
        while ahead:
            yield crew.result_of(ahead.popleft(), name)
    finally:
        crew.left = True
        pool.shutdown(wait=not crew.hung, cancel_futures=True)


@final
class _Crew(Generic[Item, Result]):
    """What the threads of `in_chunks` share."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        finish: Callable[[list[Result]], list[Result]],
    ) -> None:
        self.left = self.hung = False
        self._function, self._items, self._finish = function, items, finish
        self._made = 0
        self._under_way: dict[int, Item] = {}
        self._idle = Idle()

    def run(self, start: int) -> list[Result]:
        """The results of a chunk; fewer where everything is left."""
        made = []
        for item in self._items[start : start + CHUNK]:
            if self.left:
                break
            self._under_way[start] = item
            made.append(self._function(item))
            self._made += 1  # by any thread; a count that one loses is made up by the next
        self._under_way.pop(start, None)
        return self._finish(made)

    def result_of(
        self, chunk: Future[list[Result]], name: Callable[[Item], object]
    ) -> list[Result]:
        """Wait for a chunk, as long as calls come back.

        Raises:
            VedutaError: none does.
        """
        while True:
            try:
                return chunk.result(timeout=POLL)
            except NotYet:
                if chunk.done():  # by now; or the error was the function's own
                    return chunk.result()
            if self._idle.seconds(self._made) > HANG:
                self.hung = True
                stuck = ", ".join(sorted(str(name(item)) for item in self._under_way.values()))
                raise VedutaError(
                    f"files must come within {HANG:g} s; these did not: {stuck}: see whether their "
                    "disk or network answers, and run it again"
                )
