"""Decode and resize every image once, and keep the pixels in the cache, keyed by content.

`load_pixels` is for data sets, which are used more than once; `decode_samples` decodes images
without the cache, for prediction, explanation and the pictures of reports.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from veduta.data.decode import (
    DECODER,
    DecodedFile,
    decode,
    decode_with_properties,
    filter_pillow_warnings,
    read_file,
)
from veduta.data.files import DigestOrError, FileReader, map_in_chunks
from veduta.data.row_store import Block, Rows, RowStore
from veduta.data.sample import Sample
from veduta.data.traits import (
    Traits,
    compute_trait_rows,
    load_traits,
    measure_partial_traits,
    open_trait_store,
)
from veduta.errors import DecodeError
from veduta.runtime.environment import count_cores
from veduta.runtime.streams import derive_key, derive_sample_keys, shuffle
from veduta.types import PixelArray, Progress, ignore_progress

LEFT_OUT = "left out"


@final
@dataclass(frozen=True, slots=True)
class Resize:
    """Resize an image to a square of `size` pixels per side, with antialiasing.

    Training, evaluation and prediction all use it, so that a model sees images resized as those it
    was trained on.

    Attributes:
        size: pixels per side.
        filter: filter of Pillow: nearest, box, bilinear, hamming, bicubic or lanczos.
        fit: "squash" uses the whole image; "crop" uses the largest centered square (the shorter
            side is scaled to `size`, the rest is cut off).
    """

    size: int
    filter: str = "bicubic"
    fit: str = "squash"

    def __call__(self, pixels: PixelArray) -> PixelArray:
        """Return (H, W, 3) as (size, size, 3); an image of that size is returned unchanged."""
        height, width = pixels.shape[:2]
        if (height, width) == (self.size, self.size):
            return pixels
        left = top = 0.0
        if self.fit == "crop":  # crops before scaling, so that a strip of 1 x 20000 stays small
            shorter = min(height, width)
            left, top = (width - shorter) / 2, (height - shorter) / 2
        box = (left, top, width - left, height - top)
        method = PillowImage.Resampling[self.filter.upper()]
        image = PillowImage.fromarray(pixels).resize((self.size, self.size), method, box)
        return np.asarray(image)


@dataclass(frozen=True, slots=True)
class Image:
    """A readable image file.

    Attributes:
        sample: path, label and split.
        digest: SHA-256 of the file, in hexadecimal.
        traits: properties for the data checks; None if they were not measured.
    """

    sample: Sample
    digest: str
    traits: Traits | None = None

    @property
    def content(self) -> str:
        """A digest that identical images share: of the pixels, or of the file without traits."""
        return self.traits.pixel_digest if self.traits else self.digest


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row of `rejected.csv`: the name of a file, what is wrong with it, and the action taken."""

    name: str
    problem: str
    detail: str
    action: str = LEFT_OUT


