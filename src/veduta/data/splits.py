"""Who trains, who chooses, who judges: decided by content, so that a copy cannot judge itself.

An image's place depends on the seed and on its bytes, never on its name or on the order of files.
Splits that came with the data are kept as they are, and the validation part of the training images
does not depend on a test folder in any way.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veduta.data.pixels import Image
from veduta.errors import InputError
from veduta.runtime.streams import order, sample_keys, stream


@dataclass(frozen=True, slots=True)
class Copies:
    """Identical files that stand in more than one split, or in more than one class.

    Attributes:
        digest: SHA-256 of their content.
        members: (split, label, name) of each, sorted.
    """

    digest: str
    members: tuple[tuple[str, str, str], ...]

    @property
    def leak(self) -> bool:
        """Whether they stand in more than one split."""
        return len({split for split, _, _ in self.members}) > 1

    @property
    def conflict(self) -> bool:
        """Whether they have more than one label."""
        return len({label for _, label, _ in self.members}) > 1


def assign(
    images: Sequence[Image], *, test: float | None, validation: float | None, seed: int
) -> tuple[str, ...]:
    """The part of each image: "train", "validation" or "test".

    Splits that came with the data stay. Without a test split, round(`test` * n) of the n different
    images of each class are sealed as test; without a validation split, round(`validation` * m)
    of the m that are left for training choose. Every part has at least one image of each class.
    Identical files go together; where they stand in several classes, they count for the first of
    these.

    Args:
        images: Of training, validation and test, each with its label; none that is to be predicted.
        test: Share of the images, 0 to 1; None where the data brought a test split, even one of
            which no image could be read.
        validation: Share of what is left for training, 0 to 1; None likewise.
        seed: Another seed, another division.

    Raises:
        InputError: a class has too few different images.
    """
    given = {image.sample.split for image in images}
    shares = {
        part: share
        for part, share in (("test", test), ("validation", validation))
        if share is not None and part not in given
    }
    pool = [image for image in images if image.sample.split in {None, "train"}]
    place: dict[str, str] = {}
    for digests in _distinct(pool, ["training", *reversed(shares)]).values():
        place |= _divide(digests, shares, seed)
    return tuple(
        place.get(image.digest, "train")
        if image.sample.split in {None, "train"}
        else str(image.sample.split)
        for image in images
    )


def shared(images: Sequence[Image], assignment: Sequence[str]) -> list[Copies]:
    """Identical files in different splits (leaks) or classes (conflicts), in a fixed order."""
    members = defaultdict(list)
    for image, split in zip(images, assignment, strict=True):
        sample = image.sample
        members[image.digest].append((split, sample.label or "", sample.name))
    copies = [Copies(digest, tuple(sorted(found))) for digest, found in members.items()]
    return sorted(
        (group for group in copies if group.leak or group.conflict), key=lambda c: c.members
    )


def _divide(digests: list[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Digest -> part, for the images of one class that do not train."""
    place: dict[str, str] = {}
    left = digests
    for number, (part, share) in enumerate(shares.items()):
        shuffled = [left[i] for i in order(stream(seed, "split", part), sample_keys(left))]
        others = len(shares) - number  # parts still to come, training among them: one image each
        count = min(max(1, round(share * len(left))), len(left) - others)
        place |= dict.fromkeys(shuffled[:count], part)
        left = sorted(shuffled[count:])
    return place


def _distinct(pool: Sequence[Image], parts: Sequence[str]) -> dict[str, list[str]]:
    """Class -> its different images, sorted by digest, at least one for each of `parts`."""
    owner: dict[str, str] = {}
    for image in pool:
        label = str(image.sample.label)
        owner[image.digest] = min(label, owner.get(image.digest, label))
    classes: dict[str, list[str]] = {str(image.sample.label): [] for image in pool}
    for digest in sorted(owner):
        classes[owner[digest]].append(digest)
    few = [
        f"{name!r} has {len(classes[name])}"
        for name in sorted(classes)
        if len(classes[name]) < len(parts)
    ]
    if few and len(parts) > 1:
        purposes = f"{', '.join(parts[:-1])} and {parts[-1]}"
        raise InputError(
            f"each class needs at least {len(parts)} different readable images, for {purposes}; "
            f"{', '.join(few)} (identical files count once, for one class); add images, or leave "
            "the class out"
        )
    return classes
