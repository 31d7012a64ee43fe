"""Find the labeled images of a folder or a table, and recognize the layout."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from unicodedata import normalize

from veduta.data.files import find_images, list_folder, path_exists
from veduta.data.sample import (
    CLASS_FOLDERS,
    MAX_EXAMPLES,
    PREDICT,
    SPLIT_FOLDERS,
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Folder,
    Sample,
    abbreviate_names,
    parse_split,
    parse_splits,
)
from veduta.data.table import read_table
from veduta.errors import InputError, suggest_name

TABLE_CURE = "list the label of each image in a .csv file with the columns image_path,label"


def read_folder(root: str | Path, *, classes: Sequence[str] | None = None) -> Folder:
    """Find the samples of a data set.

    Images in subfolders of a class folder belong to the class. The classes are those of the
    training images, and are matched by name in the other splits. Images to be predicted have no
    label.

    Args:
        root: a folder of class folders or of split folders, or a CSV file.
        classes: the classes of the model to evaluate on the data. If they are given, training
            images are not required, and the caller checks the labels.

    Raises:
        InputError: there are no training images, or the files do not match a layout; the error
            lists every fault.
    """
    root = Path(root)
    if not path_exists(root):
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
        faults += find_class_faults(data)
    if error := InputError.unless_empty(faults):
        raise error
    return data if classes is None else replace(data, classes=tuple(classes))


def read_images(paths: Iterable[str | Path]) -> tuple[Sample, ...]:
    """Find the images to be predicted: the given files, and every image in the given folders.

    Samples are named by their paths as given, in the order of `paths`; the images of a folder are
    sorted. A path that is given twice has two samples, so that the result matches the input.

    Raises:
        InputError: some paths do not exist, or there are no images.
    """
    given_paths = list(paths)
    if missing := [str(path) for path in given_paths if not path_exists(Path(path))]:
        raise InputError(
            f"every path must exist; these do not: {abbreviate_names(missing)}; correct the paths"
        )
    typed_paths = list(map(Path, given_paths))
    listings = {path: find_images(path) for path in dict.fromkeys(typed_paths) if path.is_dir()}
    faults = [fault for listing in listings.values() for fault in listing.faults]
    faults += [
        f"a folder to predict must contain images; {path} contains none"
        for path, listing in listings.items()
        if not listing.images
    ]
    if not typed_paths:
        faults.append("there must be an image to predict; no path was given")
    if error := InputError.unless_empty(faults):
        raise error
    return tuple(
        Sample(image, image.as_posix(), None, None)
        for path in typed_paths
        for image in (listings[path].images if path in listings else [path])
    )


@dataclass(slots=True)
class _Tree:
    """Samples, faults and ignored entries that were collected so far."""

    root: Path
    samples: list[Sample] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ignored: int = 0

    def add_images(self, folder: Path, label: str | None, split: str | None) -> int:
        """Add every image in `folder` and its subfolders, and return their number."""
        listing = find_images(folder)
        self.ignored += listing.ignored
        self.faults += listing.faults
        for path in listing.images:
            name = path.relative_to(self.root).as_posix()
            self.samples.append(Sample(path, name, label, split))
        return len(listing.images)


def _read_tree(root: Path) -> tuple[Folder, list[str]]:
    """Return the data set in a folder, and the faults of its layout."""
    tree = _Tree(root)
    top = list_folder(root)
    tree.ignored += top.ignored
    tree.faults += top.faults
    split_by_name = parse_splits([folder.name for folder in top.folders])
    if split_by_name:
        layout = SPLIT_FOLDERS
        tree.ignored += len(top.images)
        splits = {f: split_by_name[f.name] for f in top.folders if f.name in split_by_name}
        _read_splits(tree, splits, [folder for folder in top.folders if folder not in splits])
    else:
        layout = CLASS_FOLDERS
        _read_classes(tree, root, None)
    samples = sorted(tree.samples, key=lambda sample: sample.name)
    train_labels = {sample.label for sample in samples if sample.split in {None, TRAIN}}
    classes = tuple(sorted(label for label in train_labels if label is not None))
    return Folder(root, layout, classes, tuple(samples), tree.ignored), tree.faults


def _read_splits(tree: _Tree, splits: Mapping[Path, str], other_folders: Sequence[Path]) -> None:
    """Add the images of split folders; other folders with images are a fault."""
    folders_by_split: dict[str, list[Path]] = {}
    for folder, split in splits.items():
        folders_by_split.setdefault(split, []).append(folder)
    for folder in other_folders:
        if find_images(folder).images:
            tree.faults.append(
                f"every folder next to {next(iter(splits)).name}/ must be a split; got "
                f"{folder.name}/; {suggest_name(folder.name.lower(), SPLITS)}; if they are "
                f"classes, {TABLE_CURE}"
            )
        else:
            tree.ignored += 1
    for split, folders in folders_by_split.items():
        if len(folders) > 1:
            names = " and ".join(f"{folder.name}/" for folder in folders)
            tree.faults.append(f"a split must have one folder; {names} both mean {split}; keep one")
        elif split == PREDICT:
            tree.add_images(_unwrap_repeated_folder(folders[0]), None, split)
        else:
            _read_classes(tree, _unwrap_repeated_folder(folders[0]), split)


def _unwrap_repeated_folder(folder: Path) -> Path:
    """Return the inner folder of seg_train/seg_train if the outer one contains nothing else."""
    listing = list_folder(folder)
    if len(listing.folders) != 1 or listing.images:
        return folder
    inner = listing.folders[0]
    has_same_name = inner.name.casefold() == folder.name.casefold()
    has_same_split = parse_split(inner.name) == (parse_split(folder.name) or "")
    return inner if has_same_name or has_same_split else folder


def _read_classes(tree: _Tree, folder: Path, split: str | None) -> None:
    """Add the images of class folders."""
    listing = list_folder(folder)
    name = str(folder) if split is None else f"{folder.relative_to(tree.root).as_posix()}/"
    if not listing.folders:
        count = len(listing.images)
        images = "1 image" if count == 1 else f"{count} images"
        cure = "or name the folder predict/" if split == TEST else "named after the classes"
        tree.faults.append(
            f"{name} must contain a folder per class; it has no folders and {images}; create "
            f"folders, {cure}"
        )
        return
    if split in {None, TRAIN} and (shared_names := _find_shared_names(listing.folders)):
        tree.faults.append(_describe_shared_names(name, listing.folders, shared_names))
        return
    tree.ignored += len(listing.images) + (listing.ignored if split else 0)
    empty = [
        class_folder.name
        for class_folder in listing.folders
        if not tree.add_images(class_folder, class_folder.name, split)
    ]
    if empty and split in {None, TRAIN}:
        tree.faults.append(
            f"every class folder in {name} must contain an image; {abbreviate_names(empty)} "
            "contain none; add images, or remove the folders"
        )


def _find_shared_names(folders: Sequence[Path]) -> list[str]:
    """Return the names of the subfolders that all `folders` share; none if `folders` are classes.

    Folders that contain only folders, with the same names in each, are splits, sources or kinds of
    images instead of classes. A split may lack a class, so all names in the folder with the fewest
    subfolders must be shared.
    """
    subfolder_names: list[set[str]] = []
    for folder in folders:
        listing = list_folder(folder)
        while len(listing.folders) == 1 and not listing.images:
            listing = list_folder(listing.folders[0])
        if listing.images:
            return []
        subfolder_names.append({subfolder.name for subfolder in listing.folders})
    shared = set[str].intersection(*subfolder_names)
    fewest = min(map(len, subfolder_names))
    return sorted(shared) if len(folders) > 1 and len(shared) == fewest > 1 else []


def _describe_shared_names(name: str, folders: Sequence[Path], shared_names: Sequence[str]) -> str:
    """Return the fault of a folder whose subfolders all contain folders of the same names."""
    names = [folder.name for folder in folders]
    if all(parse_split(shared_name) for shared_name in shared_names):
        cure = f"put the splits above the classes: {shared_names[0]}/{names[0]}/"
    else:
        cure = (
            "if they are splits, name them train/, validation/ and test/; if they are classes, "
            f"{TABLE_CURE}"
        )
    return (
        f"class folders must not all contain the same folders; in {name} "
        f"{abbreviate_names(names)} contain {abbreviate_names(shared_names)} each; {cure}"
    )


def find_class_faults(data: Folder) -> list[str]:
    """Return the faults of the classes of a data set."""
    faults = []
    if not data.classes and data.layout == SPLIT_FOLDERS:
        rule = f"split folders must include a train/ with images; {data.root} has none"
        return [f"{rule}; add it, or use a folder per class without splits"]
    if not data.classes:
        return [f"there must be images to train on; {data.root} has none; add some"]
    faults += [
        f"class names must be valid Unicode, so that a model can store them; rename {name!r}"
        for name in data.classes
        if not _is_unicode(name)
    ]
    if len(data.classes) == 1:
        inner = data.root / data.classes[0]
        has_subfolders = data.layout == CLASS_FOLDERS and list_folder(inner).folders
        faults.append(
            f"a classifier needs at least two classes; {data.root} has only {data.classes[0]!r}; "
            + (f"did you mean {str(inner)!r}?" if has_subfolders else "add another")
        )
    return faults + _find_similar_class_names(data.classes) + _find_unknown_classes(data)


def _find_similar_class_names(classes: Sequence[str]) -> list[str]:
    """Return faults for the first few groups of class names that look alike to a reader.

    Single letters that differ in case are different classes, as in images of handwriting.
    """
    rule = "class names must differ in more than case, spaces and Unicode normalization"
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(_fold_case(name), []).append(name)
    similar = [g for g in groups.values() if len(g) > 1 and not _are_single_letters(g)]
    faults = [
        f"{rule}; got {' and '.join(map(ascii if _look_alike(names) else repr, names))}; give "
        "their images one label, or rename one of them"
        for names in similar[:MAX_EXAMPLES]
    ]
    if len(similar) > MAX_EXAMPLES:
        faults.append(f"{rule}; {len(similar) - MAX_EXAMPLES} more groups do not")
    return faults


def _find_unknown_classes(data: Folder) -> list[str]:
    """Return faults for the first few classes that only validation or test images have."""
    rule, train_classes, faults = "every class must have training images", set(data.classes), []
    for split in (TEST, VALIDATION):
        labels = {str(sample.label) for sample in data.samples if sample.split == split}
        unknown = sorted(labels - train_classes)
        faults += [
            f"{rule}; {label!r} has images in {split} only; {_suggest_class(label, data.classes)}"
            for label in unknown[:MAX_EXAMPLES]
        ]
        if len(unknown) > MAX_EXAMPLES:
            faults.append(f"{rule}; {len(unknown) - MAX_EXAMPLES} more in {split} have none")
    return faults


def _suggest_class(label: str, classes: Sequence[str]) -> str:
    """Return the cure for a label that no training image has.

    Names that look the same may differ in Unicode normalization: macOS decomposes letters like é.
    """
    similar = [name for name in classes if _fold_case(name) == _fold_case(label)]
    candidates = similar or get_close_matches(label, classes, n=1)
    if not candidates:
        return "add training images, or remove the class"
    candidate = candidates[0]
    encodings = f" They look alike, but {candidate!a} is not {label!a}"
    return f"did you mean {candidate!r}?{encodings if _look_alike([candidate, label]) else ''}"


def _is_unicode(name: str) -> bool:
    """Return whether a name is valid Unicode; a file name with undecodable bytes is not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _look_alike(names: Sequence[str]) -> bool:
    """Return whether two of the names differ only in spaces and Unicode normalization."""
    return len({_normalize_name(name) for name in names}) < len(names)


def _are_single_letters(names: Sequence[str]) -> bool:
    """Return whether the names are different single characters."""
    return not _look_alike(names) and all(len(_normalize_name(name)) == 1 for name in names)


def _normalize_name(name: str) -> str:
    """Return a name in Unicode normalization form C, with single spaces."""
    return " ".join(normalize("NFC", name).split())


def _fold_case(name: str) -> str:
    return _normalize_name(name).casefold()
