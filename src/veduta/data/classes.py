"""What can be wrong with the classes of a data set, whatever its layout.

Classes are matched by name: a class that only the test images have could never be predicted.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from unicodedata import normalize

from veduta.data.sample import CLASS_FOLDERS, SHOWN, SPLIT_FOLDERS, Folder
from veduta.data.walk import look


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
