"""Decode and resize every image once; keep the pixels in the cache, keyed by content."""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from veduta.data.decode import DECODER, Picture, calm, picture_of
from veduta.data.files import Outcome, Reader, in_chunks
from veduta.data.resize import Resize
from veduta.data.row_store import Block, Rows, RowStore
from veduta.data.sample import Sample
from veduta.data.traits import Traits, known_traits, rows_of, sight_of, trait_store
from veduta.errors import DecodeError

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of every image, and where its row is kept.

    Attributes:
        store: Of the rows.
        make: A picture to its row, in one of the threads.
        finish: Where there is more to do that many images share: `make` gives what it needs, and
            this makes of several such their rows.
    """

    store: RowStore
    make: Callable[[Picture], Any]
    finish: Callable[[Sequence[Any]], Iterable[NDArray[Any]]] | None = None


def silent(done: int, total: int) -> None:
    """No progress shown."""


def make_rows(
    samples: Sequence[Sample],
    wanted: Sequence[Wanted],
    *,
    progress: Progress = silent,
    threads: int,
) -> tuple[list[Outcome], list[frozenset[str]]]:
    """Fill the stores of `wanted` with the rows of `samples`.

    Args:
        samples: Files to read; their order is the order of the result.
        wanted: At least one; each is made from the same decoding.
        progress: Called with (files done, files in all).
        threads: How many threads read and decode; they do not change the result.

    Returns:
        For each sample the SHA-256 of its file, under which its rows are, or why it has none; for
        each of `wanted` the keys that were not in its store.

    Raises:
        InputError: the disk has no room for the rows, or the cache cannot be written.
    """
    known = frozenset.intersection(*(frozenset(one.store.known()) for one in wanted))
    reader = Reader(known)
    outcomes: list[Outcome] = []
    done = 0
    for found in in_chunks(reader.digest, [sample.path for sample in samples], threads):
        outcomes += found
        done += sum(isinstance(one, DecodeError) or one in known for one in found)
        progress(done, len(samples))
    sources: dict[str, list[Path]] = defaultdict(list)
    for sample, outcome in zip(samples, outcomes, strict=True):
        if isinstance(outcome, str):
            sources[outcome].append(sample.path)
    failures: dict[str, DecodeError] = {}
    with ExitStack() as stack:
        stack.enter_context(calm())
        blocks = [stack.enter_context(one.store.fill(list(sources))) for one in wanted]
        jobs = [_Job(one, block) for one, block in zip(wanted, blocks, strict=True)]
        making = _filled(jobs, reader, sources, threads)
        for made in stack.enter_context(closing(making)):
            failures |= {key: error for key, error, _ in made if error}
            done += sum(len(sources[key]) for key, _, _ in made)
            progress(done, len(samples))
    outcomes = [failures.get(one, one) if isinstance(one, str) else one for one in outcomes]
    return outcomes, [frozenset(block.keys) for block in blocks]


@final
class _Job:
    """One of the wanted, and the block that its missing rows go to."""

    def __init__(self, wanted: Wanted, block: Block) -> None:
        self.places = {key: index for index, key in enumerate(block.keys)}
        self._wanted, self._block = wanted, block

    def take(self, key: str, picture: Picture) -> object:
        """Write the row of a picture, where it is missing; or give what is to be finished."""
        if key not in self.places:
            return None
        made = self._wanted.make(picture)
        if self._wanted.finish is not None:
            return made
        self._block.write(self.places[key], made)
        return None

    def finish(self, made: Mapping[str, object]) -> None:
        """Write the rows of what was given, by key."""
        if made and self._wanted.finish is not None:
            rows = self._wanted.finish(list(made.values()))
            for key, row in zip(made, rows, strict=True):
                self._block.write(self.places[key], row)

    def drop(self, key: str) -> None:
        """There is no row for a key."""
        if key in self.places:
            self._block.drop(self.places[key])


Made = tuple[str, DecodeError | None, list[object]]
"""Of a key: why it has no rows, where it has none, and what each job has to finish."""


def _filled(
    jobs: Sequence[_Job], reader: Reader, sources: Mapping[str, Sequence[Path]], threads: int
) -> Generator[list[Made], None, None]:
    """Fill the rows of `jobs`; yields what came of each key."""

    def make(key: str) -> Made:
        try:
            picture = picture_of(reader.content(sources[key], key))
        except DecodeError as error:
            for job in jobs:
                job.drop(key)
            return key, error, [None] * len(jobs)
        return key, None, [job.take(key, picture) for job in jobs]

    def finish(chunk: list[Made]) -> list[Made]:
        for number, job in enumerate(jobs):
            job.finish({key: made[number] for key, _, made in chunk if made[number] is not None})
        return [(key, error, []) for key, error, _ in chunk]

    keys = [key for key in sources if any(key in job.places for job in jobs)]
    return in_chunks(make, keys, threads, finish=finish, name=lambda key: sources[key][0])


LEFT_OUT = "left out"

__all__ = ["Image", "Pixels", "Rejection", "Resize", "gathered", "load_pixels", "pixel_store"]


@dataclass(frozen=True, slots=True)
class Image:
    """A sample that was read.

    Attributes:
        sample: Where it is, and what it is said to be.
        digest: SHA-256 of its file, in hexadecimal.
        traits: What the gate saw of it; None where it was not looked at.
    """

    sample: Sample
    digest: str
    traits: Traits | None = None

    @property
    def content(self) -> str:
        """What identical images share: that of decoded pixels; of the file, if not looked at."""
        return self.traits.pixels if self.traits else self.digest


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line of `rejected.csv`: which file, what is wrong with it, what was done."""

    name: str
    problem: str
    detail: str
    action: str = LEFT_OUT


