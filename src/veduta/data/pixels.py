"""Every image decoded and resized once, and kept by its content.

The second run on the same data reads files only to hash them. What cannot be decoded is named and
left out; nothing ever stands in for it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from veduta.data.decode import DECODER
from veduta.data.inspect.traits import Traits, known_traits, rows_of, sight_of, trait_store
from veduta.data.making import Progress, Wanted, make_rows, silent
from veduta.data.reading import Outcome
from veduta.data.resize import Resize
from veduta.data.rows import Rows, RowStore
from veduta.data.sample import Sample
from veduta.errors import DecodeError

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