@final
@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image file.

    Attributes:
        sample: the file.
        digest: SHA-256 of its content, in hexadecimal.
        pixels: uint8 (height, width, 3), after the transform of `decode_samples`.
    """

    sample: Sample
    digest: str
    pixels: PixelArray


def decode_samples(
    samples: Sequence[Sample], transform: Callable[[PixelArray], PixelArray]
) -> Iterator[DecodedImage | Rejection]:
    """Yield each image in the order of the samples, or the reason why it cannot be decoded.

    Threads decode ahead of the consumer by a bounded number of images.

    Args:
        samples: the files.
        transform: applied to the pixels (height, width, 3) in the same thread, such as `Resize`.
    """

    def decode_sample(sample: Sample) -> DecodedImage | Rejection:
        try:
            data = read_file(sample.path)
            digest = hashlib.sha256(data).hexdigest()
            return DecodedImage(sample, digest, transform(decode(data)))
        except DecodeError as error:
            return Rejection(sample.name, error.problem, error.detail)

    with closing(map_in_chunks(decode_sample, samples, count_cores())) as chunks:
        for chunk in chunks:
            yield from chunk


@final
@dataclass(frozen=True, slots=True)
class RowKind:
    """A kind of row that is computed from every image, and the store that keeps it.

    Attributes:
        store: store of the rows.
        compute: computes the row of a decoded file, in one of the threads.
        finish: if some work is shared by many images, `compute` returns intermediate results, and
            this function computes the rows of several of them.
    """

    store: RowStore
    compute: Callable[[DecodedFile], Any]
    finish: Callable[[Sequence[Any]], Iterable[NDArray[Any]]] | None = None


def fill_stores(
    samples: Sequence[Sample],
    kinds: Sequence[RowKind],
    *,
    progress: Progress = ignore_progress,
    threads: int,
) -> tuple[list[DigestOrError], list[frozenset[str]]]:
    """Compute the missing rows of `samples` and keep them in the stores.

    Args:
        samples: files to read; their order is the order of the result.
        kinds: at least one; a file is decoded once for all of them.
        progress: called with the number of files done and of all files.
        threads: number of threads that read and decode; the result does not depend on it.

    Returns:
        The SHA-256 of each file, which is the key of its rows, or the reason why it has none; and
        the keys that were missing in each store.

    Raises:
        InputError: the disk has no space for the rows, or the cache cannot be written.
    """
    complete = frozenset.intersection(*(frozenset(kind.store.find_keys()) for kind in kinds))
    reader = FileReader(complete)
    outcomes: list[DigestOrError] = []
    done = 0
    paths = [sample.path for sample in samples]
    for digests in map_in_chunks(reader.compute_digest, paths, threads):
        outcomes += digests
        done += sum(isinstance(item, DecodeError) or item in complete for item in digests)
        progress(done, len(samples))
    paths_by_digest: dict[str, list[Path]] = defaultdict(list)
    for sample, outcome in zip(samples, outcomes, strict=True):
        if isinstance(outcome, str):
            paths_by_digest[outcome].append(sample.path)
    failures: dict[str, DecodeError] = {}
    with ExitStack() as stack:
        stack.enter_context(filter_pillow_warnings())
        blocks = [stack.enter_context(kind.store.fill(list(paths_by_digest))) for kind in kinds]
        writers = [_RowWriter(kind, block) for kind, block in zip(kinds, blocks, strict=True)]
        chunks = _write_rows(writers, reader, paths_by_digest, threads)
        for chunk in stack.enter_context(closing(chunks)):
            failures |= {key: error for key, error, _ in chunk if error}
            done += sum(len(paths_by_digest[key]) for key, _, _ in chunk)
            progress(done, len(samples))
    outcomes = [failures.get(item, item) if isinstance(item, str) else item for item in outcomes]
    return outcomes, [frozenset(block.keys) for block in blocks]


@final
class _RowWriter:
    """Writes the missing rows of one kind to the block of its store."""

    def __init__(self, kind: RowKind, block: Block) -> None:
        self.index_by_key = {key: index for index, key in enumerate(block.keys)}
        self._kind, self._block = kind, block

    def write(self, key: str, file: DecodedFile) -> object:
        """Write the row of a file if it is missing; return the result that is to be finished."""
        if key not in self.index_by_key:
            return None
        result = self._kind.compute(file)
        if self._kind.finish is not None:
            return result
        self._block.write(self.index_by_key[key], result)
        return None

    def finish(self, results: Mapping[str, object]) -> None:
        """Compute and write the rows of intermediate results, by key."""
        if results and self._kind.finish is not None:
            rows = self._kind.finish(list(results.values()))
            for key, row in zip(results, rows, strict=True):
                self._block.write(self.index_by_key[key], row)

    def drop(self, key: str) -> None:
        """Leave the row of a key missing."""
        if key in self.index_by_key:
            self._block.drop(self.index_by_key[key])


KeyResult = tuple[str, DecodeError | None, list[object]]
"""A key, why it has no rows (None if it has), and the result of each writer to be finished."""


def _write_rows(
    writers: Sequence[_RowWriter],
    reader: FileReader,
    paths_by_digest: Mapping[str, Sequence[Path]],
    threads: int,
) -> Generator[list[KeyResult], None, None]:
    """Decode the files with missing rows, write the rows, and yield the results by chunk."""

    def write(key: str) -> KeyResult:
        try:
            file = decode_with_properties(reader.read_content(paths_by_digest[key], key))
        except DecodeError as error:
            for writer in writers:
                writer.drop(key)
            return key, error, [None] * len(writers)
        return key, None, [writer.write(key, file) for writer in writers]

    def finish(chunk: list[KeyResult]) -> list[KeyResult]:
        for i, writer in enumerate(writers):
            writer.finish({key: results[i] for key, _, results in chunk if results[i] is not None})
        return [(key, error, []) for key, error, _ in chunk]

    missing = [
        key for key in paths_by_digest if any(key in writer.index_by_key for writer in writers)
    ]
    return map_in_chunks(
        write, missing, threads, finish=finish, get_name=lambda key: paths_by_digest[key][0]
    )


@final
@dataclass(frozen=True, slots=True)
class Pixels:
    """Readable images with their pixels.

    Attributes:
        images: in the order of the samples, with traits.
        rows: uint8 (len(images), size, size, 3), in the order of `images`.
        rejected: the files that cannot be read, in the order of the samples.
        from_cache: number of images whose pixels were in the cache.
        decoded: number of images that were decoded.
    """

    images: tuple[Image, ...]
    rows: Rows
    rejected: tuple[Rejection, ...]
    from_cache: int
    decoded: int


def open_pixel_store(resize: Resize, cache: Path) -> RowStore:
    """Return the cache of resized images: uint8 (size, size, 3), by the SHA-256 of the file."""
    shape = (resize.size, resize.size, 3)
    spec = {"decoder": DECODER, **asdict(resize)}
    return RowStore(cache, "pixels", spec, shape=shape, dtype="uint8")


def load_pixels(
    samples: Sequence[Sample],
    resize: Resize,
    *,
    cache: Path,
    progress: Progress = ignore_progress,
    threads: int,
) -> Pixels:
    """Return the pixels and traits of `samples`, from the cache if their content is known.

    Args:
        samples: files to read; their order is the order of the result.
        resize: applied to every image.
        cache: folder of the cache.
        progress: called with the number of files done and of all files.
        threads: number of threads that read and decode; the result does not depend on it.

    Raises:
        InputError: the disk has no space for the pixels, or the cache cannot be written.
    """
    pixel_store, trait_store = open_pixel_store(resize, cache), open_trait_store(cache)
    kinds = [
        RowKind(pixel_store, lambda file: resize(file.pixels)),
        RowKind(trait_store, measure_partial_traits, compute_trait_rows),
    ]
    outcomes, missing = fill_stores(samples, kinds, progress=progress, threads=threads)
    images, rejected = collect_images(samples, outcomes, trait_store)
    decoded = sum(image.digest in missing[0] for image in images)
    rows = pixel_store.load_rows([image.digest for image in images])
    return Pixels(images, rows, rejected, len(images) - decoded, decoded)


def collect_images(
    samples: Sequence[Sample], outcomes: Sequence[DigestOrError], trait_store: RowStore
) -> tuple[tuple[Image, ...], tuple[Rejection, ...]]:
    """Return the readable images with their traits, and the rejected files."""
    readable, rejected = [], []
    for sample, outcome in zip(samples, outcomes, strict=True):
        if isinstance(outcome, str):
            readable.append((sample, outcome))
        else:
            rejected.append(Rejection(sample.name, outcome.problem, outcome.detail))
    traits = load_traits(trait_store, [digest for _, digest in readable])
    images = (Image(*item, trait) for item, trait in zip(readable, traits, strict=True))
    return tuple(images), tuple(rejected)


def draw_images(images: Sequence[Image], count: int, *, seed: int, purpose: str) -> list[Image]:
    """Draw a random sample of at most `count` images with different content.

    The sample depends on the content of the images, not on their order. Of identical images the one
    with the first name is drawn.

    Args:
        images: images to draw from.
        count: maximum number of images.
        seed: random seed of the run.
        purpose: name of the random stream.
    """
    descending = sorted(images, key=lambda image: image.sample.name, reverse=True)
    distinct = {image.digest: image for image in descending}  # the first name replaces the others
    digests = sorted(distinct)
    order = shuffle(derive_key(seed, purpose), derive_sample_keys(digests))
    return [distinct[digests[index]] for index in order[:count]]