@dataclass(frozen=True, slots=True)
class Pixels:
    """Images that could be read, with their pixels.

    Attributes:
        images: In the order of the samples, with their traits.
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


def pixel_store(resize: Resize, cache: Path) -> RowStore:
    """Where images resized like this are kept: uint8 (size, size, 3), by the file's SHA-256."""
    shape = (resize.size, resize.size, 3)
    spec = {"decoder": DECODER, **asdict(resize)}
    return RowStore(cache, "pixels", spec, shape=shape, dtype="uint8")


def load_pixels(
    samples: Sequence[Sample],
    resize: Resize,
    *,
    cache: Path,
    progress: Progress = silent,
    threads: int,
) -> Pixels:
    """The pixels and traits of `samples`, from the cache where their content is known.

    Args:
        samples: Files to read; their order is the order of the result.
        resize: To which size, and how.
        cache: The folder of the cache.
        progress: Called with (files done, files in all).
        threads: How many threads read and decode; they do not change the result.

    Raises:
        InputError: the disk has no room for the pixels, or the cache cannot be written.
    """
    store, traits = pixel_store(resize, cache), trait_store(cache)
    wanted = [
        Wanted(store, lambda picture: resize(picture.pixels)),
        Wanted(traits, sight_of, rows_of),
    ]
    outcomes, fresh = make_rows(samples, wanted, progress=progress, threads=threads)
    images, rejected = gathered(samples, outcomes, traits)
    decoded = sum(image.digest in fresh[0] for image in images)
    rows = store.rows([image.digest for image in images])
    return Pixels(images, rows, rejected, len(images) - decoded, decoded)


def gathered(
    samples: Sequence[Sample], outcomes: Sequence[Outcome], store: RowStore
) -> tuple[tuple[Image, ...], tuple[Rejection, ...]]:
    """What came of reading `samples`: images with their traits of `store`, and what is left out."""
    read = [(sample, one) for sample, one in zip(samples, outcomes, strict=True)]
    good = [(sample, one) for sample, one in read if isinstance(one, str)]
    traits = known_traits(store, [digest for _, digest in good])
    images = tuple(
        Image(sample, digest, seen) for (sample, digest), seen in zip(good, traits, strict=True)
    )
    rejected = tuple(
        Rejection(sample.name, one.problem, one.detail)
        for sample, one in read
        if isinstance(one, DecodeError)
    )
    return images, rejected
