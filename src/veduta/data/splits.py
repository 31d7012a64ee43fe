"""Assign images to training, validation and test by content, so that no copy is in two splits.

The assignment depends on the seed and on the bytes of an image, never on its name or on the order
of the files. Splits that the data set defines are kept, and the validation split of the training
images does not depend on a test folder; images that leak are dropped afterwards. Two images are
identical if their decoded pixels are. With cross-validation, training and validation images form
one set.
"""

from collections.abc import Mapping, Sequence

from veduta.data.pixels import Image
from veduta.data.sample import LABELED_SPLITS, TEST, TRAIN, VALIDATION, abbreviate
from veduta.errors import InputError
from veduta.runtime.streams import derive_key, derive_sample_keys, shuffle


def assign_splits(
    images: Sequence[Image],
    *,
    test: float | None,
    validation: float | None,
    seed: int,
    folds: int | None = None,
) -> tuple[str, ...]:
    """Return the split of each image: "train", "validation" or "test".

    Splits of the data set are kept. Without a test split, round(`test` * n) of the n distinct
    images of each class are assigned to test; without a validation split, round(`validation` * m)
    of the remaining m images to validation. Every split has at least one image of each class.
    Identical images are assigned together; if they have several labels, they count for the first
    of these classes. With folds, all images except test images are assigned to training, those of
    a validation split too.

    Args:
        images: labeled images of training, validation and test.
        test: fraction of the images, 0 to 1; None if the data set has a test split, even one
            without readable images.
        validation: fraction of the images that are not test images, 0 to 1; None if the data set
            has a validation split, even one without readable images.
        seed: seed of the assignment.
        folds: number of folds for `assign_folds`.

    Raises:
        InputError: a class has too few distinct images.
    """
    existing_splits = {image.sample.split for image in images}
    fractions = {
        split: fraction
        for split, fraction in ((TEST, test), (VALIDATION, None if folds else validation))
        if fraction is not None and split not in existing_splits
    }
    divisible_splits = {None, TRAIN, *([VALIDATION] if folds else [])}
    divisible = [image for image in images if image.sample.split in divisible_splits]
    digest_by_content = _choose_digests(divisible)
    digests_by_class = _group_distinct_images(divisible)
    _require_distinct_images(digests_by_class, [*reversed(fractions)], folds)
    split_by_digest: dict[str, str] = {}
    for digests in digests_by_class.values():
        split_by_digest |= _divide(digests, fractions, seed, min_train=folds or 1)
    return tuple(
        split_by_digest.get(digest_by_content[image.content], TRAIN)
        if image.sample.split in divisible_splits
        else str(image.sample.split)
        for image in images
    )


def assign_folds(images: Sequence[Image], folds: int, seed: int) -> dict[str, int]:
    """Return the fold, from 1 to `folds`, by the digest of each image.

    The shuffled images of one class after another are assigned to the folds in turn, so that the
    folds differ by at most one image in each class and in total. Identical images share a fold.
    """
    fold_by_digest: dict[str, int] = {}
    for _, digests in sorted(_group_distinct_images(images).items()):
        for index in shuffle(derive_key(seed, "fold"), derive_sample_keys(digests)):
            fold_by_digest[digests[index]] = len(fold_by_digest) % folds + 1
    digest_by_content = _choose_digests(images)
    return {image.digest: fold_by_digest[digest_by_content[image.content]] for image in images}


def find_leaks(images: Sequence[Image], splits: Sequence[str]) -> dict[int, int]:
    """Return the index of each image that has a copy in a later split, with that copy's index.

    The copy in the last of `LABELED_SPLITS` is kept: test images are used neither for training nor
    for validation, validation images not for training.
    """
    kept_by_content: dict[str, int] = {}
    ranks = [LABELED_SPLITS.index(split) for split in splits]
    for index in sorted(range(len(images)), key=lambda i: (-ranks[i], images[i].sample.name)):
        kept_by_content.setdefault(images[index].content, index)
    return {
        index: kept_by_content[image.content]
        for index, image in enumerate(images)
        if ranks[index] < ranks[kept_by_content[image.content]]
    }


def _divide(
    digests: list[str], fractions: Mapping[str, float], seed: int, *, min_train: int
) -> dict[str, str]:
    """Return the split by digest of the images of one class that are not used for training.

    At least `min_train` images are left for training.
    """
    split_by_digest: dict[str, str] = {}
    remaining = digests
    for number, (split, fraction) in enumerate(fractions.items(), 1):
        order = shuffle(derive_key(seed, "split", split), derive_sample_keys(remaining))
        shuffled = [remaining[index] for index in order]
        reserved = len(fractions) - number + min_train  # for the splits that follow, and training
        count = min(max(1, round(fraction * len(remaining))), len(remaining) - reserved)
        split_by_digest |= dict.fromkeys(shuffled[:count], split)
        remaining = sorted(shuffled[count:])
    return split_by_digest


def _choose_digests(images: Sequence[Image]) -> dict[str, str]:
    """Return the smallest file digest of each distinct image, by content."""
    digest_by_content: dict[str, str] = {}
    for image in images:
        smallest = digest_by_content.get(image.content, image.digest)
        digest_by_content[image.content] = min(image.digest, smallest)
    return digest_by_content


def _group_distinct_images(images: Sequence[Image]) -> dict[str, list[str]]:
    """Return the sorted digests of the distinct images of each class."""
    class_by_digest: dict[str, str] = {}
    digest_by_content = _choose_digests(images)
    for image in images:
        label, digest = str(image.sample.label), digest_by_content[image.content]
        class_by_digest[digest] = min(label, class_by_digest.get(digest, label))
    digests_by_class: dict[str, list[str]] = {str(image.sample.label): [] for image in images}
    for digest in sorted(class_by_digest):
        digests_by_class[class_by_digest[digest]].append(digest)
    return digests_by_class


def _require_distinct_images(
    digests_by_class: Mapping[str, Sequence[str]], splits: Sequence[str], folds: int | None
) -> None:
    """Raise an InputError unless each class has an image for training or each fold and split."""
    required = len(splits) + (folds or 1)
    too_few = [
        f"{name!r} has {len(digests_by_class[name])}"
        for name in sorted(digests_by_class)
        if len(digests_by_class[name]) < required
    ]
    if too_few and required > 1:
        *others, last = [f"{folds} folds" if folds else "training", *splits]
        purposes = f"{', '.join(others)} and {last}" if others else last
        raise InputError(
            f"each class needs at least {required} distinct readable images, for {purposes}; "
            f"{abbreviate(too_few)} (identical images count once, for one class); add images, "
            f"{'use fewer folds, ' if folds else ''}or remove the class"
        )
