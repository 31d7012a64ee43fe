"""What the units of the data layer hand to one another: a sample, and a folder of them.

They stand apart from the code that finds them, because a table and a tree of folders both do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SPLIT_FOLDERS = "split folders"
CLASS_FOLDERS = "class folders"
SPLITS = ("train", "validation", "test", "predict")

SPELLINGS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "pred": "predict",
    "predict": "predict",
}
"""How people spell the splits, lower case; Kaggle puts `seg_` before them."""

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

    >>> split_of("Valid"), split_of("seg_pred"), split_of("cats")
    ('validation', 'predict', None)
    """
    return SPELLINGS.get(name.strip().lower().removeprefix("seg_"))


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
