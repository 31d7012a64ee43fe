"""The CSV files of a run: the only module that reads or writes them.

Cells are data: text stays text (a class may be named 007, nan or true), a number is written in the
shortest form that reads back the same, an empty cell is a missing value. File names that are not
UTF-8 survive as surrogates.
"""

import csv
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from veduta.config.settings import TRIAL_SETTINGS, Settings
from veduta.errors import InputError
from veduta.runtime.disk import write_atomically

SPLITS = ("path", "label", "split", "sha256", "fold")
REJECTED = ("path", "problem", "detail", "action")
EXPLANATIONS = ("path", "label", "probability", "target", "overlay")

TEXT_SETTINGS = frozenset(
    {name for name in TRIAL_SETTINGS if Settings.model_fields[name].annotation is str}
    | {"channels", "pooling", "hidden", "betas", "patience", "views", "augment"}
)
"""Hyperparameters that are read as text: words, lists, and counts that may be missing."""

TEXT = frozenset(
    {
        *("path", "label", "split", "sha256", "fold", "trial", "status", "class"),
        *("y_true", "y_pred"),
        *("problem", "detail", "action", "target", "overlay", "suggested_label", "first", "second"),
        *("change",),
    }
    | TEXT_SETTINGS
)
"""Columns that are read as text in every table."""


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table."""
    write_atomically(path, table_to_csv(table))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows under their column names."""
    write_table(path, pd.DataFrame(list(rows), columns=list(columns)))


def table_to_csv(table: pd.DataFrame) -> bytes:
    """Return a table as the bytes of its file.

    Only what must be quoted is quoted. A carriage return, which Python's writer leaves bare and
    every reader takes for the end of a row, has all text quoted.
    """
    text: str = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode("utf-8", "surrogateescape")


def read_table(path: Path) -> pd.DataFrame:
    """Return a table that Veduta wrote; columns of `TEXT` are text, empty cells are missing.

    Raises:
        InputError: it is missing or damaged.
    """
    return _read(path, text=TEXT, missing=[""])


def read_splits(path: Path) -> pd.DataFrame:
    """Return `splits.csv`: path, label, split, sha256 and, with folds, fold; all of it text.

    Raises:
        InputError: it is missing or damaged, or lacks a column.
    """
    table = _read(path, text=SPLITS, missing=[])
    if absent := [name for name in SPLITS[:4] if name not in table]:
        raise InputError(f"{path} must have the column {absent[0]}; it has none: restore it")
    return table


def read_confusion(path: Path) -> pd.DataFrame:
    """Return `confusion.csv` as counts: rows are the true classes, columns the predicted ones.

    Raises:
        InputError: it is missing or damaged.
    """
    table = _read(path, text=("y_true",), missing=[""])
    counts = table.set_index("y_true").astype(np.int64)
    counts.columns = counts.index  # a class may be named y_true, too
    return counts


def write_confusion(path: Path, counts: pd.DataFrame) -> None:
    """Write counts as `confusion.csv`."""
    write_table(path, counts.reset_index(names="y_true", allow_duplicates=True))


def _read(path: Path, *, text: Collection[str], missing: list[str]) -> pd.DataFrame:
    """Return a CSV file by one set of rules."""
    try:
        table: pd.DataFrame = pd.read_csv(
            path,
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values=missing,
            encoding_errors="surrogateescape",
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"a table must be as it was written; {path} cannot be read ({error}): restore it, let "
            "`veduta rebuild` write it again, or run the command again"
        ) from error
    return table
