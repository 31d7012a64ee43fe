"""Tables: text stays text, numbers stay exact, and every reader follows the same rules."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.errors import InputError
from veduta.runs.tables import (
    SPLITS,
    read_confusion,
    read_splits,
    read_table,
    write_confusion,
    write_rows,
    write_table,
)

WORDS = [
    *("nan", "007", "1e5", "true", "None", "a,b", 'say "x"', "two\nlines", "=cmd()", "éä"),
    *("a carriage\rreturn", "both\r\n", " spaces ", "caf\udce9", "NA", "-0"),
]


def test_words_that_look_like_numbers_survive(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_rows(path, ("label", "n"), [(word, 1.5) for word in [*WORDS, ""]])
    plain = pd.read_csv(path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape")
    assert list(plain["label"]) == [*WORDS, ""]
    assert set(plain["n"]) == {"1.5"}
    table = read_table(path)
    assert list(table["label"])[:-1] == WORDS
    assert pd.isna(table["label"].iloc[-1])
    assert table["n"].tolist() == [1.5] * (len(WORDS) + 1)


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_numbers_keep_every_bit(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    write_table(path, pd.DataFrame({"loss": numbers}))
    assert read_table(path)["loss"].tolist() == numbers


def test_missing_cells_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    write_rows(path, ("trial", "patience", "val_loss"), [("t1", None, 0.5), ("t2", 3, None)])
    table = read_table(path)
    assert table.isna().to_numpy().tolist() == [[False, True, False], [False, False, True]]


def test_splits_are_text_and_empty_labels_stay(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    rows = [("a.png", "007", "train", "0" * 64, "1"), ("b.png", "", "test", "1" * 64, "")]
    write_rows(path, SPLITS, rows)
    assert read_splits(path).to_numpy().tolist() == [list(row) for row in rows]
    write_rows(path, SPLITS[:4], [row[:4] for row in rows])
    assert "fold" not in read_splits(path)
    write_rows(path, ("path", "label", "sha256"), [])
    with pytest.raises(InputError, match=r"splits\.csv.*column split"):
        read_splits(path)


@pytest.mark.parametrize("names", [["blue", "red"], ["y_true", "y_pred"], ["007", "nan"]])
def test_a_confusion_matrix_reads_back(tmp_path: Path, names: list[str]) -> None:
    counts = pd.DataFrame([[3, 1], [0, 2]], index=names, columns=names)
    write_confusion(tmp_path / "confusion.csv", counts)
    read = read_confusion(tmp_path / "confusion.csv")
    assert read.to_numpy().tolist() == [[3, 1], [0, 2]]
    assert list(read.index) == list(read.columns) == names
    assert (tmp_path / "confusion.csv").read_text().startswith("y_true,")


@pytest.mark.parametrize("content", [b"", b'a,b\n"1', b"a\n1,2\n3\n4,5,6\n"])
def test_damaged_tables_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trials.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"trials\.csv"):
        read_table(path)
    with pytest.raises(InputError, match=r"none\.csv"):
        read_table(tmp_path / "none.csv")
