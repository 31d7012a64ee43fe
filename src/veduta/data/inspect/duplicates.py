"""Images that stand in the data more than once: identical ones, and ones that look alike."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from veduta.data.inspect.findings import CONFLICT, DUPLICATE, KEPT, LEAK, NEAR, Finding, dropped
from veduta.data.inspect.hashing import alike
from veduta.data.inspect.traits import THUMB, Traits
from veduta.data.pixels import Image
from veduta.data.sample import Sample

DISTANCE = 8  # bits of 64 in which the hashes of images that look alike may differ
COLOURS = 20.0  # levels in which their thumbnails may differ, in the mean
FLAT = 4.0  # contrast below which a hash is noise
PART = 2**16  # pairs compared at a time

Confirm = Callable[[Sequence[tuple[Image, Image]]], Sequence[bool]]
"""Whether the images of each pair are alike, asked of somebody who knows more than hashes."""


def copies(images: Sequence[Image]) -> list[list[Image]]:
    """Groups of images with the same decoded pixels, two at least, each sorted by name."""
    groups: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        groups[image.content].append(image)
    found = [sorted(same, key=_name) for same in groups.values() if len(same) > 1]
    return sorted(found, key=lambda group: _name(group[0]))


def kinds(samples: Sequence[Sample]) -> list[str]:
    """What it means that these samples are one image: leak and conflict, either, or a duplicate.

    Images that are to be predicted are neither judged by nor labelled: they make neither.
    """
    splits = {sample.split for sample in samples} - {"predict"}
    labels = {sample.label for sample in samples} - {None}
    found = [LEAK] * (len(splits) > 1) + [CONFLICT] * (len(labels) > 1)
    return found or [DUPLICATE]


def conflicting(images: Sequence[Image]) -> frozenset[str]:
    """The names of all images of which an identical one has another label."""
    groups = [[image.sample for image in group] for group in copies(images)]
    return frozenset(s.name for group in groups if CONFLICT in kinds(group) for s in group)


def exact_findings(images: Sequence[Image], *, keep_leaks: bool = False) -> list[Finding]:
    """A finding for each group of identical images; two where it is a leak and a conflict."""
    findings = []
    for group in copies(images):
        samples = tuple(image.sample for image in group)
        for problem in kinds(samples):
            detail = f"{len(samples)} files with the same pixels{_among(problem, samples)}"
            drops = problem == LEAK and not keep_leaks
            action = dropped({sample.split for sample in samples}) if drops else KEPT
            findings.append(Finding(problem, samples, detail, action))
    return findings


def near_findings(images: Sequence[Image], confirm: Confirm | None = None) -> list[Finding]:
    """A finding for each pair of images that look alike and are not identical.

    Args:
        images: With their traits.
        confirm: Asked about the pairs whose hashes and thumbnails are close; what it denies is no
            finding.
    """
    shaped = [(image, image.traits) for image in images if image.traits]
    shaped = [(image, traits) for image, traits in shaped if traits.contrast >= FLAT]
    hashes = np.array([traits.look for _, traits in shaped], np.uint64)
    pairs = alike(hashes, DISTANCE)
    pairs = pairs[_same_colours([traits for _, traits in shaped], pairs[:, 0], pairs[:, 1])]
    close = [
        (shaped[i][0], shaped[j][0], int(bits))
        for i, j, bits in pairs.tolist()
        if shaped[i][0].content != shaped[j][0].content
    ]
    if confirm is not None and close:
        said = confirm([(one, other) for one, other, _ in close])
        close = [pair for pair, yes in zip(close, said, strict=True) if yes]
    findings = []
    for one, other, bits in close:
        samples = tuple(sorted((one.sample, other.sample), key=lambda sample: sample.name))
        for problem in kinds(samples):
            detail = f"they look alike{_among(problem, samples)}: {bits} of 64 bits differ"
            findings.append(Finding(NEAR[problem], samples, detail, KEPT, bits))
    return findings


def _same_colours(
    traits: Sequence[Traits], one: NDArray[np.intp], other: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Whether the thumbnails of each pair are close: a hash knows shapes, and no colours."""
    thumbs = np.frombuffer(b"".join(t.thumbnail for t in traits), np.uint8)
    thumbs = thumbs.reshape(len(traits), 3 * THUMB * THUMB).astype(np.int16)
    parts = [
        abs(thumbs[one[start : start + PART]] - thumbs[other[start : start + PART]]).mean(1)
        for start in range(0, len(one), PART)
    ]
    return np.concatenate([np.empty(0), *parts]) <= COLOURS


def _among(problem: str, samples: Sequence[Sample]) -> str:
    """Where they stand, as far as that is the problem."""
    if problem == LEAK:
        return f" in {_listed({str(s.split) for s in samples} - {'predict'})}"
    if problem == CONFLICT:
        return f" labelled {_listed({s.label for s in samples if s.label is not None})}"
    return ""


def _listed(words: set[str]) -> str:
    *others, last = sorted(words)
    return f"{', '.join(others)} and {last}" if others else last


def _name(image: Image) -> str:
    return image.sample.name
