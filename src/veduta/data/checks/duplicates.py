"""Find identical images by their pixels, and similar images by their perceptual hashes.

The search for similar images cuts hashes into bands: if two hashes differ in at most d bits, at
least one of d + 1 bands is equal (M. Norouzi et al., "Fast Search in Hamming Space with Multi-Index
Hashing", CVPR 2012), so only hashes with an equal band are compared, and no pair is missed. Frames
of a video are all similar: each image keeps only its nearest neighbors, and the number of
comparisons per image is bounded, so that memory and time grow linearly with the number of images.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import final

import numpy as np

from veduta.data.checks.findings import (
    CONFLICT,
    DUPLICATE,
    KEPT,
    LEAK,
    MORE_SIMILAR,
    NEAR,
    PREDICT_COPY,
    Finding,
    describe_dropped_copies,
)
from veduta.data.pixels import Image
from veduta.data.sample import LABELED_SPLITS, PREDICT, Sample
from veduta.data.traits import BITS, THUMBNAIL_SIDE, Traits
from veduta.types import BoolArray, IndexArray, KeyArray

MAX_DISTANCE = 8  # differing bits, of 64, between the hashes of similar images
MAX_COLOR_DIFFERENCE = 20.0  # mean absolute difference in level between their thumbnails
MIN_CONTRAST = 4.0  # below this contrast a hash is noise
PAIRS_PER_BLOCK = 2**14  # pairs whose thumbnails are compared at a time
MAX_NEIGHBORS = 8  # neighbors that an image is paired with, the nearest first
MAX_COMPARISONS = 1024  # per image and band; twice the number expected by chance if that is larger
UNUSED_RANK = 1000  # greater than the rank of any neighbor

Rank = Callable[[IndexArray, IndexArray], IndexArray]
"""Returns the priority of pairs of images: 0 before 1; pairs with a negative number are ignored."""

Confirm = Callable[[IndexArray, IndexArray], BoolArray]
"""Returns which pairs of images with similar hashes are similar images."""


def group_copies(images: Sequence[Image]) -> list[list[Image]]:
    """Return the groups of at least two images with the same decoded pixels, sorted by name."""
    images_by_content: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        images_by_content[image.content].append(image)
    copies = [sorted(group, key=_get_name) for group in images_by_content.values()]
    return sorted((c for c in copies if len(c) > 1), key=lambda group: _get_name(group[0]))


def classify_copies(samples: Sequence[Sample]) -> list[str]:
    """Return the problems of samples that are the same image: leak, conflict, or duplicate.

    Images to be predicted are neither evaluated nor labeled, and cause neither leak nor conflict.
    """
    splits = {sample.split for sample in samples} - {PREDICT}
    labels = {sample.label for sample in samples} - {None}
    problems = [LEAK] * (len(splits) > 1) + [CONFLICT] * (len(labels) > 1)
    return problems or [DUPLICATE]


def find_conflicting_names(images: Sequence[Image]) -> frozenset[str]:
    """Return the names of all images that have an identical image with another label."""
    groups = [[image.sample for image in group] for group in group_copies(images)]
    conflicts = [group for group in groups if CONFLICT in classify_copies(group)]
    return frozenset(sample.name for group in conflicts for sample in group)


def drop_earlier_copies(images: Sequence[Image]) -> list[Image]:
    """Return the images without the copies that training drops.

    Of identical images, those in the last of `LABELED_SPLITS` are kept.
    """
    ranks = [
        LABELED_SPLITS.index(split) if (split := image.sample.split) in LABELED_SPLITS else -1
        for image in images
    ]
    last_rank: dict[str, int] = {}
    for image, rank in zip(images, ranks, strict=True):
        last_rank[image.content] = max(rank, last_rank.get(image.content, -1))
    return [
        image
        for image, rank in zip(images, ranks, strict=True)
        if rank in {-1, last_rank[image.content]}
    ]


def find_duplicates(images: Sequence[Image], *, keep_leaks: bool = False) -> list[Finding]:
    """Return the problems of each group of identical images: one, or a leak and a conflict.

    If at most one image of a group is labeled, the others are to be predicted, which is harmless.
    """
    findings = []
    for group in group_copies(images):
        samples = tuple(image.sample for image in group)
        labeled = [sample for sample in samples if sample.split != PREDICT]
        for problem in classify_copies(samples) if len(labeled) > 1 else [PREDICT_COPY]:
            difference = _describe_difference(problem, samples)
            detail = f"{len(samples)} files with the same pixels{difference}"
            splits = {sample.split for sample in samples}
            is_dropped = problem == LEAK and not keep_leaks
            action = describe_dropped_copies(splits) if is_dropped else KEPT
            findings.append(Finding(problem, samples, detail, action))
    return findings


def find_near_duplicates(
    images: Sequence[Image],
    original_samples: Mapping[str, Sample] | None = None,
) -> list[Finding]:
    """Return a finding for each pair of images that are similar but not identical.

    Each image is paired with its nearest neighbors, those of another split or label first; a
    further finding says that there are more. The result does not depend on the order of `images`.

    Args:
        images: images with traits.
        original_samples: the samples by name before Veduta assigned splits to `images`; similar
            images that only this assignment separates are no leak.
    """
    hashed = sorted(
        (i for i in images if i.traits and i.traits.contrast >= MIN_CONTRAST), key=_get_name
    )
    traits = [image.traits for image in hashed if image.traits]
    samples = [image.sample for image in hashed]
    originals = [original_samples[s.name] for s in samples] if original_samples else samples
    pairs, further_counts = find_similar_pairs(
        np.array([trait.perceptual_hash for trait in traits], np.uint64),
        MAX_DISTANCE,
        rank=_build_rank(originals, samples, [trait.pixel_digest for trait in traits]),
        confirm=_build_color_comparison(traits),
    )
    findings = []
    for i, j, distance in pairs.tolist():
        original_pair, pair = (originals[i], originals[j]), (samples[i], samples[j])
        for problem in classify_copies(original_pair):
            difference = _describe_difference(problem, original_pair)
            if problem == DUPLICATE and LEAK in classify_copies(pair):
                difference = f", assigned to different splits{_describe_difference(LEAK, pair)}"
            detail = f"similar images{difference}: {distance} of {BITS} bits differ"
            findings.append(Finding(NEAR[problem], pair, detail, KEPT, distance))
    if further_counts.any():
        detail = f"the {MAX_NEIGHBORS} nearest neighbors of each image are listed; "
        detail += f"there are about {int(further_counts.sum()) // 2:,} further pairs"
        with_further = tuple(samples[index] for index in np.flatnonzero(further_counts))
        findings.append(Finding(MORE_SIMILAR, with_further, detail))
    return findings


def _build_rank(
    originals: Sequence[Sample], samples: Sequence[Sample], contents: Sequence[str]
) -> Rank:
    """Return a function that ranks leaks and conflicts first, then pairs in different splits.

    Pairs of identical images have the rank -1.
    """
    content, label = _number_values(contents), _number_values([s.label for s in originals])
    original_split = _number_values([sample.split for sample in originals])
    split = _number_values([sample.split for sample in samples])
    to_predict = np.array([sample.split == PREDICT for sample in originals], bool)
    unlabeled = np.array([sample.label is None for sample in originals], bool)

    def rank(left: IndexArray, right: IndexArray) -> IndexArray:
        evaluated = ~(to_predict[left] | to_predict[right])
        is_error = evaluated & (original_split[left] != original_split[right])
        is_error |= ~(unlabeled[left] | unlabeled[right]) & (label[left] != label[right])
        is_separated = evaluated & (split[left] != split[right])
        ranks = np.where(is_error, 0, np.where(is_separated, 1, 2))
        return np.where(content[left] == content[right], -1, ranks)

    return rank


def _number_values(values: Sequence[str | None]) -> IndexArray:
    """Return a number for each value; equal values have equal numbers."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], np.intp)


