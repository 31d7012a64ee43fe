"""Check a data set: decode every file once and list every problem in a fixed order."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, final

from veduta.data.checks.duplicates import exact_findings, near_findings, serving
from veduta.data.checks.findings import Finding, counted, ordered
from veduta.data.pixels import Image, Progress, Rejection, Wanted, gathered, make_rows, silent
from veduta.data.sample import Folder, Sample
from veduta.data.traits import Traits, rows_of, sight_of, trait_store

FEW = 10  # different images to train on, below which a class is tiny
UNEVEN = 10.0  # times as many images as the smallest class has


def class_findings(images: Sequence[Image], classes: Sequence[str]) -> list[Finding]:
    """Classes missing from a split, tiny, or very uneven; identical images of a class count once.

    Args:
        images: Those that can be read and serve.
        classes: That there are.
    """
    different = {(i.sample.split, i.sample.label, i.content) for i in images}
    counts = Counter((split, label) for split, label, _ in different)
    splits = sorted({split for split, _ in counts if split in {"validation", "test"}}, key=str)
    findings = [
        Finding("missing class", (), f"there is no {split} image of {name!r} that can be read")
        for split in splits
        for name in classes
        if not counts[split, name]
    ]
    trained = {name: counts["train", name] + counts[None, name] for name in classes}
    findings += [
        Finding("tiny class", (), f"{name!r} has {count} different images to train on")
        for name, count in trained.items()
        if count < FEW
    ]
    most, least = max(trained, key=trained.__getitem__), min(trained, key=trained.__getitem__)
    if trained[least] and trained[most] >= UNEVEN * trained[least]:
        told = f"{most!r} has {trained[most]:,} images to train on, {least!r} {trained[least]:,}"
        findings.append(Finding("uneven classes", (), told))
    return findings


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
"""The extensions that a format goes by; a name without one is no wrong one."""

LONG = 4.0  # from so many times as long as broad, an image is oddly shaped
TINY = 16  # pixels of the shorter side below which there is little to see
DARK, BRIGHT = 16.0, 240.0  # mean grey level
BLURRED = 0.01  # sharpness: of scenes that are sharp few are below, skies; blurred by 3 pixels most
USUAL = 0.5  # what more than this share of all images has is how the data are


def odd_findings(images: Sequence[Image]) -> list[Finding]:
    """A finding for each oddity of an image.

    What more than half of all images have, such as being grey, is one finding about all of them.
    """
    found: dict[str, list[tuple[Sample, str]]] = defaultdict(list)
    for image in images:
        if image.traits:
            for problem, detail in oddities(image.sample.name, image.traits):
                found[problem].append((image.sample, detail))
    findings = []
    for problem, odd in found.items():
        if len(odd) > max(1, USUAL * len(images)):
            told = f"{len(odd):,} of {len(images):,} images, such as: {odd[0][1]}"
            findings.append(Finding(problem, tuple(sample for sample, _ in odd), told))
        else:
            findings += [Finding(problem, (sample,), detail) for sample, detail in odd]
    return findings


def oddities(name: str, traits: Traits) -> Iterator[tuple[str, str]]:
    """Problem and detail of whatever is odd about an image."""
    yield from _of_the_file(PurePath(name).suffix, traits)
    width, height = traits.width, traits.height
    longer, shorter = max(width, height), min(width, height)
    if longer >= LONG * shorter:
        yield "odd shape", f"{width} x {height} pixels, {longer / shorter:.0f} : 1"
    if shorter < TINY:
        yield "tiny image", f"{width} x {height} pixels"
    if traits.blank:
        yield "blank", f"all of it is one colour, grey level {traits.brightness:.0f} of 255"
    elif traits.brightness < DARK:
        yield "dark", f"mean grey level {traits.brightness:.0f} of 255"
    elif traits.brightness > BRIGHT:
        yield "bright", f"mean grey level {traits.brightness:.0f} of 255"
    elif traits.sharpness < BLURRED:
        yield "blurred", f"sharpness {traits.sharpness:.4f}; sharp images have {BLURRED} or more"


def _of_the_file(extension: str, traits: Traits) -> Iterator[tuple[str, str]]:
    known = EXTENSIONS.get(traits.format, {extension.lower()})
    if extension and extension.lower() not in known:
        yield (
            "wrong extension",
            f"a {traits.format} file called {extension}; it is read as what it is",
        )
    if traits.animated:
        yield "animated", "it has several frames; the first one is used"
    if traits.deep:
        yield "16-bit", "16 bits a channel; scaled to 8"
    elif traits.mode not in {"RGB", "RGBA"}:
        yield "not RGB", f"mode {traits.mode} of a {traits.format} file; converted to RGB"
    if traits.transparent:
        yield "transparent", "laid on white"
    if traits.orientation != 1:
        yield "rotated", f"EXIF orientation {traits.orientation}; turned upright"


@final
@dataclass(frozen=True, slots=True)
class Inspection:
    """What there is in a folder of images, and all that is wrong with it.

    Attributes:
        folder: As it was found.
        images: What can be read, with its traits, in the order of the folder's samples.
        rejected: What cannot, in that order.
        findings: All that is wrong or odd, rejected files too; what weighs most comes first.
    """

    folder: Folder
    images: tuple[Image, ...]
    rejected: tuple[Rejection, ...]
    findings: tuple[Finding, ...]

    @property
    def weighty(self) -> tuple[Finding, ...]:
        """The findings that are more than notes: what `strict` fails for."""
        return tuple(finding for finding in self.findings if finding.weighs)

    @property
    def problems(self) -> dict[str, int]:
        """How many images, groups of them or classes have each problem; what weighs comes first."""
        return counted(self.findings)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images that can be read, by split ("all" where there are none) and class, by name."""
        found = Counter((i.sample.split or "all", i.sample.label or "") for i in self.images)
        table: dict[str, dict[str, int]] = {}
        for (split, label), count in sorted(found.items()):
            table.setdefault(split, {})[label] = count
        return table

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "data": str(self.folder.root),
            "layout": self.folder.layout,
            "classes": list(self.folder.classes),
            "files": len(self.folder.samples),
            "readable": len(self.images),
            "rejected": len(self.rejected),
            "ignored": self.folder.ignored,
            "counts": self.counts,
            "problems": self.problems,
            "weigh": len(self.weighty),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def inspect_folder(
    folder: Folder,
    *,
    cache: Path,
    progress: Progress = silent,
    threads: int,
    keep_leaks: bool = False,
) -> Inspection:
    """Look at every file of a folder, images to be predicted too; nothing of it is changed.

    Args:
        folder: What is looked at.
        cache: Where traits are kept: a file whose content is known is only hashed.
        progress: Called with (files done, files in all).
        threads: How many threads read and decode; they do not change the result.
        keep_leaks: Whether a training would keep images that stand in test too.

    Raises:
        InputError: the cache cannot be written, or has no room.
    """
    store = trait_store(cache)
    wanted = [Wanted(store, sight_of, rows_of)]
    outcomes, _ = make_rows(folder.samples, wanted, progress=progress, threads=threads)
    images, rejected = gathered(folder.samples, outcomes, store)
    findings = findings_of(images, rejected, folder, keep_leaks=keep_leaks)
    return Inspection(folder, images, rejected, findings)


def findings_of(
    images: Sequence[Image],
    rejected: Sequence[Rejection],
    folder: Folder,
    *,
    keep_leaks: bool = False,
) -> tuple[Finding, ...]:
    """All that is wrong with images that were looked at; arguments as for `inspect_folder`.

    The splits of `images` may be of our own making; those of `folder` are as it was found.
    """
    samples = {sample.name: sample for sample in folder.samples}
    return ordered(
        [
            *(Finding(r.problem, (samples[r.name],), r.detail, r.action) for r in rejected),
            *exact_findings(images, keep_leaks=keep_leaks),
            *near_findings(images, samples),
            *class_findings(images if keep_leaks else serving(images), folder.classes),
            *odd_findings(images),
        ]
    )
