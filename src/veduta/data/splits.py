"""Who trains, who chooses, who judges: decided by content, so that a copy cannot judge itself.

An image's place depends on the seed and on its bytes, never on its name or on the order of files.
Splits that came with the data are kept, and the validation part of the training images does not
depend on a test folder in any way; what leaks is dropped afterwards. Images are the same where
their decoded pixels are. With folds, training and validation images are one.
"""

from collections.abc import Mapping, Sequence

from veduta.data.checks.findings import PARTS
from veduta.data.pixels import Image
from veduta.data.sample import first
from veduta.errors import InputError
from veduta.runtime.streams import order, sample_keys, stream


def assign(
    images: Sequence[Image],
    *,
    test: float | None,
    validation: float | None,
    seed: int,
    folds: int | None = None,
) -> tuple[str, ...]:
    """The part of each image: "train", "validation" or "test".

    Splits that came with the data stay. Without a test split, round(`test` * n) of the n different
    images of each class are sealed as test; without a validation split, round(`validation` * m)
    of the m that are left for training choose. Every part has at least one image of each class.
    Identical images go together; where they stand in several classes, they count for the first of
    these. With folds all images but those of the test train, a validation split that came too.

    Args:
        images: Of training, validation and test, each with its label; none that is to be predicted.
        test: Share of the images, 0 to 1; None where the data brought a test split, even one of
            which no image could be read.
        validation: Share of what is left for training, 0 to 1; None likewise.
        seed: Another seed, another division.
        folds: How many `fold_of` shall make of the images that train.

    Raises:
        InputError: a class has too few different images.
    """
    given = {image.sample.split for image in images}
    shares = {
        part: share
        for part, share in (("test", test), ("validation", None if folds else validation))
        if share is not None and part not in given
    }
    ours = {None, "train", *(["validation"] if folds else [])}
    pool = [image for image in images if image.sample.split in ours]
    first, classes = _first(pool), _distinct(pool)
    _expect_enough(classes, [*reversed(shares)], folds)
    place: dict[str, str] = {}
    for digests in classes.values():
        place |= _divide(digests, shares, seed, train=folds or 1)
    return tuple(
        place.get(first[image.content], "train")
        if image.sample.split in ours
        else str(image.sample.split)
        for image in images
    )


def fold_of(images: Sequence[Image], folds: int, seed: int) -> dict[str, int]:
    """Digest -> fold, from 1 to `folds`: each class is dealt out like cards, one after another.

    So folds differ by at most one image, in each class and in all; identical images go together.
    """
    place: dict[str, int] = {}
    for _, digests in sorted(_distinct(images).items()):
        for index in order(stream(seed, "fold"), sample_keys(digests)):
            place[digests[index]] = len(place) % folds + 1
    first = _first(images)
    return {image.digest: place[first[image.content]] for image in images}


def leaking(images: Sequence[Image], assignment: Sequence[str]) -> dict[int, int]:
    """Which images stand in a later one of `PARTS` too: their number -> that of the copy there.

    What judges is kept: an image of the test is none of training or validation, one that chooses
    is none of training.
    """
    top: dict[str, int] = {}
    ranks = [PARTS.index(part) for part in assignment]
    for number in sorted(range(len(images)), key=lambda n: (-ranks[n], images[n].sample.name)):
        top.setdefault(images[number].content, number)
    return {
        number: top[image.content]
        for number, image in enumerate(images)
        if ranks[number] < ranks[top[image.content]]
    }


def _divide(
    digests: list[str], shares: Mapping[str, float], seed: int, *, train: int
) -> dict[str, str]:
    """Digest -> part, for the images of one class that do not train; at least `train` do."""
    place: dict[str, str] = {}
    left = digests
    for number, (part, share) in enumerate(shares.items(), 1):
        shuffled = [left[i] for i in order(stream(seed, "split", part), sample_keys(left))]
        others = len(shares) - number + train  # for the parts still to come, training among them
        count = min(max(1, round(share * len(left))), len(left) - others)
        place |= dict.fromkeys(shuffled[:count], part)
        left = sorted(shuffled[count:])
    return place


def _first(pool: Sequence[Image]) -> dict[str, str]:
    """Content -> the smallest digest of the files that have it, which stands for the image."""
    first: dict[str, str] = {}
    for image in pool:
        first[image.content] = min(image.digest, first.get(image.content, image.digest))
    return first


def _distinct(pool: Sequence[Image]) -> dict[str, list[str]]:
    """Class -> its different images, sorted by the digest that stands for each."""
    owner: dict[str, str] = {}
    first = _first(pool)
    for image in pool:
        label, digest = str(image.sample.label), first[image.content]
        owner[digest] = min(label, owner.get(digest, label))
    classes: dict[str, list[str]] = {str(image.sample.label): [] for image in pool}
    for digest in sorted(owner):
        classes[owner[digest]].append(digest)
    return classes


def _expect_enough(
    classes: Mapping[str, Sequence[str]], parts: Sequence[str], folds: int | None
) -> None:
    """One image of each class for training, or for each fold, and one for each of `parts`."""
    least = len(parts) + (folds or 1)
    few = [
        f"{name!r} has {len(classes[name])}"
        for name in sorted(classes)
        if len(classes[name]) < least
    ]
    if few and least > 1:
        *others, last = [f"{folds} folds" if folds else "training", *parts]
        purposes = f"{', '.join(others)} and {last}" if others else last
        raise InputError(
            f"each class needs at least {least} different readable images, for {purposes}; "
            f"{first(few)} (identical images count once, for one class); add images, "
            f"{'ask for fewer folds, ' if folds else ''}or leave the class out"
        )