def _build_color_comparison(traits: Sequence[Traits]) -> Confirm:
    """Return a function that compares thumbnails, because a perceptual hash ignores color."""
    levels = np.frombuffer(b"".join(trait.thumbnail for trait in traits), np.uint8)
    thumbnails = levels.reshape(len(traits), 3 * THUMBNAIL_SIDE * THUMBNAIL_SIDE)

    def confirm(left: IndexArray, right: IndexArray) -> BoolArray:
        differences = [np.empty(0)]
        for start in range(0, len(left), PAIRS_PER_BLOCK):
            block = slice(start, start + PAIRS_PER_BLOCK)
            difference = thumbnails[left[block]].astype(np.int16) - thumbnails[right[block]]
            differences.append(abs(difference).mean(1))
        return np.concatenate(differences) <= MAX_COLOR_DIFFERENCE

    return confirm


def _describe_difference(problem: str, samples: Sequence[Sample]) -> str:
    """Return the splits of a leak or the labels of a conflict as the end of a sentence."""
    if problem == LEAK:
        return f" in {_join_words({str(sample.split) for sample in samples} - {PREDICT})}"
    if problem == CONFLICT:
        return f" labeled {_join_words({s.label for s in samples if s.label is not None})}"
    return ""


def _join_words(words: set[str]) -> str:
    """Return the sorted words with commas, and "and" before the last."""
    *others, last = sorted(words)
    return f"{', '.join(others)} and {last}" if others else last


