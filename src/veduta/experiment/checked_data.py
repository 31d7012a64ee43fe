"""The images of a run: decoded, checked for problems, and split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from veduta.data.checks.duplicates import find_conflicting_names
from veduta.data.checks.findings import LEAK, Finding, describe_dropped_copies
from veduta.data.checks.inspection import check_images
from veduta.data.pixels import Image, Pixels, Rejection
from veduta.data.splits import assign_splits, find_leaks
from veduta.errors import InputError
from veduta.experiment.feature_pipeline import PixelLoader
from veduta.experiment.feature_spec import build_resize
from veduta.experiment.plan import Plan

Splits = dict[str, list[Image]]
"""The images of each split: `train`, `validation` and `test`."""

MAX_UNREADABLE = 0.5
"""Maximum fraction of training and validation files that may be unreadable; if it is larger, the
folder is probably not the intended one, or was copied incompletely."""


@final
@dataclass(frozen=True, slots=True)
class CheckedData:
    """The images of a run after the data checks.

    Attributes:
        images: all labeled images that can be decoded.
        splits: the images that the run uses, by split.
        unreadable: files that cannot be decoded.
        dropped: training or validation images with an identical image in a later split.
        findings: problems of the data, found after the split.
        conflicting: names of images that have an identical image with a different label.
    """

    images: tuple[Image, ...]
    splits: Splits
    unreadable: tuple[Rejection, ...]
    dropped: tuple[Rejection, ...]
    findings: tuple[Finding, ...]
    conflicting: frozenset[str]

    @property
    def used_images(self) -> list[Image]:
        """Images of all splits."""
        return [image for images in self.splits.values() for image in images]


def check_data(plan: Plan, pixels: PixelLoader) -> CheckedData:
    """Decode every labeled image, split the images, and check them.

    Splits that the data set defines are kept. If identical images are in several splits, only
    the one in the last split is used, unless `keep_leaks`.

    Raises:
        InputError: too few images can be decoded, or a class or a split has none.
    """
    samples = [sample for sample in plan.folder.samples if sample.label is not None]
    decoded = pixels.load(samples, build_resize(plan.trials[0].settings))
    _expect_readable(decoded, file_count=sum(sample.split != "test" for sample in samples))
    assignment = _assign_splits(plan, decoded.images)
    leaks = {} if plan.settings.keep_leaks else find_leaks(decoded.images, assignment)
    splits: Splits = {"train": [], "validation": [], "test": []}
    for index, (image, split) in enumerate(zip(decoded.images, assignment, strict=True)):
        if index not in leaks:
            splits[split].append(image)
    _expect_every_split(plan, splits)
    assigned = [
        replace(image, sample=replace(image.sample, split=split))
        for image, split in zip(decoded.images, assignment, strict=True)
    ]
    return CheckedData(
        decoded.images,
        splits,
        decoded.rejected,
        tuple(_describe_leak(decoded.images[copy], assigned[kept]) for copy, kept in leaks.items()),
        check_images(assigned, decoded.rejected, plan.folder, keep_leaks=plan.settings.keep_leaks),
        find_conflicting_names(decoded.images),
    )


def _assign_splits(plan: Plan, images: Sequence[Image]) -> tuple[str, ...]:
    """Return the split of each image."""
    settings = plan.settings
    given_splits = {sample.split for sample in plan.folder.samples}
    return assign_splits(
        tuple(images),
        test=None if "test" in given_splits else settings.test,
        validation=None if "validation" in given_splits else settings.validation,
        seed=settings.seed,
        folds=settings.folds,
    )


def _describe_leak(copy: Image, kept: Image) -> Rejection:
    """Return the row of `rejected.csv` for `copy`, dropped because `kept` is identical to it."""
    splits = {copy.sample.split or "train", kept.sample.split}
    detail = f"the same image as {kept.sample.name}, of {kept.sample.split}"
    return Rejection(copy.sample.name, LEAK, detail, describe_dropped_copies(splits))


def _expect_readable(decoded: Pixels, *, file_count: int) -> None:
    """Raise an error if more than half of the training and validation files are unreadable."""
    readable = sum(image.sample.split != "test" for image in decoded.images)
    if not readable:
        first = decoded.rejected[0]
        raise InputError(
            f"training needs images that can be read; none of {len(decoded.rejected)} can be read: "
            f"{first.name} is {first.problem} ({first.detail})"
        )
    if file_count - readable > MAX_UNREADABLE * file_count:
        counts = Counter(rejection.problem for rejection in decoded.rejected)
        problems = ", ".join(f"{count:,} {problem}" for problem, count in counts.most_common())
        first = decoded.rejected[0]
        raise InputError(
            f"at most {MAX_UNREADABLE:.0%} of the files to train on may be damaged; "
            f"{file_count - readable:,} of {file_count:,} cannot be read (of all files {problems}; "
            f"such as {first.name}: {first.detail}): copy the folder again, or remove these files"
        )


def _expect_every_split(plan: Plan, splits: Splits) -> None:
    """Raise an error if a class has no training image, or there is no validation image."""
    training_labels = {image.sample.label for image in splits["train"]}
    missing = [repr(name) for name in plan.folder.classes if name not in training_labels]
    errors = []
    if missing:
        errors.append(
            "each class needs at least one readable training image that has no identical "
            f"validation or test image; there is none of {', '.join(missing)}: repair the files, "
            "or remove the class"
        )
    if not splits["validation"] and not plan.settings.uses_folds:
        errors.append(
            "the validation split needs an image that can be read and is not in the test split; "
            "it has none: repair the validation images, or remove that split, so that a fraction "
            "of the training images is used for validation"
        )
    if error := InputError.unless_empty(errors):
        raise error
