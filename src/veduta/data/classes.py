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
    return faults + _stranger_faults(data)


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
    same = normalize("NFC", close[0]) == normalize("NFC", label)
    how = f" They look alike, but {close[0]!a} is not {label!a}" if same else ""
    return f"did you mean {close[0]!r}?{how}"


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold()
