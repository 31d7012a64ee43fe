"""Layouts of data sets, and their faults."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from veduta.data.folder import read_folder, read_images
from veduta.data.sample import parse_split
from veduta.errors import InputError


def create_tree(root: Path, *names: str) -> Path:
    """Create empty files, and folders for names that end in a slash."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return root


GOOD: dict[str, tuple[Sequence[str], Sequence[str], Sequence[tuple[str, str | None, str | None]]]]
GOOD = {  # files; classes; (name, label, split) of each sample in order
    "class folders": (
        ["dog/2.jpg", "cat/1.PNG", "cat/10.jpeg", "Zebra/1.webp"],
        ["Zebra", "cat", "dog"],
        [
            ("Zebra/1.webp", "Zebra", None),
            ("cat/1.PNG", "cat", None),
            ("cat/10.jpeg", "cat", None),
            ("dog/2.jpg", "dog", None),
        ],
    ),
    "nested": (
        ["cat/tabby/young/1.jpg", "cat/2.jpg", "dog/x.jpg/1.jpg"],
        ["cat", "dog"],
        [
            ("cat/2.jpg", "cat", None),
            ("cat/tabby/young/1.jpg", "cat", None),
            ("dog/x.jpg/1.jpg", "dog", None),
        ],
    ),
    "split folders": (
        ["train/a/1.jpg", "train/b/2.jpg", "val/b/3.jpg", "test/a/4.jpg", "predict/x/5.jpg"],
        ["a", "b"],
        [
            ("predict/x/5.jpg", None, "predict"),
            ("test/a/4.jpg", "a", "test"),
            ("train/a/1.jpg", "a", "train"),
            ("train/b/2.jpg", "b", "train"),
            ("val/b/3.jpg", "b", "validation"),
        ],
    ),
    "other spellings": (
        ["Train/a/1.jpg", "Train/b/2.jpg", "VALID/b/3.jpg", "pred/4.jpg"],
        ["a", "b"],
        [
            ("Train/a/1.jpg", "a", "train"),
            ("Train/b/2.jpg", "b", "train"),
            ("VALID/b/3.jpg", "b", "validation"),
            ("pred/4.jpg", None, "predict"),
        ],
    ),
    "kaggle": (
        [
            "seg_train/seg_train/a/1.jpg",
            "seg_train/seg_train/b/1.jpg",
            "seg_test/seg_test/a/1.jpg",
            "seg_pred/seg_pred/1.jpg",
        ],
        ["a", "b"],
        [
            ("seg_pred/seg_pred/1.jpg", None, "predict"),
            ("seg_test/seg_test/a/1.jpg", "a", "test"),
            ("seg_train/seg_train/a/1.jpg", "a", "train"),
            ("seg_train/seg_train/b/1.jpg", "b", "train"),
        ],
    ),
    "long spellings": (
        ["Training/a/1.jpg", "Training/b/2.jpg", "Testing/b/3.jpg", "dev-set/a/4.jpg"],
        ["a", "b"],
        [
            ("Testing/b/3.jpg", "b", "test"),
            ("Training/a/1.jpg", "a", "train"),
            ("Training/b/2.jpg", "b", "train"),
            ("dev-set/a/4.jpg", "a", "validation"),
        ],
    ),
    "doubled": (
        [
            "training_set/training_set/cats/1.jpg",
            "training_set/training_set/dogs/1.jpg",
            "test_set/test_set/cats/1.jpg",
        ],
        ["cats", "dogs"],
        [
            ("test_set/test_set/cats/1.jpg", "cats", "test"),
            ("training_set/training_set/cats/1.jpg", "cats", "train"),
            ("training_set/training_set/dogs/1.jpg", "dogs", "train"),
        ],
    ),
    "named after the data": (
        [
            "asl_alphabet_train/asl_alphabet_train/A/1.jpg",
            "asl_alphabet_train/asl_alphabet_train/B/1.jpg",
            "asl_alphabet_test/B/1.jpg",
        ],
        ["A", "B"],
        [
            ("asl_alphabet_test/B/1.jpg", "B", "test"),
            ("asl_alphabet_train/asl_alphabet_train/A/1.jpg", "A", "train"),
            ("asl_alphabet_train/asl_alphabet_train/B/1.jpg", "B", "train"),
        ],
    ),
    "classes with a word that means a split": (
        ["bullet train/1.jpg", "steam train/1.jpg", "test tube/1.jpg"],
        ["bullet train", "steam train", "test tube"],
        [
            ("bullet train/1.jpg", "bullet train", None),
            ("steam train/1.jpg", "steam train", None),
            ("test tube/1.jpg", "test tube", None),
        ],
    ),
    "one folder of the same name in each class": (
        ["cat/images/1.jpg", "dog/images/1.jpg"],
        ["cat", "dog"],
        [("cat/images/1.jpg", "cat", None), ("dog/images/1.jpg", "dog", None)],
    ),
    "some folders of the same name": (
        ["cat/young/1.jpg", "cat/old/1.jpg", "dog/young/1.jpg", "dog/grey/1.jpg"],
        ["cat", "dog"],
        [
            ("cat/old/1.jpg", "cat", None),
            ("cat/young/1.jpg", "cat", None),
            ("dog/grey/1.jpg", "dog", None),
            ("dog/young/1.jpg", "dog", None),
        ],
    ),
    "an image beside folders of the same names": (
        ["cat/x/1.jpg", "cat/y/1.jpg", "dog/x/1.jpg", "dog/y/1.jpg", "dog/1.jpg"],
        ["cat", "dog"],
        [
            ("cat/x/1.jpg", "cat", None),
            ("cat/y/1.jpg", "cat", None),
            ("dog/1.jpg", "dog", None),
            ("dog/x/1.jpg", "dog", None),
            ("dog/y/1.jpg", "dog", None),
        ],
    ),
    "letters in both cases": (
        ["A/1.jpg", "a/1.jpg", "\u00c9/1.jpg", "\u00e9/1.jpg"],
        ["A", "a", "\u00c9", "\u00e9"],
        [(f"{name}/1.jpg", name, None) for name in "Aa\u00c9\u00e9"],
    ),
    "strange classes": (
        ["nan/1.jpg", "007/1.jpg", "1e5/1.jpg", "true/1.jpg", "=cmd()/1.jpg", "é😀/<b>,\n.jpg"],
        ["007", "1e5", "=cmd()", "nan", "true", "é😀"],
        [
            ("007/1.jpg", "007", None),
            ("1e5/1.jpg", "1e5", None),
            ("=cmd()/1.jpg", "=cmd()", None),
            ("nan/1.jpg", "nan", None),
            ("true/1.jpg", "true", None),
            ("é😀/<b>,\n.jpg", "é😀", None),
        ],
    ),
    "a class less in test": (
        ["train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/b/"],
        ["a", "b"],
        [
            ("test/a/1.jpg", "a", "test"),
            ("train/a/1.jpg", "a", "train"),
            ("train/b/1.jpg", "b", "train"),
        ],
    ),
}


