"""Every image decoded and resized once, and kept by its content.

The second run on the same data reads files only to hash them. What cannot be decoded is named and
left out; nothing ever stands in for it.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from veduta.data.decode import DECODER, decode, read_file
from veduta.data.rows import Rows, RowStore
from veduta.data.sample import Sample
from veduta.errors import DecodeError

CHUNK = 64  # files a task: one file a task spends more on hand-over than on decoding
LEFT_OUT = "left out"

Progress = Callable[[int, int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Image:
    """A sample that was read; `digest` is the SHA-256 of its file, in hexadecimal."""

    sample: Sample
    digest: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line of `rejected.csv`: which file, what is wrong with it, what was done."""

    name: str
    problem: str
    detail: str
    action: str = LEFT_OUT


@dataclass(frozen=True, slots=True)
class Resize:
    """Any image to a square of `size` pixels a side, antialiased: for training and prediction alike.

    Attributes:
        size: Pixels a side.
        filter: A filter of Pillow: nearest, box, bilinear, hamming, bicubic or lanczos.
        fit: "squash" takes the whole image, "crop" the largest square in its centre (the shorter
            side scaled to `size`, the rest cut off).
    """

    size: int
    filter: str = "bicubic"
    fit: str = "squash"

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3) -> (size, size, 3); an image of that size comes back unchanged."""
        height, width = pixels.shape[:2]
        if (height, width) == (self.size, self.size):
            return pixels
        left = top = 0.0
        if self.fit == "crop":  # cut before scaling: a strip of 1 x 20000 stays small
            shorter = min(height, width)
            left, top = (width - shorter) / 2, (height - shorter) / 2
        box = (left, top, width - left, height - top)
        method = Pillow.Resampling[self.filter.upper()]
        image = Pillow.fromarray(pixels).resize((self.size, self.size), method, box)
        return np.asarray(image)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Images that could be read, with their pixels.

    Attributes:
        images: In the order of the samples.
        rows: uint8, (len(images), size, size, 3), aligned with `images`.
        rejected: What could not be read, in the order of the samples.
        reused: How many images were in the cache already.
        decoded: How many were not.
    """

    images: tuple[Image, ...]
    rows: Rows
    rejected: tuple[Rejection, ...]
    reused: int
    decoded: int


def _silent(done: int, total: int) -> None:
    """No progress shown."""


def load_pixels(
    samples: Sequence[Sample],
    resize: Resize,
    *,
    cache: Path,
    progress: Progress = _silent,
    threads: int,
) -> Pixels:
    """The pixels of `samples`, from the cache where their content is known.

    Args:
        samples: Files to read; their order is the order of the result.
        resize: To which size, and how.
        cache: The folder of the cache.
        progress: Called with (files done, files in all).
        threads: How many threads read and decode; they do not change the result.

    Raises:
        InputError: the disk has no room for the pixels, or the cache cannot be written.
    """
    shape = (resize.size, resize.size, 3)
    spec = {"decoder": DECODER, **asdict(resize)}
    store = RowStore(cache, "pixels", spec, shape=shape, dtype="uint8")
    outcomes: list[str | DecodeError] = []  # a digest, or why there is none
    settled = 0
    known: set[str] = set(store.known())
    for found in in_chunks(_digest, [sample.path for sample in samples], threads):
        outcomes.extend(found)
        settled += sum(isinstance(one, DecodeError) or one in known for one in found)
        progress(settled, len(samples))
    sources: dict[str, Path] = {}
    for sample, outcome in zip(samples, outcomes, strict=True):
        if isinstance(outcome, str):
            sources.setdefault(outcome, sample.path)
    failures, fresh = _fill(store, sources, resize, threads, lambda n: progress(n, len(samples)))
    return _gather(samples, outcomes, failures, fresh, store)


def _fill(
    store: RowStore,
    sources: dict[str, Path],
    resize: Resize,
    threads: int,
    done: Callable[[int], None],
) -> tuple[dict[str, DecodeError], set[str]]:
    failures: dict[str, DecodeError] = {}
    with store.fill(list(sources)) as block:

        def place(index: int) -> DecodeError | None:
            key = block.keys[index]
            try:
                block.rows[index] = resize(_expected(sources[key], key))
            except DecodeError as error:
                return error
            return None

        index = 0
        for results in in_chunks(place, range(len(block.keys)), threads):
            for error in results:
                if error:
                    failures[block.keys[index]] = error
                    block.drop(index)
                index += 1
        return failures, set(block.keys) - set(failures)


def _digest(path: Path) -> str | DecodeError:
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except DecodeError as error:
        return error


def _expected(path: Path, digest: str) -> NDArray[np.uint8]:
    data = read_file(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise DecodeError("changed while reading", "the file's content is not what it was before")
    return decode(data)


def _gather(
    samples: Sequence[Sample],
    outcomes: Sequence[str | DecodeError],
    failures: dict[str, DecodeError],
    fresh: set[str],
    store: RowStore,
) -> Pixels:
    images, rejected = [], []
    for sample, outcome in zip(samples, outcomes, strict=True):
        error = outcome if isinstance(outcome, DecodeError) else failures.get(outcome)
        if error is not None:
            rejected.append(Rejection(sample.name, error.problem, error.detail))
        elif isinstance(outcome, str):
            images.append(Image(sample, outcome))
    decoded = sum(image.digest in fresh for image in images)
    rows = store.rows([image.digest for image in images])
    return Pixels(tuple(images), rows, tuple(rejected), len(images) - decoded, decoded)


def in_chunks(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> Iterator[list[Result]]:
    """Results of `function`, in order, `CHUNK` at a time; an interruption drops what is waiting."""

    def run(start: int) -> list[Result]:
        return [function(item) for item in items[start : start + CHUNK]]

    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(run, range(0, len(items), CHUNK))
    finally:
        pool.shutdown(cancel_futures=True)
