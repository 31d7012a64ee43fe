"""Find image files in a folder, and read files in threads: first hashed, later decoded."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, final

from veduta.data.decode import read_file
from veduta.errors import DecodeError, VedutaError, describe_os_error
from veduta.runtime.process import POLL_SECONDS, IdleTimer

READ_EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif"}
READ_EXTENSIONS |= {".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"}
UNREAD_EXTENSIONS = {".avif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".svg", ".eps", ".psd"}
UNREAD_EXTENSIONS |= {".fits", ".ico", ".tga", ".pfm", ".dng", ".cr2", ".nef"}
"""Extensions of images that are not read: the files are listed as rejected, not ignored."""
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})


@dataclass(slots=True)
class Listing:
    """The content of a folder: visible folders, images, the number of other entries, and faults."""

    folders: list[Path]
    images: list[Path]
    ignored: int
    faults: list[str]


def list_folder(folder: Path) -> Listing:
    """Return the entries directly in `folder`, sorted by name."""
    listing = Listing([], [], 0, [])
    try:
        with os.scandir(folder) as iterator:
            entries = sorted(iterator, key=lambda entry: entry.name)
    except OSError as error:
        listing.faults.append(
            f"every folder must be readable; {folder}: {describe_os_error(error)}; "
            "change its permissions"
        )
        return listing
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM_NAMES:
            listing.ignored += 1
        elif _is_folder(entry):
            listing.folders.append(folder / entry.name)
        elif has_image_extension(entry.name) or (
            "." not in entry.name and _has_image_signature(entry)
        ):
            listing.images.append(folder / entry.name)
        else:
            listing.ignored += 1
    return listing


def find_images(folder: Path) -> Listing:
    """Return all images in `folder` and its subfolders, sorted; `folders` is empty.

    A folder that links reach twice counts once, and a link to a folder that contains `folder` is
    not followed, because it would add images from outside.
    """
    result = Listing([], [], 0, [])
    visited = {_identify_folder(parent) for parent in folder.absolute().parents}
    for listing in _walk_folders(folder, visited):
        result.images += listing.images
        result.ignored += listing.ignored
        result.faults += listing.faults
    result.images.sort()
    return result


def path_exists(path: Path) -> bool:
    """Return whether a path exists, False for an invalid path."""
    try:
        path.stat()
    except (OSError, ValueError):  # too long, a link to itself, a null character
        return False
    return True


def has_image_extension(name: str) -> bool:
    """Return whether the extension of a file name is that of an image."""
    extension = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path per file is slower)
    return extension in READ_EXTENSIONS | UNREAD_EXTENSIONS


def _has_image_signature(entry: os.DirEntry[str]) -> bool:
    """Return whether a file starts with the signature of an image; False if it is not readable."""
    try:
        if not entry.is_file():
            return False
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 (a descriptor)
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(SIGNATURES) or (start[:4], start[8:]) == (b"RIFF", b"WEBP")


def _walk_folders(folder: Path, visited: set[tuple[int, int]]) -> Iterator[Listing]:
    """Yield the listing of `folder` and of each folder in it that was not visited yet."""
    pending = [folder]
    while pending:
        current = pending.pop()
        identity = _identify_folder(current)
        if identity not in visited:
            visited.add(identity)
            listing = list_folder(current)
            yield listing
            pending += reversed(listing.folders)


def _identify_folder(folder: Path) -> tuple[int, int]:
    """Return device and inode of a folder, (0, 0) if it cannot be read."""
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


CHUNK_SIZE = 64  # files per task: with one, handing over would cost more than decoding
MAX_IDLE_SECONDS = 300.0  # without a single file read or decoded
MAX_HELD_BYTES = 32 * 2**20  # of files kept in memory; other files are read a second time

DigestOrError = str | DecodeError
"""The SHA-256 of a file in hexadecimal, or the reason why it cannot be read."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@final
class FileReader:
    """Reads and hashes files in threads, and keeps the content of some for `read_content`.

    Args:
        known_digests: digests whose content is not needed.
    """

    def __init__(self, known_digests: Collection[str]) -> None:
        self._known_digests = known_digests
        self._held: dict[str, bytes] = {}
        self._free_bytes = MAX_HELD_BYTES
        self._lock = threading.Lock()

    def compute_digest(self, path: Path) -> DigestOrError:
        """Return the SHA-256 of a file in hexadecimal, or the reason why it cannot be read."""
        try:
            data = read_file(path)
        except DecodeError as error:
            return error
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._known_digests:
            with self._lock:
                if digest not in self._held and len(data) <= self._free_bytes:
                    self._held[digest] = data
                    self._free_bytes -= len(data)
        return digest

    def read_content(self, paths: Sequence[Path], digest: str) -> bytes:
        """Return the bytes with this digest, from memory or from the first path that has them.

        Raises:
            DecodeError: no file has this content any more.
        """
        data = self._held.pop(digest, None)
        if data is not None:
            return data
        problem = DecodeError("changed while reading", "its content differs from the first reading")
        for path in paths:
            try:
                data = read_file(path)
            except DecodeError as error:
                problem = error
            else:
                if hashlib.sha256(data).hexdigest() == digest:
                    return data
        raise problem