@pytest.mark.parametrize("kind", GOOD)
def test_layouts(kind: str, tmp_path: Path) -> None:
    files, classes, samples = GOOD[kind]
    data = read_folder(str(create_tree(tmp_path, *files)))
    assert data.classes == tuple(classes)
    assert [(s.name, s.label, s.split) for s in data.samples] == samples
    assert all(s.path == tmp_path / s.name and s.path.is_file() for s in data.samples)
    assert data.root == tmp_path
    assert data.layout == ("split folders" if samples[-1][2] else "class folders")
    assert data.ignored == 0


def test_system_files_and_other_files_are_ignored_and_counted(tmp_path: Path) -> None:
    ignored_files = [
        "a/.hidden.jpg", "a/Thumbs.db", "a/.DS_Store", "a/notes.txt", "__MACOSX/a/._1.jpg",
        ".git/x.jpg", "README", "loose.jpg",
    ]  # fmt: skip
    data = read_folder(create_tree(tmp_path, "a/1.jpg", "b/1.jpg", *ignored_files))
    assert [s.name for s in data.samples] == ["a/1.jpg", "b/1.jpg"]
    assert data.classes == ("a", "b")
    assert data.ignored == len(ignored_files)


def test_images_of_unsupported_kinds_are_listed(tmp_path: Path) -> None:
    data = read_folder(create_tree(tmp_path, "a/1.heic", "a/2.svg", "a/3.jpg", "b/1.AVIF"))
    assert [s.name for s in data.samples] == ["a/1.heic", "a/2.svg", "a/3.jpg", "b/1.AVIF"]


