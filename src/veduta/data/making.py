"""Files to rows of the cache, each decoded once, whatever is wanted of it.

Whether a file must be decoded at all is known when it has been hashed: what the cache holds of its
content is not made again.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from veduta.data.decode import calm, picture_of
from veduta.data.picture import Picture
from veduta.data.reading import Outcome, Reader, in_chunks
from veduta.data.rows import Block, RowStore
from veduta.data.sample import Sample
from veduta.errors import DecodeError

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of every image: where its row is kept, and how it is made."""

    store: RowStore
    make: Callable[[Picture], NDArray[Any]]


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
        making = _filled(wanted, blocks, reader, sources, threads)
        for made in stack.enter_context(closing(making)):
            failures |= {key: error for key, error in made if error}
            done += sum(len(sources[key]) for key, _ in made)
            progress(done, len(samples))
    outcomes = [failures.get(one, one) if isinstance(one, str) else one for one in outcomes]
    return outcomes, [frozenset(block.keys) for block in blocks]


def _filled(
    wanted: Sequence[Wanted],
    blocks: Sequence[Block],
    reader: Reader,
    sources: Mapping[str, Sequence[Path]],
    threads: int,
) -> Generator[list[tuple[str, DecodeError | None]], None, None]:
    """Fill the rows of `blocks`; yields each key, and why it has no row where it has none."""
    places = [{key: index for index, key in enumerate(block.keys)} for block in blocks]
    keys = [key for key in sources if any(key in place for place in places)]

    def make(key: str) -> tuple[str, DecodeError | None]:
        todo = [one for one in zip(wanted, blocks, places, strict=True) if key in one[2]]
        try:
            picture = picture_of(reader.content(sources[key], key))
        except DecodeError as error:
            for _, block, place in todo:
                block.drop(place[key])
            return key, error
        for one, block, place in todo:
            block.write(place[key], one.make(picture))
        return key, None

    return in_chunks(make, keys, threads)
