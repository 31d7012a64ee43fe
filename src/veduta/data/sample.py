"""Samples and data sets: the data structures that folders and tables are read into."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veduta.types import IndexArray

SPLIT_FOLDERS = "split folders"
CLASS_FOLDERS = "class folders"

TRAIN, VALIDATION, TEST, PREDICT = "train", "validation", "test", "predict"
LABELED_SPLITS = (TRAIN, VALIDATION, TEST)
"""An image that is in several of these splits is kept only in the last of them."""
SPLITS = (*LABELED_SPLITS, PREDICT)

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions"), PREDICT),
}
"""Split by the lower-case word that folder names use for it."""

FILLER_WORDS = frozenset({"data", "dataset", "images", "imgs", "seg", "set", "split"})
"""Words that are ignored next to one of `SPLIT_WORDS`, as in `training_set` and `seg_train`."""

FILLER_ENDING = re.compile("(dataset|data|images|set)$")
"""A filler at the end of a word, as in `trainset`."""

MAX_EXAMPLES = 3
"""Maximum number of examples in an error message."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file that is expected to be an image.

    Attributes:
        path: path of the file.
        name: path relative to the root of the data set, with POSIX separators, as in CSV files.
        label: name of its class; None if it has none.
        split: one of `SPLITS`; None if the data set defines no splits.
    """

    path: Path
    name: str
    label: str | None
    split: str | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A data set on disk.

    Attributes:
        root: the folder, or the folder of the table.
        layout: "class folders", "split folders" or "table".
        classes: names of the classes of the training images, sorted by code point (upper case
            before lower case) like those of torchvision's ImageFolder. Class i of a model is
            `classes[i]`.
        samples: all image files, sorted by name.
        ignored: number of files and folders that are ignored: hidden ones, `__MACOSX`, `Thumbs.db`,
            and files whose extension is not that of an image.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    ignored: int


def parse_split(name: str) -> str | None:
    """Return the split that a folder name or a table cell refers to, or None.

    >>> parse_split("Valid"), parse_split("seg_pred"), parse_split("Training-Set")
    ('validation', 'predict', 'train')
    >>> parse_split("cats") is None
    True
    """
    split, other_words = _separate_split(name)
    return split if FILLER_WORDS.issuperset(other_words) else None


def parse_splits(names: Sequence[str]) -> dict[str, str]:
    """Return the split of each folder whose name refers to one, by name.

    If no single name refers to a split, all names still do if each of them contains exactly one
    word for a split and their other words are the same.

    >>> parse_splits(["asl_train", "asl_test"])
    {'asl_train': 'train', 'asl_test': 'test'}
    >>> parse_splits(["steam train", "diesel train"]), parse_splits(["bullet train", "test tube"])
    ({}, {})
    """
    if split_by_name := {name: split for name in names if (split := parse_split(name))}:
        return split_by_name
    separated = {name: _separate_split(name) for name in names}
    splits = {name: split for name, (split, _) in separated.items() if split}
    other_words = {words for _, words in separated.values()}
    all_splits = len(splits) == len(names) and len(set(splits.values())) > 1
    return splits if all_splits and len(other_words) == 1 else {}


def _separate_split(name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the split (None unless exactly one word means one) and the other words of a name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[\W_]+", spaced.lower()) if word]
    word_splits = [SPLIT_WORDS.get(FILLER_ENDING.sub("", word)) for word in words]
    other_words = tuple(w for w, split in zip(words, word_splits, strict=True) if split is None)
    splits = [split for split in word_splits if split]
    return splits[0] if len(splits) == 1 else None, other_words


def abbreviate_names(names: Sequence[str]) -> str:
    """Return the first few names in quotes, and the number of the others.

    >>> abbreviate_names(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    return abbreviate([repr(name) for name in names])


def abbreviate(items: Sequence[str]) -> str:
    """Return the first few items, and the number of the others.

    >>> abbreviate(["1 cat", "2 dogs", "3 birds", "4 fish"])
    '1 cat, 2 dogs, 3 birds and 1 more'
    """
    examples = ", ".join(items[:MAX_EXAMPLES])
    others = len(items) - MAX_EXAMPLES
    return f"{examples} and {others} more" if others > 0 else examples


def compute_canonical_order(digests: Sequence[str], labels: Sequence[int]) -> IndexArray:
    """Return the indices that sort images by content, then label, independent of file names.

    Images that are equal in both are copies; their order makes no difference.

    Args:
        digests: SHA-256 of the content of each image, as hexadecimal digits.
        labels: class index of each image.

    >>> compute_canonical_order(["b", "a", "a"], [0, 1, 0])
    array([2, 1, 0])
    """
    return np.lexsort((np.array(labels), np.array(digests, dtype=np.bytes_)))