BAD: dict[str, tuple[Sequence[str], Sequence[str]]] = {  # files; a piece of each fault
    "empty": (
        [],
        ["must contain a folder per class; it has no folders and 0 images; create folders, named"],
    ),
    "loose images": (["1.jpg", "2.jpg"], ["it has no folders and 2 images"]),
    "one class": (["only/1.jpg"], ["needs at least two classes; * has only 'only'; add another"]),
    "the parent of the data set": (
        ["set/a/1.jpg", "set/b/1.jpg"],
        ["has only 'set'; did you mean '*/set'?"],
    ),
    "empty classes": (
        ["a/1.jpg", "b/2.jpg", "c/", "d/notes.txt"],
        ["every class folder in * must contain an image; 'c', 'd' contain none; add images"],
    ),
    "no training": (
        ["test/a/1.jpg", "val/a/1.jpg"],
        ["split folders must include a train/ with images; * has none; add it, or"],
    ),
    "empty training": (["train/", "test/a/1.jpg"], ["train/ must contain a folder per class;"]),
    "test without labels": (
        ["train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"],
        ["test/ must contain a folder per class; * 1 image; * name the folder predict"],
    ),
    "unknown classes": (
        ["train/a/1.jpg", "train/b/1.jpg", "test/A/1.jpg", "val/z/1.jpg"],
        [
            "must have training images; 'A' has images in test only; did you mean 'a'?",
            "'z' has images in validation only; add training images, or remove the class",
        ],
    ),
    "classes that differ in case": (
        ["Cat/1.jpg", "cat/1.jpg", "CAT/1.jpg", "dog/1.jpg"],
        ["in more than case, * got 'CAT' and 'Cat' and 'cat'; * rename one of them"],
    ),
    "classes that differ in space": (
        ["polar bear/1.jpg", "polar bear /1.jpg", "polar  bear/1.jpg", "dog/1.jpg"],
        ["got 'polar  bear' and 'polar bear' and 'polar bear '; give their"],
    ),
    "classes that differ in the encoding of a letter": (
        ["caf\u00e9/1.jpg", "cafe\u0301/1.jpg", "bar/1.jpg"],
        [r"got 'cafe\u0301' and 'caf\xe9'; give their"],
    ),
    "single letters that differ in encoding": (
        ["\u00e9/1.jpg", "e\u0301/1.jpg", "\u00c9/1.jpg"],
        [r"got 'e\u0301' and '\xc9' and '\xe9'; give their"],
    ),
    "many classes that differ in case": (
        [f"{name}{number}/1.jpg" for number in range(5) for name in ("cat", "Cat")],
        [*(f"got 'Cat{number}' and 'cat{number}'" for number in range(3)), "2 more groups"],
    ),
    "misspelled split": (
        ["train/a/1.jpg", "train/b/1.jpg", "tset/a/1.jpg", "docs/x.txt"],
        ["next to train/ must be a split; got tset/; did you mean 'test'?; * in a .csv file"],
    ),
    "splits with unknown names": (
        ["Part 1/a/1.jpg", "Part 1/b/1.jpg", "Part 2/a/1.jpg", "Part 2/b/1.jpg"],
        ["'Part 1', 'Part 2' contain 'a', 'b' each; * name them train/"],
    ),
    "splits with unknown names, a missing class and a doubled folder": (
        ["one/a/1.jpg", "one/b/1.jpg", "one/c/1.jpg", "two/two/a/1.jpg", "two/two/c/1.jpg"],
        ["'one', 'two' contain 'a', 'c' each"],
    ),
    "splits below the classes": (
        [f"{label}/{part}/1.jpg" for label in ("cat", "dog") for part in ("train", "test")],
        ["'cat', 'dog' contain 'test', 'train' each; put the splits above the classes: test/cat/"],
    ),
    "images and masks of each class": (
        [f"{label}/{kind}/1.jpg" for label in ("flu", "well") for kind in ("images", "masks")],
        ["'flu', 'well' contain 'images', 'masks' each; * label of each image in a .csv file"],
    ),
    "sources in the training folder": (
        [f"train/{place}/{label}/1.jpg" for place in ("web", "camera") for label in "ab"],
        ["in train/ 'camera', 'web' contain 'a', 'b' each"],
    ),
    "two spellings of a split": (
        ["train/a/1.jpg", "train/b/1.jpg", "Training-Set/a/1.jpg"],
        ["a split must have one folder; Training-Set/ and train/ both mean train; keep one"],
    ),
    "two folders of a split": (
        ["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "valid/b/1.jpg"],
        ["a split must have one folder; val/ and valid/ both mean validation; keep one"],
    ),
    "several faults": (
        ["train/a/1.jpg", "train/c/", "tset/a/1.jpg", "val/z/1.jpg", "test/1.jpg"],
        [
            "got tset/",
            "'c' contain none",
            "name the folder predict",
            "has only 'a'",
            "'z' has images",
        ],
    ),
}


def expect_faults(path: Path, pieces: Sequence[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_folder(path)
    assert len(caught.value.faults) == len(pieces), caught.value.faults
    for piece in pieces:
        parts = piece.split("*")
        assert any(all(part in fault for part in parts) for fault in caught.value.faults), piece
    assert all("\n" not in fault for fault in caught.value.faults)


@pytest.mark.parametrize("kind", BAD)
def test_bad_layouts(kind: str, tmp_path: Path) -> None:
    files, pieces = BAD[kind]
    expect_faults(create_tree(tmp_path, *files), pieces)


@pytest.mark.parametrize("name", ["nowhere", "x" * 300, "a\0b"])
def test_a_path_that_does_not_exist(name: str, tmp_path: Path) -> None:
    expect_faults(tmp_path / name, ["must be a folder or a .csv file; * does not exist"])


def test_a_path_that_is_neither(tmp_path: Path) -> None:
    create_tree(tmp_path, "a.zip")
    expect_faults(tmp_path / "a.zip", ["must be a folder of class folders, or a .csv file;"])


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_tree(tmp_path, "a/1.jpg", "b/1.jpg", "b/locked/1.jpg")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    expect_faults(tmp_path, ["every folder must be readable; * Permission denied; change its"])


def test_circular_links_are_followed_once(tmp_path: Path) -> None:
    create_tree(tmp_path, "a/1.jpg", "a/deep/2.jpg", "b/1.jpg")
    (tmp_path / "a/deep/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to("self")
    (tmp_path / "b/there").symlink_to(tmp_path / "a/deep")
    names = [sample.name for sample in read_folder(tmp_path).samples]
    assert names[:2] == ["a/1.jpg", "a/deep/2.jpg"]
    assert "b/there/2.jpg" in names
    assert len(names) < 8


def test_class_folders_may_be_links(tmp_path: Path) -> None:
    create_tree(tmp_path, "store/x/1.jpg", "data/b/1.jpg")
    (tmp_path / "data/a").symlink_to(tmp_path / "store/x")
    assert [s.name for s in read_folder(tmp_path / "data").samples] == ["a/1.jpg", "b/1.jpg"]


def test_special_files_are_listed_but_not_opened(tmp_path: Path) -> None:
    create_tree(tmp_path, "a/1.jpg", "b/1.jpg")
    os.mkfifo(tmp_path / "a/2.jpg")
    (tmp_path / "a/3.jpg").symlink_to("nowhere")
    names = [sample.name for sample in read_folder(tmp_path).samples]
    assert names == ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg"]
    assert [s.name for s in read_images([tmp_path / "a/2.jpg"])] == [str(tmp_path / "a/2.jpg")]


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    create_tree(tmp_path, "a/1.jpg", "b/1.jpg")
    with open(os.fsencode(tmp_path) + b"/a/\xff.jpg", "wb"):  # noqa: PTH123
        pass
    assert [os.fsencode(s.name) for s in read_folder(tmp_path).samples][1] == b"a/\xff.jpg"


def test_images_to_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_tree(tmp_path, "in/2.jpg", "in/1.jpg", "in/deep/0.png", "in/x.txt", "z.dat", "a.jpg")
    monkeypatch.chdir(tmp_path)
    samples = read_images(["z.dat", "in", Path("a.jpg")])
    assert [s.name for s in samples] == ["z.dat", "in/1.jpg", "in/2.jpg", "in/deep/0.png", "a.jpg"]
    assert {(s.label, s.split) for s in samples} == {(None, None)}
    assert all(s.path.is_file() for s in samples)


def test_paths_given_twice_have_two_samples_in_the_given_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_tree(tmp_path, "in/2.jpg", "in/1.jpg", "a.jpg")
    monkeypatch.chdir(tmp_path)
    samples = read_images(["a.jpg", "in", Path("a.jpg"), "./a.jpg", "in/2.jpg", "in"])
    inside = ["in/1.jpg", "in/2.jpg"]
    assert [s.name for s in samples] == ["a.jpg", *inside, "a.jpg", "a.jpg", "in/2.jpg", *inside]


def test_paths_may_be_a_generator(tmp_path: Path) -> None:
    create_tree(tmp_path, "1.jpg", "2.jpg")
    samples = read_images(tmp_path / name for name in ("2.jpg", "1.jpg"))
    assert [s.path.name for s in samples] == ["2.jpg", "1.jpg"]


def test_missing_paths_and_empty_folders_are_errors(tmp_path: Path) -> None:
    create_tree(tmp_path, "empty/", "a.jpg")
    with pytest.raises(InputError, match=r"every path must exist; .*no.*, .*nor this"):
        read_images([tmp_path / "no", tmp_path / "a.jpg", tmp_path / "nor this"])
    with pytest.raises(InputError, match=r"must contain images; .*empty contains none"):
        read_images([tmp_path / "a.jpg", tmp_path / "empty"])
    with pytest.raises(InputError, match="no path was given"):
        read_images([])


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Train TRAINING training_set train-set trainset TrainingData seg_train"),
        ("validation", "val VALID validation validation_set val.images valset dev dev_set"),
        ("test", "test Testing test_set test-images testset TestSet seg_test"),
        ("predict", "pred predict predictions seg_pred"),
        (None, "cats set data images retest trainer test_3 train_val contest setter"),
    ],
)
def test_names_of_splits(split: str | None, names: str) -> None:
    assert {name: parse_split(name) for name in names.split()} == dict.fromkeys(
        names.split(), split
    )
    assert parse_split("training set") == "train"


def test_intel(intel: Path) -> None:
    data = read_folder(intel)
    assert data.layout == "split folders"
    assert data.classes == ("buildings", "forest", "glacier", "mountain", "sea", "street")
    splits = [sample.split for sample in data.samples]
    assert [splits.count(s) for s in ("train", "test", "predict")] == [4200, 900, 210]


def test_links_to_a_parent_folder_add_no_images(tmp_path: Path) -> None:
    root = tmp_path / "data"
    create_tree(root, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    (root / "train" / "a" / "up").symlink_to(root)
    (root / "train" / "b" / "beside").symlink_to("..")
    names = [sample.name for sample in read_folder(root).samples]
    assert names == ["test/a/3.png", "test/b/4.png", "train/a/1.png", "train/b/2.png"]


def test_links_to_other_folders_are_followed(tmp_path: Path) -> None:
    create_tree(tmp_path, "elsewhere/1.png", "data/b/2.png")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere")
    assert len(read_folder(tmp_path / "data").samples) == 2
