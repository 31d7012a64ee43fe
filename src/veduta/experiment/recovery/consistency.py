"""Checks that a resumed run has the images and the weights with which it was started."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from veduta.data.pixels import Image
from veduta.data.sample import abbreviate_names
from veduta.errors import InputError
from veduta.experiment.recovery.previous_run import PreviousRun
from veduta.runs.events import ImageListsWritten, RunResumed, events_of_type, last_event
from veduta.runs.tables import read_splits


class SplitRow(NamedTuple):
    """Label, split and SHA-256 of an image in `splits.csv`."""

    label: str
    split: str
    digest: str


def expect_same_images(
    previous: PreviousRun, splits: Mapping[str, Sequence[Image]], fingerprint: str
) -> None:
    """Raise an error if the images are not those of the run; file names may differ.

    Args:
        previous: the run.
        splits: images now, by split.
        fingerprint: fingerprint of all of them.

    Raises:
        InputError: with the images that were added, removed, changed, relabeled or moved to
            another split.
    """
    rows = {
        image.sample.name: SplitRow(str(image.sample.label), split, image.digest)
        for split, images in splits.items()
        for image in images
    }
    recorded = _read_rows(previous.directory.splits)
    same_rows = recorded is None or Counter(recorded.values()) == Counter(rows.values())
    recorded_fingerprint = previous.start.provenance.data_fingerprint
    if same_rows and recorded_fingerprint == fingerprint:
        return
    if recorded_fingerprint == fingerprint and _is_altered(previous):
        raise InputError(
            "a resumed run needs its splits.csv as it was written; "
            f"{previous.directory.splits} was altered, the images were not: let "
            f"`veduta rebuild {quote(str(previous.directory.path))}` restore it"
        )
    changes = (
        "an image that was dropped as a copy (rejected.csv) changed or is missing"
        if same_rows
        else _describe_changes(recorded or {}, rows)
    )
    raise InputError(
        "a resumed run needs the images with which it was started; their fingerprint was "
        f"{recorded_fingerprint[:12]}, now it is {fingerprint[:12]}: {changes}; restore the "
        "images, or start a new run"
    )


def expect_same_backbones(previous: PreviousRun, backbones: Mapping[str, str]) -> None:
    """Raise an error if the initial weights of a backbone are not those of the run.

    Args:
        previous: the run.
        backbones: SHA-256 of the initial weights now, by model, weights and options.

    Raises:
        InputError: with every backbone that differs.
    """
    recorded = dict(previous.start.provenance.backbones)
    for resumed in events_of_type(previous.events, RunResumed):
        recorded |= resumed.backbones
    errors = [
        f"a resumed run needs the weights with which it was started; those of {name} had the "
        f"SHA-256 {recorded[name][:12]}, now it is {digest[:12]}: restore the file, or start a new "
        "run"
        for name, digest in backbones.items()
        if recorded.get(name, digest) != digest
    ]
    if error := InputError.unless_empty(errors):
        raise error


def _is_altered(previous: PreviousRun) -> bool:
    """Return whether splits.csv differs from its content in the journal."""
    path = previous.directory.splits
    lists = last_event(previous.events, ImageListsWritten)
    if lists is None or path.name not in lists.files:
        return False
    return path.read_bytes() != lists.files[path.name].encode("utf-8", "surrogateescape")


def _read_rows(splits: Path) -> dict[str, SplitRow] | None:
    """Return the rows of splits.csv by file name; None if the run ended before it was written."""
    if not splits.is_file():
        return None
    table = read_splits(splits)[["path", "label", "split", "sha256"]]
    return {
        str(path): SplitRow(str(label), str(split), str(digest))
        for path, label, split, digest in table.itertuples(index=False)
    }


def _describe_changes(recorded: Mapping[str, SplitRow], rows: Mapping[str, SplitRow]) -> str:
    """Return what changed, with some file names for each kind of change."""
    both = sorted(recorded.keys() & rows.keys())
    changes = {
        "added": sorted(rows.keys() - recorded.keys()),
        "missing or unreadable": sorted(recorded.keys() - rows.keys()),
        "changed": [name for name in both if recorded[name].digest != rows[name].digest],
        "relabeled": [
            f"{name}: {recorded[name].label} -> {rows[name].label}"
            for name in both
            if recorded[name].label != rows[name].label
        ],
    }
    if not any(changes.values()):
        changes = {
            "in another split": [
                f"{name}: {recorded[name].split} -> {rows[name].split}"
                for name in both
                if recorded[name] != rows[name]
            ]
        }
    return ", ".join(
        f"{len(names)} {change} ({abbreviate_names(names)})"
        for change, names in changes.items()
        if names
    )
