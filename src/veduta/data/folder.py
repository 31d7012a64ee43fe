"""Find the labeled images of a folder or a table and recognize its layout."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from unicodedata import normalize

from veduta.config.parsing import suggestion
from veduta.data.files import below, exists, look
from veduta.data.sample import (
    CLASS_FOLDERS,
    SHOWN,
    SPLIT_FOLDERS,
    SPLITS,
    Folder,
    Sample,
    some,
    split_of,
    splits_of,
)
from veduta.data.table import read_table
from veduta.errors import InputError


def class_faults(data: Folder) -> list[str]:
    """What is wrong with the classes of a data set."""
    faults = []
    if not data.classes and data.layout == SPLIT_FOLDERS:
        rule = f"split folders need a train/ with images among them; {data.root} has none"
        return [f"{rule}; add it, or keep one folder a class without splits"]
    if not data.classes:
        return [f"there must be images to train on; {data.root} has none; add some"]
    faults += [
        f"the name of a class must be UTF-8, so that a model can carry it; rename {name!r}"
        for name in data.classes
        if not _is_unicode(name)
    ]
    if len(data.classes) == 1:
        inner = data.root / data.classes[0]
        deeper = data.layout == CLASS_FOLDERS and look(inner).folders
        faults.append(
            f"a classifier needs at least two classes; {data.root} has only {data.classes[0]!r}; "
            + (f"did you mean {str(inner)!r}?" if deeper else "add another")
        )
    return faults + _twin_faults(data.classes) + _stranger_faults(data)


def _twin_faults(classes: Sequence[str]) -> list[str]:
    """Classes whose names a person would take for one; of many, the first few.

    Letters that differ in case are classes of their own, as in pictures of handwriting.
    """
    rule = "classes must differ in more than case, spaces and how their letters are encoded"
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(_folded(name), []).append(name)
    twins = [names for names in groups.values() if len(names) > 1 and not _are_letters(names)]
    faults = [
        f"{rule}; got {' and '.join(map(ascii if _look_alike(names) else repr, names))}; give "
        "their images one label, or rename one of them"
        for names in twins[:SHOWN]
    ]
    if len(twins) > SHOWN:
        faults.append(f"{rule}; {len(twins) - SHOWN} more groups of classes do not")
    return faults


def _stranger_faults(data: Folder) -> list[str]:
    """Classes that only validation or test images have; of many, the first few by name."""
    rule, known, faults = "classes come from the training images", set(data.classes), []
    for split in ("test", "validation"):
        found = {str(sample.label) for sample in data.samples if sample.split == split}
        strangers = sorted(found - known)
        faults += [
            f"{rule}; {split} has {label!r}, which they lack; {_cure(label, data.classes)}"
            for label in strangers[:SHOWN]
        ]
        if len(strangers) > SHOWN:
            faults.append(f"{rule}; {split} has {len(strangers) - SHOWN} more that they lack")
    return faults


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cure(label: str, classes: Sequence[str]) -> str:
    """What a class may be that training does not know.

    Names that look the same may be written in two ways: a Mac keeps the letters of é apart.
    """
    twins = [name for name in classes if _folded(name) == _folded(label)]
    close = twins or get_close_matches(label, classes, n=1)
    if not close:
        return "add it to them, or take it out"
    same = _look_alike([close[0], label])
    how = f" They look alike, but {close[0]!a} is not {label!a}" if same else ""
    return f"did you mean {close[0]!r}?{how}"


def _look_alike(names: Sequence[str]) -> bool:
    """Whether some of these names differ in nothing that can be seen."""
    return len({_normalized(name) for name in names}) < len(names)


def _are_letters(names: Sequence[str]) -> bool:
    """Whether these names are different single characters."""
    return not _look_alike(names) and all(len(_normalized(name)) == 1 for name in names)


def _normalized(name: str) -> str:
    """A name with each letter and each space written in one way."""
    return " ".join(normalize("NFC", name).split())


def _folded(name: str) -> str:
    return _normalized(name).casefold()


__all__ = ["Folder", "Sample", "read_folder", "read_images"]

TABLE = "name that of each image in a .csv file with the columns image_path,label"


@dataclass(slots=True)
class _Found:
    """What the walk has collected so far."""

    root: Path
    samples: list[Sample] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ignored: int = 0

    def add(self, folder: Path, label: str | None, split: str | None) -> int:
        """Take in every image below `folder`; how many there are."""
        listing = below(folder)
        self.ignored += listing.ignored
        self.faults += listing.faults
        for path in listing.images:
            name = path.relative_to(self.root).as_posix()
            self.samples.append(Sample(path, name, label, split))
        return len(listing.images)


def read_folder(root: str | Path, *, classes: Sequence[str] | None = None) -> Folder:
    """Find the samples of a data set.

    Images in folders below a class folder belong to the class. Classes come from the training
    images and are matched by name in the other splits. Images to be predicted have no label.

    Args:
        root: A folder of class folders or of split folders, or a CSV file.
        classes: Those of a model that is to be judged on the data. Then nothing need be there to
            train on, and which labels are among them is for the caller to say.

    Raises:
        InputError: there is nothing to train on, or something contradicts the layout; every fault
            that was found.
    """
    root = Path(root)
    if not exists(root):
        raise InputError(f"data must be a folder or a .csv file; {str(root)!r} does not exist")
    if root.is_dir():
        data, faults = _read_tree(root)
    elif root.suffix.lower() == ".csv" and root.is_file():
        data, faults = read_table(root)
    else:
        raise InputError(
            f"data must be a folder of class folders, or a .csv file; {str(root)!r} is neither"
        )
    if classes is None and (data.classes or not faults):
        faults += class_faults(data)
    if error := InputError.unless_empty(faults):
        raise error
    return data if classes is None else replace(data, classes=tuple(classes))


def read_images(paths: Iterable[str | Path]) -> tuple[Sample, ...]:
    """Images to be predicted: files as given, and every image below the folders given.

    Names are the paths as a user would type them; order is the given one, sorted within a folder.
    What is given twice stands in the result twice, so that it can be laid beside what was given.

    Raises:
        InputError: some paths do not exist, or there is no image among them.
    """
    typed = list(paths)
    if missing := [str(path) for path in typed if not exists(Path(path))]:
        raise InputError(f"every path must exist; not so: {some(missing)}; correct the paths")
    given = list(map(Path, typed))
    listings = {path: below(path) for path in dict.fromkeys(given) if path.is_dir()}
    faults = [fault for listing in listings.values() for fault in listing.faults]
    faults += [
        f"a folder to predict must hold images; {path} holds none"
        for path, listing in listings.items()
        if not listing.images
    ]
    if not given:
        faults.append("there must be something to predict; no path was given")
    if error := InputError.unless_empty(faults):
        raise error
    return tuple(
        Sample(image, image.as_posix(), None, None)
        for path in given
        for image in (listings[path].images if path in listings else [path])
    )


def _read_tree(root: Path) -> tuple[Folder, list[str]]:
    found = _Found(root)
    top = look(root)
    found.ignored += top.ignored
    found.faults += top.faults
    named = splits_of([folder.name for folder in top.folders])
    if named:
        layout = SPLIT_FOLDERS
        found.ignored += len(top.images)
        splits = {folder: named[folder.name] for folder in top.folders if folder.name in named}
        _read_splits(found, splits, [folder for folder in top.folders if folder not in splits])
    else:
        layout = CLASS_FOLDERS
        _read_classes(found, root, None)
    samples = sorted(found.samples, key=lambda sample: sample.name)
    trained = {sample.label for sample in samples if sample.split in {None, "train"}}
    classes = tuple(sorted(label for label in trained if label is not None))
    return Folder(root, layout, classes, tuple(samples), found.ignored), found.faults


def _read_splits(found: _Found, splits: Mapping[Path, str], others: Sequence[Path]) -> None:
    by_split: dict[str, list[Path]] = {}
    for folder, split in splits.items():
        by_split.setdefault(split, []).append(folder)
    for folder in others:
        if below(folder).images:
            found.faults.append(
                f"beside {next(iter(splits)).name}/ stand only splits; got {folder.name}/; "
                f"{suggestion(folder.name.lower(), SPLITS)}; where they are classes, {TABLE}"
            )
        else:
            found.ignored += 1
    for split, same in by_split.items():
        if len(same) > 1:
            names = " and ".join(f"{folder.name}/" for folder in same)
            found.faults.append(f"a split has one folder; {names} both mean {split}; keep one")
        elif split == "predict":
            found.add(_undoubled(same[0]), None, split)
        else:
            _read_classes(found, _undoubled(same[0]), split)


def _undoubled(folder: Path) -> Path:
    """The inner one of Kaggle's seg_train/seg_train, where the outer one holds nothing else."""
    listing = look(folder)
    if len(listing.folders) != 1 or listing.images:
        return folder
    inner = listing.folders[0]
    same = inner.name.casefold() == folder.name.casefold()
    return inner if same or split_of(inner.name) == (split_of(folder.name) or "") else folder


