"""Images that stand in the data more than once: identical ones, and ones that look alike."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from veduta.data.checks.findings import (
    ASKED,
    CONFLICT,
    CROWDED,
    DUPLICATE,
    KEPT,
    LEAK,
    NEAR,
    PARTS,
    Finding,
    dropped,
)
from veduta.data.hashing import MOST, Agree, Numbers, Rank, alike
from veduta.data.pixels import Image
from veduta.data.sample import Sample
from veduta.data.traits import THUMB, Traits

DISTANCE = 8  # bits of 64 in which the hashes of images that look alike may differ
COLOURS = 20.0  # levels in which their thumbnails may differ, in the mean
FLAT = 4.0  # contrast below which a hash is noise
PART = 2**14  # pairs compared at a time


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


def serving(images: Sequence[Image]) -> list[Image]:
    """Without the copies that a training drops: those in the last of `PARTS` stay."""
    ranks = [PARTS.index(i.sample.split) if i.sample.split in PARTS else -1 for i in images]
    top: dict[str, int] = {}
    for image, rank in zip(images, ranks, strict=True):
        top[image.content] = max(rank, top.get(image.content, -1))
    return [
        image for image, rank in zip(images, ranks, strict=True) if rank in {-1, top[image.content]}
    ]


def exact_findings(images: Sequence[Image], *, keep_leaks: bool = False) -> list[Finding]:
    """A finding for each group of identical images; two where it is a leak and a conflict.

    A group in which at most one image serves a training is but asked about, and harms nothing.
    """
    findings = []
    for group in copies(images):
        samples = tuple(image.sample for image in group)
        judged = [sample for sample in samples if sample.split != "predict"]
        for problem in kinds(samples) if len(judged) > 1 else [ASKED]:
            detail = f"{len(samples)} files with the same pixels{_among(problem, samples)}"
            drops = problem == LEAK and not keep_leaks
            action = dropped({sample.split for sample in samples}) if drops else KEPT
            findings.append(Finding(problem, samples, detail, action))
    return findings


def near_findings(
    images: Sequence[Image],
    came: Mapping[str, Sample] | None = None,
) -> list[Finding]:
    """A finding for each pair of images that look alike and are not identical.

    Each image is paired with the few that are nearest to it, those of another split or label
    first; that there are more is a finding as well. The order of `images` changes nothing.

    Args:
        images: With their traits.
        came: The samples by name, as they came, where `images` have been divided since: a division
            of our own makes no leak of what looks alike.
    """
    shaped = sorted((i for i in images if i.traits and i.traits.contrast >= FLAT), key=_name)
    traits = [image.traits for image in shaped if image.traits]
    before = [image.sample if came is None else came[image.sample.name] for image in shaped]
    now = [image.sample for image in shaped]
    pairs, more = alike(
        np.array([one.look for one in traits], np.uint64),
        DISTANCE,
        rank=_ranking(before, now, [one.pixels for one in traits]),
        agree=_same_colours(traits),
    )
    findings = []
    for i, j, bits in pairs.tolist():
        asked, samples = (before[i], before[j]), (now[i], now[j])
        for problem in kinds(asked):
            told = _among(problem, asked)
            if problem == DUPLICATE and LEAK in kinds(samples):
                told = f" and were divided{_among(LEAK, samples)}"
            detail = f"they look alike{told}: {bits} of 64 bits differ"
            findings.append(Finding(NEAR[problem], samples, detail, KEPT, bits))
    if more.any():
        told = f"of each image the {MOST} nearest are named; "
        told += f"there are about {int(more.sum()) // 2:,} pairs more"
        crowd = tuple(now[number] for number in np.flatnonzero(more))
        findings.append(Finding(CROWDED, crowd, told))
    return findings


def _ranking(before: Sequence[Sample], now: Sequence[Sample], contents: Sequence[str]) -> Rank:
    """Pairs that weigh come first, then those in several splits; identical images are none."""
    content, label = _numbered(contents), _numbered([sample.label for sample in before])
    came, split = (_numbered([one.split for one in samples]) for samples in (before, now))
    asked = np.array([sample.split == "predict" for sample in before], bool)
    unknown = np.array([sample.label is None for sample in before], bool)

    def rank(one: Numbers, other: Numbers) -> Numbers:
        judged = ~(asked[one] | asked[other])
        weighs = judged & (came[one] != came[other])
        weighs |= ~(unknown[one] | unknown[other]) & (label[one] != label[other])
        apart = judged & (split[one] != split[other])
        ranks = np.where(weighs, 0, np.where(apart, 1, 2))
        return np.where(content[one] == content[other], -1, ranks)

    return rank


def _numbered(words: Sequence[str | None]) -> Numbers:
    """A number for each word, the same for the same."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    return np.array([numbers[word] for word in words], np.intp)


def _same_colours(traits: Sequence[Traits]) -> Agree:
    """Whether the thumbnails of pairs are close: a hash knows shapes, and no colours."""
    flat = np.frombuffer(b"".join(t.thumbnail for t in traits), np.uint8)
    thumbs = flat.reshape(len(traits), 3 * THUMB * THUMB)

    def agree(one: Numbers, other: Numbers) -> NDArray[np.bool_]:
        parts = [np.empty(0)]
        for start in range(0, len(one), PART):
            here = slice(start, start + PART)
            apart = thumbs[one[here]].astype(np.int16) - thumbs[other[here]]
            parts.append(abs(apart).mean(1))
        return np.concatenate(parts) <= COLOURS

    return agree


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
