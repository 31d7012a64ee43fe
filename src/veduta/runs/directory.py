"""The directory of a run: the path of each file, and the rule that none is ever overwritten."""

import os
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, final

from veduta.errors import InputError, describe_os_error
from veduta.runtime.disk import explain_write_errors, restore_folder, sync

Content = TypeVar("Content")

RUNS_FOLDER = Path("runs")
"""Folder of run directories whose path the user does not give."""

MAX_NAME_BYTES = 200  # file systems allow 255, and temporary files have longer names


@final
@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of all files in the directory of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """Resolved settings, versions and the fingerprint of the data."""
        return self.path / "config.yaml"

    @property
    def journal(self) -> Path:
        """Every event of the run; the tables and the summary are derived from it."""
        return self.path / "journal.jsonl"

    @property
    def crash_log(self) -> Path:
        """Stack traces of a crash in native code; it exists only after one."""
        return self.path / "crash.log"

    @property
    def epochs(self) -> Path:
        """One row per epoch of a trial."""
        return self.path / "epochs.csv"

    @property
    def trials(self) -> Path:
        """One row per trial."""
        return self.path / "trials.csv"

    @property
    def summary(self) -> Path:
        """Result of the command, such as the winner with its validation and test accuracy."""
        return self.path / "summary.json"

    @property
    def rejected(self) -> Path:
        """Files that were left out, each with the reason."""
        return self.path / "rejected.csv"

    @property
    def splits(self) -> Path:
        """One row per image: its split."""
        return self.path / "splits.csv"

    @property
    def predictions(self) -> Path:
        """One row per image: its most probable labels."""
        return self.path / "predictions.csv"

    @property
    def explanations(self) -> Path:
        """One row per image: its predicted label, the explained class and the picture."""
        return self.path / "explanations.csv"

    @property
    def per_class(self) -> Path:
        """One row per class: precision, recall and F1."""
        return self.path / "per_class.csv"

    @property
    def confusion(self) -> Path:
        """The confusion matrix; rows are the true classes."""
        return self.path / "confusion.csv"

    @property
    def areas(self) -> Path:
        """One row per class: areas under the ROC and the precision-recall curve."""
        return self.path / "areas.csv"

    @property
    def reliability(self) -> Path:
        """One row per bin of confidence: the accuracy in the bin."""
        return self.path / "reliability.csv"

    @property
    def risk_coverage(self) -> Path:
        """One row per threshold: the fraction of accepted images, and the error among them."""
        return self.path / "risk_coverage.csv"

    @property
    def mistakes(self) -> Path:
        """Wrongly classified images, the most confident first."""
        return self.path / "mistakes.csv"

    @property
    def label_issues(self) -> Path:
        """Images with out-of-fold predictions, the most suspicious label first."""
        return self.path / "label_issues.csv"

    @property
    def media(self) -> Path:
        """Pictures of the report, and `index.json`, which describes them."""
        return self.path / "media"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.path / "report.html"

    @property
    def changed(self) -> Path:
        """Images that one of two compared runs classifies correctly and the other does not."""
        return self.path / "changed.csv"

    @property
    def tensorboard(self) -> Path:
        """One folder per trial."""
        return self.path / "tensorboard"

    @property
    def model(self) -> Path:
        """The model of the winner."""
        return self.path / "model"

    @property
    def scores(self) -> Path:
        """Predictions of every trial, and the weights of the best ones."""
        return self.path / "scores"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of trials that are being trained."""
        return self.path / "checkpoints"

    @property
    def test_scores(self) -> Path:
        """Predictions of the winner for the test images."""
        return self.scores / "test.npz"

    def validation_scores(self, trial: str) -> Path:
        """Return the path of a trial's predictions for the validation images."""
        return self.scores / f"{trial}.npz"


def format_resume_command(command: str, directory: Path) -> str:
    """Return the command that resumes a run.

    >>> format_resume_command("search", Path("runs/search 1"))
    "veduta search --resume 'runs/search 1'"
    """
    return f"veduta {command} --resume {shlex.quote(str(directory))}"