def _get_name(image: Image) -> str:
    return image.sample.name


def find_similar_pairs(
    hashes: KeyArray,
    max_distance: int,
    *,
    max_neighbors: int = MAX_NEIGHBORS,
    rank: Rank | None = None,
    confirm: Confirm | None = None,
) -> tuple[IndexArray, IndexArray]:
    """Return the pairs of hashes that differ in at most `max_distance` bits.

    Args:
        hashes: (N,); their order decides between neighbors of equal rank and distance.
        max_distance: number of bits.
        max_neighbors: number of neighbors that an image keeps: the nearest, by rank and then by
            distance. A pair is returned if one of its two images keeps it: at most
            `max_neighbors` * N pairs.
        rank: priority of a pair, before distance; called with all pairs within the distance.
        confirm: called with the pairs that would be kept.

    Returns:
        The pairs (n, 3): smaller index, larger index, distance; and the number of further
        neighbors of each image (N,), 0 for all if no image has more than `max_neighbors`.

    >>> hashes = np.array([0b0000, 0b0111, 0b1111, 0b0111], np.uint64)
    >>> pairs, further_counts = find_similar_pairs(hashes, 1)
    >>> pairs.tolist(), further_counts.tolist()
    ([[1, 2, 1], [1, 3, 0], [2, 3, 1]], [0, 0, 0, 0])
    """
    nearest = _NearestNeighbors(len(hashes), max_neighbors)
    counts = np.zeros(len(hashes), np.intp)
    for pairs in _iterate_close_pairs(hashes, max_distance):
        if rank is not None:
            pairs[2] += (BITS + 1) * rank(pairs[0], pairs[1])
        close = pairs[:, pairs[2] >= 0]
        kept = nearest.accepts(close[0], close[2]) | nearest.accepts(close[1], close[2])
        if confirm is not None and kept.any():
            denied = np.flatnonzero(kept)[~confirm(*close[:2, kept])]
            close, kept = np.delete(close, denied, axis=1), np.delete(kept, denied)
        left, right, ranks = close[:, kept]
        nearest.add(left, right, ranks)
        nearest.add(right, left, ranks)
        counts[close[0]] += 1  # no image occurs twice on one side
        counts[close[1]] += 1
    left, right = nearest.list_pairs()
    counts -= np.bincount(np.concatenate([left, right]), minlength=len(hashes))
    distances = np.bitwise_count(hashes[left] ^ hashes[right]).astype(np.intp)
    return np.stack([left, right, distances], axis=1), counts