def map_in_chunks(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int,
    *,
    finish: Callable[[list[Result]], list[Result]] = lambda results: results,
    get_name: Callable[[Item], object] = lambda item: item,
) -> Generator[list[Result], None, None]:
    """Yield the results of `function` in order, `CHUNK_SIZE` at a time.

    At most two chunks per thread are ahead of the consumer, so that memory use is bounded. Closing
    the generator cancels the pending chunks.

    Args:
        function: reads or decodes one file.
        items: arguments of the function.
        threads: number of threads that call it.
        finish: applied to the results of each chunk, in the same thread.
        get_name: returns the name of the file of an item, for error messages.

    Raises:
        VedutaError: no call returned for `MAX_IDLE_SECONDS`.
    """
    workers = _ChunkWorkers(function, items, finish)
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[list[Result]]] = deque()
    try:
        for start in range(0, len(items), CHUNK_SIZE):
            pending.append(pool.submit(workers.run, start))
            if len(pending) > 2 * threads:
                yield workers.wait_for(pending.popleft(), get_name)
        while pending:
            yield workers.wait_for(pending.popleft(), get_name)
    finally:
        workers.is_cancelled = True
        pool.shutdown(wait=not workers.is_stuck, cancel_futures=True)


@final
class _ChunkWorkers(Generic[Item, Result]):
    """The state that the threads of `map_in_chunks` share."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        finish: Callable[[list[Result]], list[Result]],
    ) -> None:
        self.is_cancelled = self.is_stuck = False
        self._function, self._items, self._finish = function, items, finish
        self._call_count = 0
        self._current_items: dict[int, Item] = {}
        self._idle = IdleTimer()

    def run(self, start: int) -> list[Result]:
        """Return the results of the chunk at `start`, or fewer if everything is cancelled."""
        results = []
        for item in self._items[start : start + CHUNK_SIZE]:
            if self.is_cancelled:
                break
            self._current_items[start] = item
            results.append(self._function(item))
            self._call_count += 1  # without a lock: that it changes is enough
        self._current_items.pop(start, None)
        return self._finish(results)

    def wait_for(
        self, chunk: Future[list[Result]], get_name: Callable[[Item], object]
    ) -> list[Result]:
        """Return the results of a chunk; wait as long as calls return.

        Raises:
            VedutaError: no call returned for `MAX_IDLE_SECONDS`.
        """
        while True:
            try:
                return chunk.result(timeout=POLL_SECONDS)
            except TimeoutError:
                if chunk.done():  # in the meantime, or the function raised a TimeoutError itself
                    return chunk.result()
            if self._idle.measure(self._call_count) > MAX_IDLE_SECONDS:
                self.is_stuck = True
                names = sorted(str(get_name(item)) for item in self._current_items.values())
                raise VedutaError(
                    f"a file must be readable within {MAX_IDLE_SECONDS:g} s; these are not: "
                    f"{', '.join(names)}: check the disk or network that they are on, and run the "
                    "command again"
                )
