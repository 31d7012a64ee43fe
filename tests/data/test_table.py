"""CSV files as data sets: values are kept as written, and all faults are reported."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from veduta.data.folder import read_folder
from veduta.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("1.jpg", "2.jpg", "3.dat", "deep/4.jpg", "a, b.jpg"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "data"


def write_table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    path = root / "list.CSV"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_table_without_splits(root: Path) -> None:
    rows = '2.jpg,nan\n1.jpg,007\ndeep/4.jpg,nan\n3.dat,"=cmd(), x"\n"a, b.jpg",NA\n'
    data = read_folder(write_table(root, "image_path,label\n" + rows))
    assert (data.layout, data.root, data.ignored) == ("table", root, 0)
    assert data.classes == ("007", "=cmd(), x", "NA", "nan")
    assert [(s.name, s.label, s.split) for s in data.samples] == [
        ("1.jpg", "007", None),
        ("2.jpg", "nan", None),
        ("3.dat", "=cmd(), x", None),
        ("a, b.jpg", "NA", None),
        ("deep/4.jpg", "nan", None),
    ]
    assert data.samples[-1].path == root / "deep" / "4.jpg"


def test_a_table_with_splits_in_any_order_of_columns(root: Path) -> None:
    rows = "a,Val,1.jpg\r\nb,train,2.jpg\r\na,TRAIN,3.dat\r\n\r\n,predict,deep/4.jpg\r\n"
    data = read_folder(write_table(root, "\ufefflabel, split ,image_path\r\n" + rows))
    assert data.classes == ("a", "b")
    assert [(s.name, s.label, s.split) for s in data.samples] == [
        ("1.jpg", "a", "validation"),
        ("2.jpg", "b", "train"),
        ("3.dat", "a", "train"),
        ("deep/4.jpg", None, "predict"),
    ]


def test_paths_may_be_outside_the_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "up.jpg").touch()
    text = f"image_path,label\n../up.jpg,a\n{root / '1.jpg'},b\n"
    data = read_folder(write_table(root, text))
    assert [s.name for s in data.samples] == ["../up.jpg", str(root / "1.jpg")]
    assert all(s.path.exists() for s in data.samples)


def test_white_space_around_a_field_is_removed(root: Path) -> None:
    rows = '1.jpg ,a\t, train \n "2.jpg",b ,train\n3.dat, "a\u00a0",Test\n'
    data = read_folder(write_table(root, "image_path, label ,split\n" + rows))
    assert data.classes == ("a", "b")
    assert [(s.name, s.label, s.split) for s in data.samples] == [
        ("1.jpg", "a", "train"),
        ("2.jpg", "b", "train"),
        ("3.dat", "a", "test"),
    ]
    assert all(sample.path.is_file() for sample in data.samples)


def test_white_space_inside_a_label_and_of_a_file_name_is_kept(root: Path) -> None:
    (root / "deep" / "5.jpg ").touch()
    data = read_folder(write_table(root, "image_path,label\n1.jpg,polar bear\ndeep/5.jpg ,bear\n"))
    assert data.classes == ("bear", "polar bear")
    assert [sample.name for sample in data.samples] == ["1.jpg", "deep/5.jpg "]
    assert all(sample.path.is_file() for sample in data.samples)


def test_a_path_with_and_without_white_space_is_one_path(root: Path) -> None:
    with pytest.raises(
        InputError, match="every image_path must occur only once; violated by 1: '1"
    ):
        read_folder(write_table(root, "image_path,label\n1.jpg,a\n1.jpg ,a\n2.jpg,b\n"))


BAD: dict[str, tuple[str, Sequence[str]]] = {  # text; a piece of each fault
    "empty": ("", ["image_path is missing; add it", "label is missing; add it"]),
    "no rows": ("image_path,label\n", ["have a row for each image; it has no rows"]),
    "unknown columns": (
        "image,label,weight\n",
        [
            "columns image_path,label[,split]; got 'image'; did you mean 'image_path'?",
            "got 'weight'; known are",
            "image_path is missing",
        ],
    ),
    "semicolons": ("image_path;label\n1.jpg;a\n", ["got 'image_path;label'", "image", "label is"]),
    "a repeated column": ("image_path,label,label\n", ["label occurs 2 times; keep one"]),
    "all faults of rows": (
        (
            "image_path,label,split\n1.jpg,a,train\n1.jpg,b,train\n2.jpg,b\n3.dat,b,tset\n"
            "no1,b,train\nno2,b,train\nno3,b,test\nno4,b,test\ndeep/4.jpg,,train\n"
        ),
        [
            "every row must have 3 fields, like the header; violated by 1: 'line 4'; quote",
            "violated by 4: 'no1', 'no2', 'no3' and 1 more; correct the paths",
            "every image_path must occur only once; violated by 1: '1.jpg'",
            (
                "every split must be train, validation, test or predict; violated by 1: 'tset'; "
                "did you mean 'test'?"
            ),
            "must have a label, unless its split is predict; violated by 1: 'deep/4.jpg'",
        ],
    ),
    "invalid paths": (
        f'image_path,label\n{"x" * 5000},a\n"a\0b",b\n',
        ["every image_path must exist relative to the folder of the table; violated by 2:"],
    ),
    "no training": (
        "image_path,label,split\n1.jpg,a,test\n2.jpg,b,test\n",
        ["there must be images to train on"],
    ),
    "one class": ("image_path,label\n1.jpg,a\n2.jpg,a\n", ["has only 'a'; add another"]),
    "a class without training images": (
        "image_path,label,split\n1.jpg,a,train\n2.jpg,b,train\n3.dat,bb,test\n",
        ["'bb' has images in test only; did you mean 'b'?"],
    ),
    "a label of white space": (
        'image_path,label\n1.jpg,a\n2.jpg,b\n3.dat," "\n',
        ["every image must have a label, unless its split is predict; violated by 1: '3.dat'"],
    ),
    "labels that differ in case": (
        "image_path,label\n1.jpg,Cat\n2.jpg,cat\n3.dat,dog\n",
        ["must differ in more than case, * got 'Cat' and 'cat'; give their images one label"],
    ),
    "an unterminated quote": ('image_path,label\n"1.jpg,a\n', ["unexpected end of data"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_tables(kind: str, root: Path) -> None:
    text, pieces = BAD[kind]
    with pytest.raises(InputError) as caught:
        read_folder(write_table(root, text))
    assert len(caught.value.faults) == len(pieces), caught.value.faults
    for fault, piece in zip(caught.value.faults, pieces, strict=True):
        assert all(part in fault for part in piece.split("*")), fault
        assert "\n" not in fault


def test_another_encoding_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match="must be a CSV file in UTF-8"):
        read_folder(write_table(root, "image_path,label\n1.jpg,é\n", "latin-1"))


def test_a_folder_whose_name_ends_in_csv_is_a_folder(root: Path) -> None:
    for name in ("a", "b"):
        (root / "set.csv" / name).mkdir(parents=True)
        (root / "set.csv" / name / "1.jpg").touch()
    assert read_folder(root / "set.csv").layout == "class folders"
