"""What a resumed run stands on must be as it was: the same images, the same weights."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

import pandas as pd

from veduta.data.pixels import Image
from veduta.data.sample import some
from veduta.errors import InputError
from veduta.experiment.recovery.derived import lists_of
from veduta.experiment.recovery.previous_run import Earlier

Row = tuple[str, str, str]
"""Label, split and SHA-256 of an image."""


def expect_same_images(earlier: Earlier, parts: Mapping[str, Sequence[Image]], now: str) -> None:
    """The images must be those that the run began with; names of files may differ.

    Args:
        earlier: the run.
        parts: images now, by split.
        now: fingerprint of all of them.

    Raises:
        InputError: with what was added, went, changed, was relabelled or stands in another split.
    """
    rows = {
        image.sample.name: (str(image.sample.label), part, image.digest)
        for part, images in parts.items()
        for image in images
    }
    before = _rows_of(earlier.directory.splits)
    same_rows = before is None or Counter(before.values()) == Counter(rows.values())
    if same_rows and earlier.start["data_fingerprint"] == now:
        return
    was = earlier.start["data_fingerprint"]
    if was == now and _altered(earlier):
        raise InputError(
            f"a resumed run needs its splits.csv; {earlier.directory.splits} was altered, the "
            f"images were not: let `veduta rebuild {quote(str(earlier.directory.path))}` restore it"
        )
    changes = (
        "an image that was left out as a copy (rejected.csv) changed or went"
        if same_rows
        else _changes(before or {}, rows)
    )
    raise InputError(
        "a resumed run needs the images that it began with; their fingerprint was "
        f"{was[:12]}, now it is {now[:12]}: {changes}; restore the images, or start a new run"
    )


def expect_same_backbones(earlier: Earlier, now: Mapping[str, str]) -> None:
    """A file of weights must hold what it held: other weights are another experiment.

    Args:
        earlier: the run.
        now: SHA-256 of the tensors of each backbone that trials need.

    Raises:
        InputError: with every backbone that is another.
    """
    was: dict[str, str] = {}
    for event in earlier.events:
        was |= event.get("backbones", {})
    faults = [
        f"a resumed run needs the weights that it began with; those of {name} had the SHA-256 "
        f"{was[name][:12]}, now it is {digest[:12]}: restore the file, or start a new run"
        for name, digest in now.items()
        if was.get(name, digest) != digest
    ]
    if error := InputError.unless_empty(faults):
        raise error


def _altered(earlier: Earlier) -> bool:
    """Whether splits.csv is other than the journal has it."""
    path = earlier.directory.splits
    said = lists_of(earlier.events).get(path.name)
    return said is not None and path.read_bytes() != said.encode("utf-8", "surrogateescape")


def _rows_of(splits: Path) -> dict[str, Row] | None:
    """splits.csv by name of the file; None where the run ended before it was written."""
    if not splits.is_file():
        return None
    try:
        table = pd.read_csv(
            splits, dtype=str, keep_default_na=False, encoding_errors="surrogateescape"
        )
        columns = table[["path", "label", "split", "sha256"]]
    except (ValueError, KeyError) as error:
        raise InputError(f"{splits} must be as the run wrote it; it is not: restore it") from error
    return {str(n): (str(a), str(b), str(c)) for n, a, b, c in columns.itertuples(index=False)}


def _changes(before: Mapping[str, Row], now: Mapping[str, Row]) -> str:
    """What became of the images, a few names of each kind."""
    both = sorted(before.keys() & now.keys())
    labels = [f"{n}: {before[n][0]} -> {now[n][0]}" for n in both if before[n][0] != now[n][0]]
    kinds = {
        "added": sorted(now.keys() - before.keys()),
        "gone or unreadable": sorted(before.keys() - now.keys()),
        "changed": [n for n in both if before[n][2] != now[n][2]],
        "relabelled": labels,
    }
    if not any(kinds.values()):
        moved = [f"{n}: {before[n][1]} -> {now[n][1]}" for n in both if before[n] != now[n]]
        kinds = {"in another split": moved}
    return ", ".join(
        f"{len(names)} {kind} ({some(names)})" for kind, names in kinds.items() if names
    )
