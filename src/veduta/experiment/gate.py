"""The gate before every training: which images a run has, and which of them serve for what."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import final

from veduta.data.checks.duplicates import conflicting
from veduta.data.checks.findings import LEAK, Finding, dropped
from veduta.data.checks.inspection import findings_of
from veduta.data.pixels import Image, Pixels, Rejection
from veduta.data.splits import assign, leaking
from veduta.errors import InputError
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.feature_spec import resize_of
from veduta.experiment.plan import Plan

Parts = dict[str, list[Image]]
"""The images of each part, by its name."""

MOST_UNREADABLE = 0.5
"""Share of the files to train and choose on; where more cannot be read, it is not these files that
are damaged: the folder is another than was meant, or its copy failed."""


@final
@dataclass(frozen=True, slots=True)
class Gate:
    """What came through.

    Attributes:
        images: Every labelled image that can be read.
        parts: Those that serve, by part.
        unreadable: Files that cannot be read.
        dropped: Copies of images that judge, left out of the part where they would train.
        findings: All that is wrong with the data or odd, after they were divided.
        conflicting: Names of the images of which an identical one has another label.
    """

    images: tuple[Image, ...]
    parts: Parts
    unreadable: tuple[Rejection, ...]
    dropped: tuple[Rejection, ...]
    findings: tuple[Finding, ...]
    conflicting: frozenset[str]


def gate_of(plan: Plan, materials: Materials) -> Gate:
    """Decode every labelled image, and divide them; splits that came with the data are kept.

    Where an image stands in several parts, it stays in the last of them alone, unless `keep_leaks`.

    Raises:
        InputError: too few images can be read, or a class or a part is left without any.
    """
    samples = [sample for sample in plan.folder.samples if sample.label is not None]
    found = materials.pixels(samples, resize_of(plan.trials[0].settings))
    _expect_readable(found, files=sum(sample.split != "test" for sample in samples))
    where = _divided(plan, found.images)
    copies = {} if plan.settings.keep_leaks else leaking(found.images, where)
    parts: Parts = {"train": [], "validation": [], "test": []}
    for number, (image, part) in enumerate(zip(found.images, where, strict=True)):
        if number not in copies:
            parts[part].append(image)
    _expect_parts(plan, parts)
    placed = [
        replace(image, sample=replace(image.sample, split=part))
        for image, part in zip(found.images, where, strict=True)
    ]
    return Gate(
        found.images,
        parts,
        found.rejected,
        tuple(_dropped(found.images[one], placed[kept]) for one, kept in copies.items()),
        findings_of(placed, found.rejected, plan.folder, keep_leaks=plan.settings.keep_leaks),
        conflicting(found.images),
    )


def _divided(plan: Plan, images: tuple[Image, ...]) -> tuple[str, ...]:
    """The part of each image."""
    settings = plan.settings
    came = {sample.split for sample in plan.folder.samples}
    return assign(
        images,
        test=None if "test" in came else settings.test,
        validation=None if "validation" in came else settings.validation,
        seed=settings.seed,
        folds=settings.folds,
    )


def _dropped(copy: Image, kept: Image) -> Rejection:
    """The line of a copy that is left out, because the image judges."""
    parts = {copy.sample.split or "train", kept.sample.split}
    detail = f"the same image as {kept.sample.name}, of {kept.sample.split}"
    return Rejection(copy.sample.name, LEAK, detail, dropped(parts))


def _expect_readable(found: Pixels, *, files: int) -> None:
    """Of the `files` to train and choose on, at least half can be read."""
    readable = sum(image.sample.split != "test" for image in found.images)
    if not readable:
        first = found.rejected[0]
        raise InputError(
            f"training needs images that can be read; none of {len(found.rejected)} can: "
            f"{first.name} is {first.problem} ({first.detail})"
        )
    if files - readable > MOST_UNREADABLE * files:
        counts = Counter(rejection.problem for rejection in found.rejected)
        told = ", ".join(f"{count:,} {problem}" for problem, count in counts.most_common())
        first = found.rejected[0]
        raise InputError(
            f"at most {MOST_UNREADABLE:.0%} of the files to train on may be damaged; "
            f"{files - readable:,} of {files:,} cannot be read (of all files {told}; such as "
            f"{first.name}: {first.detail}): copy the folder again, or take these files out"
        )


def _expect_parts(plan: Plan, parts: Parts) -> None:
    """Every class trains, and something chooses: splits that came may hold nothing that can."""
    trained = {image.sample.label for image in parts["train"]}
    lost = [repr(name) for name in plan.folder.classes if name not in trained]
    faults = []
    if lost:
        faults.append(
            "each class needs at least one training image that can be read, and that is not among "
            f"the images that judge; there is none of {', '.join(lost)}: repair the files, or "
            "leave the class out"
        )
    if not parts["validation"] and not plan.settings.folds:
        faults.append(
            "the validation images choose the winner; none of them can be read, or all of them "
            "are test images too: repair them, or leave them out, and a share of the training "
            "images will choose"
        )
    if error := InputError.unless_empty(faults):
        raise error