def _read_classes(found: _Found, folder: Path, split: str | None) -> None:
    """Each folder in `folder` is a class."""
    listing = look(folder)
    where = folder if split is None else f"{folder.relative_to(found.root).as_posix()}/"
    if not listing.folders:
        loose = f"images directly in it: {len(listing.images)}"
        cure = "or call the folder predict/" if split == "test" else "and name each after its class"
        found.faults.append(f"{where} must hold one folder a class; {loose}; make them, {cure}")
        return
    if split in {None, "train"} and (inner := _shared_folders(listing.folders)):
        found.faults.append(_no_classes(str(where), listing.folders, inner))
        return
    found.ignored += len(listing.images) + (listing.ignored if split else 0)
    empty = [one.name for one in listing.folders if not found.add(one, one.name, split)]
    if empty and split in {None, "train"}:
        found.faults.append(
            f"every class folder in {where} must hold an image; none in {some(empty)}; add images, "
            "or remove the folders"
        )


def _shared_folders(folders: Sequence[Path]) -> list[str]:
    """Names of the folders, two or more, in each of `folders`; none if these are classes.

    Folders of which each holds nothing but folders, and the same ones, are splits, sources or
    kinds of image. Those of the one with the fewest count: a split may lack a class.
    """
    names: list[set[str]] = []
    for folder in folders:
        listing = look(folder)
        while len(listing.folders) == 1 and not listing.images:
            listing = look(listing.folders[0])
        if listing.images:
            return []
        names.append({inner.name for inner in listing.folders})
    shared = set[str].intersection(*names)
    fewest = min(map(len, names))
    return sorted(shared) if len(names) > 1 and len(shared) == fewest > 1 else []


def _no_classes(where: str, folders: Sequence[Path], inner: Sequence[str]) -> str:
    """Why `folders`, of which each holds folders called `inner`, are no classes."""
    names = [folder.name for folder in folders]
    if all(split_of(name) for name in inner):
        cure = f"put the splits above the classes: {inner[0]}/{names[0]}/"
    else:
        cure = (
            "where they are splits, call them train/, validation/ and test/; where they are "
            f"classes, {TABLE}"
        )
    return (
        f"folders of classes must not all hold the same folders; in {where} {some(names)} hold "
        f"{some(inner)} each; {cure}"
    )
