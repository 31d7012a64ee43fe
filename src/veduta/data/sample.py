"""What the units of the data layer hand to one another: a sample, and a folder of them.

They stand apart from the code that finds them, because a table and a tree of folders both do.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SPLIT_FOLDERS = "split folders"
CLASS_FOLDERS = "class folders"
SPLITS = ("train", "validation", "test", "predict")

SPELLINGS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions"), "predict"),
}
"""The words that people call the splits by, in lower case."""

FILLERS = frozenset({"data", "dataset", "images", "imgs", "seg", "set", "split"})
"""Words that may stand beside one of `SPELLINGS` and say nothing: `training_set`, `seg_train`."""

GLUED = re.compile("(dataset|data|images|set)$")
"""The same at the end of a word: `trainset`."""

SHOWN = 3
"""How many examples a fault names before it says how many more there are."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One file that should be an image.

    Attributes:
        path: Where it is.
        name: Its path relative to the data root, as it stands in CSV files (POSIX separators).
        label: The name of its class; None where it has none.
        split: One of `SPLITS`, or None where the data bring no splits.
    """

    path: Path
    name: str
    label: str | None
    split: str | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A data set as it was found.

    Attributes:
        root: The folder, or the folder of the table.
        layout: How it is laid out, in words for people: "class folders", "split folders", "table".
        classes: Names of the classes of the training images, in the order of their code points
            (upper case before lower case), as torchvision's ImageFolder sorts them. Class i of a
            model is `classes[i]`.
        samples: Every image file, sorted by name.
        ignored: How many files and folders were passed over: hidden ones, `__MACOSX`,
            `Thumbs.db`, files that are no images by their extension.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    ignored: int


def split_of(name: str) -> str | None:
    """The split that a folder's or a row's name means, or None.

    >>> split_of("Valid"), split_of("seg_pred"), split_of("Training-Set"), split_of("cats")
    ('validation', 'predict', 'train', None)
    """
    split, others = _split_and_others(name)
    return split if FILLERS.issuperset(others) else None


def splits_of(names: Sequence[str]) -> dict[str, str]:
    """The split of each folder whose name means one, by name.

    Where no name means a split alone, all of them may: by one word, beside others that they share.

    >>> splits_of(["asl_train", "asl_test"])
    {'asl_train': 'train', 'asl_test': 'test'}
    >>> splits_of(["steam train", "diesel train"]), splits_of(["bullet train", "test tube"])
    ({}, {})
    """
    if known := {name: split for name in names if (split := split_of(name))}:
        return known
    parts = {name: _split_and_others(name) for name in names}
    splits = {name: split for name, (split, _) in parts.items() if split}
    shared = {others for _, others in parts.values()}
    several = len(set(splits.values())) > 1
    return splits if len(splits) == len(names) and len(shared) == 1 and several else {}


def _split_and_others(name: str) -> tuple[str | None, tuple[str, ...]]:
    """The split that one word of a name means, and its other words; None if not just one does."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[\W_]+", spaced.lower()) if word]
    splits = [SPELLINGS.get(GLUED.sub("", word)) for word in words]
    others = tuple(word for word, split in zip(words, splits, strict=True) if split is None)
    known = [split for split in splits if split]
    return known[0] if len(known) == 1 else None, others


def some(names: Sequence[str]) -> str:
    """The first few names, quoted, and how many more there are.

    >>> some(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    return first([repr(name) for name in names])


def first(told: Sequence[str]) -> str:
    """The first few of what is told of many, as it is, and how many more there are."""
    shown = ", ".join(told[:SHOWN])
    return f"{shown} and {len(told) - SHOWN} more" if len(told) > SHOWN else shown