@final
@dataclass(frozen=True, slots=True)
class OutputPath:
    """The path at which a run directory is created or continued.

    Attributes:
        path: The directory.
        numbered: Whether the user gave no path: the next number is taken if another run creates
            this directory first.
        resumed: Whether the directory exists and its run is continued.
    """

    path: Path
    numbered: bool = False
    resumed: bool = False


def choose_output_path(out: str | Path | None, folder: Path, stem: str) -> OutputPath:
    """Return the path that the user gave, or the next free number of `stem` in `folder`."""
    return OutputPath(Path(out)) if out else OutputPath(find_free_path(folder, stem), numbered=True)


def create_run_directory(output: OutputPath) -> RunDirectory:
    """Create a new run directory.

    Raises:
        InputError: The path exists already, or cannot be written.
    """
    path = output.path
    try:
        missing = [parent for parent in path.absolute().parents if not _exists(parent)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except OSError as error:
        if isinstance(error, FileExistsError) and output.numbered and path.parent.is_dir():
            stem = path.name.rpartition("-")[0]
            return create_run_directory(
                OutputPath(find_free_path(path.parent, stem), numbered=True)
            )
        errors = find_output_errors(path)
        raise InputError(*errors or [_not_writable(path, describe_os_error(error))]) from error
    with explain_write_errors(path), suppress(PermissionError):  # a folder may be write-only
        for created in (path.absolute(), *missing):
            sync(created.parent)
    return RunDirectory(path)


def find_output_errors(path: Path) -> list[str]:
    """Return the reasons why a run directory cannot be created at `path`, before any work."""
    if os.path.lexists(path):
        free = find_free_path(path.parent, path.name)
        rule = "--out must name a new directory, so that no run is overwritten"
        return [f"{rule}; {path} exists: choose another name, such as {free}"]
    if (size := len(os.fsencode(path.name))) > MAX_NAME_BYTES:
        return [f"--out must have at most {MAX_NAME_BYTES} bytes; got {size}: choose another name"]
    if os.fsencode(path) != str(path).encode(errors="replace"):
        return [f"--out must be a name in UTF-8, which TensorBoard needs; got {str(path)!r}"]
    existing = next(parent for parent in path.absolute().parents if _exists(parent))
    if not existing.is_dir():
        return [_not_writable(path, f"{existing} is a file")]
    effective = os.access in os.supports_effective_ids
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=effective):
        return [_not_writable(path, f"{existing} is not writable")]
    return []


def read_and_check_output(output: OutputPath, read: Callable[[], Content]) -> Content:
    """Return what `read` returns after checking that the run directory can be created.

    Raises:
        InputError: Either fails; it lists the errors of both.
    """
    errors = find_output_errors(output.path)
    try:
        content = read()
    except InputError as error:
        raise InputError(*errors, *error.faults) from error
    if errors:
        raise InputError(*errors)
    return content


def _exists(path: Path) -> bool:
    """Return whether a path exists; False where a parent folder may not be entered."""
    return os.path.exists(path)  # noqa: PTH110 - the method raises an error in that case


def _not_writable(path: Path, reason: str) -> str:
    """Return the message that a run directory cannot be created."""
    return (
        f"--out must be in a directory that can be written; {path}: {reason}: choose another "
        "directory"
    )


def find_free_path(parent: Path, stem: str) -> Path:
    """Return `parent/stem-1`, or the first number that does not exist yet."""
    number = 1
    while os.path.lexists(path := parent / f"{stem}-{number}"):
        number += 1
    return path


TEMPORARY_NAME = re.compile(
    r"\.(.+\.(csv|html|json|yaml|md|npz|safetensors|checkpoint)|model|media)\.[a-z0-9_]{8}"
)
"""Names of files and folders that a killed process was writing."""


def remove_temporary_files(directory: RunDirectory) -> None:
    """Remove the files that a killed process was writing.

    A folder that was being replaced is restored.
    """
    folders = (directory.path, directory.model, directory.scores, directory.checkpoints)
    for path in (path for folder in folders for path in folder.glob(".*")):
        match = TEMPORARY_NAME.fullmatch(path.name)
        if match and path.is_dir():
            restore_folder(path, path.with_name(match[1]))
            shutil.rmtree(path)
        elif match:
            path.unlink()
