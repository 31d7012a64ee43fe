"""Files below a folder, whatever lies there: links in circles, pipes, other people's clutter.

Nothing is opened here except folders (and files without an extension, for their first bytes).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
