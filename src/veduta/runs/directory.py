"""The directory of a run: the path of each file, and the rule that none is ever overwritten."""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from veduta.errors import InputError
from veduta.runs.files import expect_room
from veduta.runtime.disk import restore_folder, sync

Read = TypeVar("Read")

RUNS = Path("runs")
"""Where a run stands that nobody gave a place."""

LONGEST_NAME = 200  # bytes; file systems take 255, and some files beside it have longer names


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The places in a run directory, by name."""

    path: Path

    @property
    def config(self) -> Path:
        """Resolved settings, versions and the fingerprint of the data."""
        return self.path / "config.yaml"

    @property
    def journal(self) -> Path:
        """The truth: every event of the run."""
        return self.path / "journal.jsonl"

    @property
    def crash(self) -> Path:
        """What a crash of native code leaves; there is none while all is well."""
        return self.path / "crash.log"

    @property
    def epochs(self) -> Path:
        """One row an epoch of a trial."""
        return self.path / "epochs.csv"

    @property
    def trials(self) -> Path:
        """One row a trial."""
        return self.path / "trials.csv"

    @property
    def summary(self) -> Path:
        """The winner, its validation score, the one test score."""
        return self.path / "summary.json"

    @property
    def rejected(self) -> Path:
        """The files left out, each with the reason."""
        return self.path / "rejected.csv"

    @property
    def splits(self) -> Path:
        """Which image served for what."""
        return self.path / "splits.csv"

    @property
    def predictions(self) -> Path:
        """One row an image: its most probable labels."""
        return self.path / "predictions.csv"

    @property
    def explanations(self) -> Path:
        """One row an image: its label, the class its heat map is for, and the picture of it."""
        return self.path / "explanations.csv"

    @property
    def per_class(self) -> Path:
        """One row a class: precision, recall, F1."""
        return self.path / "per_class.csv"

    @property
    def confusion(self) -> Path:
        """How often each class was taken for each; rows are the truth."""
        return self.path / "confusion.csv"

    @property
    def areas(self) -> Path:
        """One row a class: areas below its ROC and precision-recall curves."""
        return self.path / "areas.csv"

    @property
    def reliability(self) -> Path:
        """One row a bin of confidence: how often it was right."""
        return self.path / "reliability.csv"

    @property
    def risk_coverage(self) -> Path:
        """The error that is left at every share of images accepted."""
        return self.path / "risk_coverage.csv"

    @property
    def mistakes(self) -> Path:
        """The images that were got wrong, the most confident first."""
        return self.path / "mistakes.csv"

    @property
    def label_issues(self) -> Path:
        """Every image that judged out of fold, the most doubtful label first."""
        return self.path / "label_issues.csv"

    @property
    def media(self) -> Path:
        """Pictures that the report shows, and index.json, which says what each is of."""
        return self.path / "media"

    @property
    def report(self) -> Path:
        """The page that shows all of it."""
        return self.path / "report.html"

    @property
    def changed(self) -> Path:
        """The images that one of two runs gets right and the other wrong."""
        return self.path / "changed.csv"

    @property
    def tensorboard(self) -> Path:
        """One folder a trial."""
        return self.path / "tensorboard"

    @property
    def model(self) -> Path:
        """The winner, ready to predict."""
        return self.path / "model"

    @property
    def scores(self) -> Path:
        """Logits and correctness of every trial, and the weights of the best."""
        return self.path / "scores"

    @property
    def checkpoints(self) -> Path:
        """Where trainings of networks stand, so that they go on after any death."""
        return self.path / "checkpoints"

    @property
    def test(self) -> Path:
        """Truth and logits of the test images, written when the test was opened."""
        return self.scores / "test.npz"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run directory shall stand.

    `numbered` says that nobody asked for this very name: where another run is quicker to take it,
    the next number will do. `resumed` says that it stands there already, and its run goes on.
    """

    path: Path
    numbered: bool = False
    resumed: bool = False


def place_for(out: str | Path | None, folder: Path, stem: str) -> Place:
    """The place a user asked for, or the next free number of `stem` in `folder`."""
    return Place(Path(out)) if out else Place(next_free(folder, stem), numbered=True)


def create(place: Place) -> RunDirectory:
    """Make a new run directory.

    Raises:
        InputError: something stands there already, or the place cannot be written.
    """
    path = place.path
    try:
        missing = [parent for parent in path.absolute().parents if not _there(parent)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except OSError as error:
        if isinstance(error, FileExistsError) and place.numbered and path.parent.is_dir():
            stem = path.name.rpartition("-")[0]
            return create(Place(next_free(path.parent, stem), numbered=True))
        faults = new_directory_faults(path)
        raise InputError(*faults or [_not_writable(path, error.strerror or "")]) from error
    with expect_room(path), suppress(PermissionError):  # a folder may be written and not read
        for made in (path.absolute(), *missing):
            sync(made.parent)
    return RunDirectory(path)


def new_directory_faults(path: Path) -> list[str]:
    """What speaks against making a run directory at `path`, before any work is done."""
    if os.path.lexists(path):
        free = next_free(path.parent, path.name)
        rule = "--out must name a new directory, so that no run is overwritten"
        return [f"{rule}; {path} exists: choose another name, such as {free}"]
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        return [f"--out must have a name of at most {LONGEST_NAME} bytes; choose a shorter one"]
    if os.fsencode(path) != str(path).encode(errors="replace"):
        return [f"--out must be a name in UTF-8, which TensorBoard needs; got {str(path)!r}"]
    above = next(parent for parent in path.absolute().parents if _there(parent))
    if not above.is_dir():
        return [_not_writable(path, f"{above} is a file")]
    effective = os.access in os.supports_effective_ids
    if not os.access(above, os.W_OK | os.X_OK, effective_ids=effective):
        return [_not_writable(path, f"{above} is not writable")]
    return []


def checked(place: Place, read: Callable[[], Read]) -> Read:
    """What `read` gives, where the new directory can be made too; else the faults of both."""
    faults = new_directory_faults(place.path)
    try:
        found = read()
    except InputError as error:
        raise InputError(*faults, *error.faults) from error
    if faults:
        raise InputError(*faults)
    return found


def _there(path: Path) -> bool:
    """Whether something is there that can be seen; not so in a folder that may not be entered."""
    return os.path.exists(path)  # noqa: PTH110 - the method raises where it may not look


def _not_writable(path: Path, reason: str) -> str:
    return f"--out must be in a directory that can be written; {path}: {reason}; choose another"


def next_free(parent: Path, stem: str) -> Path:
    """`parent/stem-1`, or the next number that is free."""
    number = 1
    while os.path.lexists(path := parent / f"{stem}-{number}"):
        number += 1
    return path


SCRATCH = re.compile(
    r"\.(.+\.(csv|html|json|yaml|md|npz|safetensors|checkpoint)|model|media)\.[a-z0-9_]{8}"
)
"""Names of what a process that was killed was about to put in place."""


def tidy(directory: RunDirectory) -> None:
    """Remove what a process that was killed was about to put in place.

    A folder that it had moved away to do so is put back.
    """
    folders = (directory.path, directory.model, directory.scores, directory.checkpoints)
    for path in (path for folder in folders for path in folder.glob(".*")):
        found = SCRATCH.fullmatch(path.name)
        if found and path.is_dir():
            restore_folder(path, path.with_name(found[1]))
            shutil.rmtree(path)
        elif found:
            path.unlink()
