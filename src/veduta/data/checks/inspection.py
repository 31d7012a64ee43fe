"""Check a data set: decode every file once, and list all problems in a fixed order."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import final

from veduta.data.checks.duplicates import (
    drop_earlier_copies,
    find_duplicates,
    find_near_duplicates,
)
from veduta.data.checks.findings import Finding, count_problems, sort_findings
from veduta.data.pixels import Image, Rejection, RowKind, collect_images, fill_stores
from veduta.data.sample import TEST, TRAIN, VALIDATION, Folder, Sample
from veduta.data.traits import (
    Traits,
    compute_trait_rows,
    measure_partial_traits,
    open_trait_store,
)
from veduta.types import Progress, ignore_progress

MIN_CLASS_IMAGES = 10  # a class with fewer distinct training images is reported
MAX_CLASS_RATIO = 10.0  # image count of the largest class / that of the smallest

EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "PNG": {".png", ".apng"},
    "BMP": {".bmp", ".dib"},
    "DIB": {".bmp", ".dib"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
}
"""File extensions that are valid for each format. Files without an extension are accepted."""

MAX_ASPECT_RATIO = 4.0  # longer / shorter side; images at or above it are reported
MIN_SIDE = 16  # pixels; an image with a shorter side below it is reported
MIN_BRIGHTNESS, MAX_BRIGHTNESS = 16.0, 240.0  # mean gray level
MIN_SHARPNESS = 0.01  # below it: few sharp photos, mostly of the sky; most 3-pixel blurs
USUAL_FRACTION = 0.5  # a property of more images than this is reported once


def check_classes(images: Sequence[Image], classes: Sequence[str]) -> list[Finding]:
    """Return findings for missing, tiny and imbalanced classes; identical images count once.

    Args:
        images: readable images that training or evaluation uses.
        classes: names of all classes.
    """
    distinct = {(i.sample.split, i.sample.label, i.content) for i in images}
    counts = Counter((split, label) for split, label, _ in distinct)
    splits = sorted({split for split, _ in counts if split in {VALIDATION, TEST}}, key=str)
    findings = [
        Finding("missing class", (), f"there is no {split} image of {name!r} that can be read")
        for split in splits
        for name in classes
        if not counts[split, name]
    ]
    train_counts = {name: counts[TRAIN, name] + counts[None, name] for name in classes}
    findings += [
        Finding("tiny class", (), f"{name!r} has {count} distinct training images")
        for name, count in train_counts.items()
        if count < MIN_CLASS_IMAGES
    ]
    largest = max(train_counts, key=train_counts.__getitem__)
    smallest = min(train_counts, key=train_counts.__getitem__)
    most, fewest = train_counts[largest], train_counts[smallest]
    if fewest and most >= MAX_CLASS_RATIO * fewest:
        detail = f"{largest!r} has {most:,} training images, {smallest!r} {fewest:,}"
        findings.append(Finding("class imbalance", (), detail))
    return findings


def check_properties(images: Sequence[Image]) -> list[Finding]:
    """Return a finding for each unusual property of an image.

    A property that more than half of all images share, such as grayscale, is reported once.
    """
    details: dict[str, list[tuple[Sample, str]]] = defaultdict(list)
    for image in images:
        if image.traits:
            for problem, detail in list_unusual_properties(image.sample.name, image.traits):
                details[problem].append((image.sample, detail))
    findings = []
    for problem, cases in details.items():
        if len(cases) > max(1, USUAL_FRACTION * len(images)):
            detail = f"{len(cases):,} of {len(images):,} images, for example {cases[0][1]}"
            findings.append(Finding(problem, tuple(sample for sample, _ in cases), detail))
        else:
            findings += [Finding(problem, (sample,), detail) for sample, detail in cases]
    return findings


def list_unusual_properties(name: str, traits: Traits) -> Iterator[tuple[str, str]]:
    """Yield problem and detail of each unusual property of an image and its file."""
    yield from _list_unusual_file_properties(PurePath(name).suffix, traits)
    width, height = traits.width, traits.height
    longer, shorter = max(width, height), min(width, height)
    if longer >= MAX_ASPECT_RATIO * shorter:
        yield "aspect ratio", f"{width} x {height} pixels, {longer / shorter:.0f} : 1"
    if shorter < MIN_SIDE:
        yield "tiny image", f"{width} x {height} pixels"
    if traits.is_blank:
        yield "blank", f"all pixels have one color, gray level {traits.brightness:.0f} of 255"
    elif traits.brightness < MIN_BRIGHTNESS:
        yield "dark", f"mean gray level {traits.brightness:.0f} of 255"
    elif traits.brightness > MAX_BRIGHTNESS:
        yield "bright", f"mean gray level {traits.brightness:.0f} of 255"
    elif traits.sharpness < MIN_SHARPNESS:
        detail = f"sharpness {traits.sharpness:.4f}; sharp images have {MIN_SHARPNESS} or more"
        yield "blurred", detail


def _list_unusual_file_properties(extension: str, traits: Traits) -> Iterator[tuple[str, str]]:
    """Yield problem and detail of each unusual property of a file."""
    usual_extensions = EXTENSIONS.get(traits.format, {extension.lower()})
    if extension and extension.lower() not in usual_extensions:
        yield "wrong extension", f"a {traits.format} file named {extension}; decoded by its content"
    if traits.is_animated:
        yield "animated", "several frames; the first one is used"
    if traits.is_16_bit:
        yield "16-bit", "16 bits per channel; scaled to 8"
    elif traits.mode not in {"RGB", "RGBA"}:
        yield "not RGB", f"mode {traits.mode} of a {traits.format} file; converted to RGB"
    if traits.has_transparency:
        yield "transparent", "blended with white"
    if traits.orientation != 1:
        yield "rotated", f"EXIF orientation {traits.orientation}; applied"


@final
@dataclass(frozen=True, slots=True)
class Inspection:
    """The images of a data set, and all findings of the data checks.

    Attributes:
        folder: the data set.
        images: the images that can be read, with traits, in the order of the samples.
        rejected: the files that cannot be read, in that order.
        findings: all findings, including those about rejected files; errors come first.
    """

    folder: Folder
    images: tuple[Image, ...]
    rejected: tuple[Rejection, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of severity error, for which `--strict` fails."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def problems(self) -> dict[str, int]:
        """The number of images, groups or classes with each problem; errors come first."""
        return count_problems(self.findings)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """The number of readable images by split ("all" without splits) and class, by name."""
        counts = Counter((i.sample.split or "all", i.sample.label or "") for i in self.images)
        table: dict[str, dict[str, int]] = {}
        for (split, label), count in sorted(counts.items()):
            table.setdefault(split, {})[label] = count
        return table


def inspect_folder(
    folder: Folder,
    *,
    cache: Path,
    progress: Progress = ignore_progress,
    threads: int,
    keep_leaks: bool = False,
) -> Inspection:
    """Check every file of a data set, including images to be predicted, without changing any.

    Args:
        folder: the data set.
        cache: cache folder for traits; a file whose traits are cached is hashed, not decoded.
        progress: called with the number of files checked so far and the total number of files.
        threads: number of threads that read and decode; the result does not depend on it.
        keep_leaks: whether training keeps images that have a copy in a later split.

    Raises:
        InputError: the cache cannot be written, or the disk is full.
    """
    store = open_trait_store(cache)
    kinds = [RowKind(store, measure_partial_traits, compute_trait_rows)]
    outcomes, _ = fill_stores(folder.samples, kinds, progress=progress, threads=threads)
    images, rejected = collect_images(folder.samples, outcomes, store)
    findings = check_images(images, rejected, folder, keep_leaks=keep_leaks)
    return Inspection(folder, images, rejected, findings)


def check_images(
    images: Sequence[Image],
    rejected: Sequence[Rejection],
    folder: Folder,
    *,
    keep_leaks: bool = False,
) -> tuple[Finding, ...]:
    """Return all findings about images that were decoded; arguments as for `inspect_folder`.

    The splits of `images` may be assigned by Veduta; those of `folder` are the original ones.
    """
    samples = {sample.name: sample for sample in folder.samples}
    return sort_findings(
        [
            *(Finding(r.problem, (samples[r.name],), r.detail, r.action) for r in rejected),
            *find_duplicates(images, keep_leaks=keep_leaks),
            *find_near_duplicates(images, samples),
            *check_classes(images if keep_leaks else drop_earlier_copies(images), folder.classes),
            *check_properties(images),
        ]
    )
