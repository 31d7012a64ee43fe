"""Every image decoded and resized once, and kept by its content.

The second run on the same data reads files only to hash them. What cannot be decoded is named and
left out; nothing ever stands in for it.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from veduta.data.decode import DECODER, calm, decode
from veduta.data.reading import Outcome, Reader, in_chunks
from veduta.data.resize import Resize
from veduta.data.rows import Block, Rows, RowStore
from veduta.data.sample import Sample
from veduta.errors import DecodeError

LEFT_OUT = "left out"

__all__ = ["Image", "Pixels", "Rejection", "Resize", "load_pixels", "pixel_store"]

Progress = Callable[[int, int], None]


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
    store = pixel_store(resize, cache)
    known = store.known()
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
    with (
        calm(),
        store.fill(list(sources)) as block,
        closing(_decode_into(block, reader, sources, resize, threads)) as chunks,
    ):
        for made in chunks:
            failures |= {key: error for key, error in made if error}
            done += sum(len(sources[key]) for key, _ in made)
            progress(done, len(samples))
    outcomes = [failures.get(one, one) if isinstance(one, str) else one for one in outcomes]
    return _gather(samples, outcomes, set(block.keys), store)


def _decode_into(
    block: Block,
    reader: Reader,
    sources: Mapping[str, Sequence[Path]],
    resize: Resize,
    threads: int,
) -> Generator[list[tuple[str, DecodeError | None]], None, None]:
    """Fill the rows of `block`; yields each key, and why it has no row where it has none."""

    def place(index: int) -> tuple[str, DecodeError | None]:
        key = block.keys[index]
        try:
            block.write(index, resize(decode(reader.content(sources[key], key))))
        except DecodeError as error:
            block.drop(index)
            return key, error
        return key, None

    def first_source(index: int) -> Path:
        return sources[block.keys[index]][0]

    return in_chunks(place, range(len(block.keys)), threads, name=first_source)


def _gather(
    samples: Sequence[Sample], outcomes: Sequence[Outcome], fresh: Set[str], store: RowStore
) -> Pixels:
    images, rejected = [], []
    for sample, outcome in zip(samples, outcomes, strict=True):
        if isinstance(outcome, DecodeError):
            rejected.append(Rejection(sample.name, outcome.problem, outcome.detail))
        else:
            images.append(Image(sample, outcome))
    decoded = sum(image.digest in fresh for image in images)
    rows = store.rows([image.digest for image in images])
    return Pixels(tuple(images), rows, tuple(rejected), len(images) - decoded, decoded)