@final
class _NearestNeighbors:
    """The `max_neighbors` nearest neighbors of each of `count` images."""

    def __init__(self, count: int, max_neighbors: int) -> None:
        self._neighbors = np.zeros((count, max_neighbors), np.int32)
        self._ranks = np.full((count, max_neighbors), UNUSED_RANK, np.int16)
        self._worst_ranks = np.full(count, UNUSED_RANK, np.int16)

    def accepts(self, images: IndexArray, ranks: IndexArray) -> BoolArray:
        """Return which images would keep a neighbor with the given rank."""
        return ranks < self._worst_ranks[images]

    def add(self, images: IndexArray, neighbors: IndexArray, ranks: IndexArray) -> None:
        """Add a neighbor to each image that accepts it; no image may occur twice."""
        accepted = self.accepts(images, ranks)
        images = images[accepted]
        column = self._ranks[images].argmax(axis=1)  # the first of the worst or unused ones
        self._neighbors[images, column] = neighbors[accepted]
        self._ranks[images, column] = ranks[accepted]
        self._worst_ranks[images] = self._ranks[images].max(axis=1)

    def list_pairs(self) -> IndexArray:
        """Return the pairs (2, n), each once with the smaller index first, sorted."""
        images, column = np.nonzero(self._ranks < UNUSED_RANK)
        neighbors = self._neighbors[images, column].astype(np.intp)
        pairs = np.sort(np.stack([images, neighbors]), axis=0)
        distinct: IndexArray = np.unique(pairs, axis=1) if pairs.size else pairs
        return distinct


def _list_bands(count: int) -> Iterator[tuple[int, int]]:
    """Yield (lowest bit, mask) of each of `count` bands of nearly equal width."""
    edges = [round(BITS * index / count) for index in range(count + 1)]
    for low, high in pairwise(edges):
        yield low, (1 << (high - low)) - 1


def _iterate_close_pairs(hashes: KeyArray, max_distance: int) -> Iterator[IndexArray]:
    """Yield blocks (3, n) of left index, right index, distance, with each close pair once.

    Sorted by a band and then by the whole hash, hashes with an equal band are adjacent: each is
    compared with the next one, then with the second next, until no hash at that offset has an
    equal band, or the maximum number of comparisons is reached. A pair belongs to the first of its
    equal bands. No image occurs twice on one side of a block.
    """
    bands = list(_list_bands(max_distance + 1))
    max_offset = max(MAX_COMPARISONS, 2 * len(hashes) >> (BITS // (max_distance + 1)))
    for number, band in enumerate(bands):
        key = _extract_band(hashes, band)
        order = np.lexsort((hashes, key))
        key, value = key[order], hashes[order]
        positions = np.arange(len(order))
        for offset in range(1, max_offset + 1):
            positions = positions[: np.searchsorted(positions, len(order) - offset)]
            positions = positions[key[positions] == key[positions + offset]]
            if not len(positions):
                break
            difference = value[positions] ^ value[positions + offset]
            distances = np.bitwise_count(difference)
            close = np.flatnonzero(distances <= max_distance)
            for earlier_band in bands[:number]:
                close = close[_extract_band(difference[close], earlier_band) != 0]
            if len(close):
                left, right = order[positions[close]], order[positions[close] + offset]
                yield np.stack([left, right, distances[close].astype(np.intp)])


def _extract_band(hashes: KeyArray, band: tuple[int, int]) -> KeyArray:
    """Return the bits of a band, shifted to the lowest bits."""
    low, mask = band
    bits: KeyArray = (hashes >> np.uint64(low)) & np.uint64(mask)
    return bits
