"""The scores of a run as `.npz` files: the only module that reads or writes them.

`scores/TRIAL.npz` holds the predictions of a trial for every validation image, `scores/test.npz`
those of the winner for the test images. Validation images are in canonical order (by content, then
class), so that no file needs their names.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from veduta.errors import InputError
from veduta.runs.events import TrialFinished
from veduta.runtime.disk import write_atomically
from veduta.types import BoolArray, Float32Array, IntArray

DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""Errors that reading a missing or damaged `.npz` file can raise."""


@final
@dataclass(frozen=True, slots=True)
class ValidationScores:
    """Predictions of a trial for the N validation images.

    Attributes:
        logits: (N, classes) float32, at the best epoch; with folds, those of the fold that held
            out the image.
        correct: (epochs, N), whether the prediction after each epoch was correct.
        best_epoch: from 1.
    """

    logits: Float32Array
    correct: BoolArray
    best_epoch: int

    @property
    def correct_at_best(self) -> BoolArray:
        """Return (N,) whether the prediction at the best epoch was correct."""
        correct: BoolArray = self.correct[self.best_epoch - 1]
        return correct


@final
@dataclass(frozen=True, slots=True)
class TestScores:
    """Predictions of the winner for the N test images.

    Attributes:
        trial: id of the winner.
        evaluations: number of times that the run had evaluated the test set, this one included.
        paths: names of the images.
        y_true: (N,) class index.
        logits: (N, classes) float32, the mean over the views of test-time augmentation.
        conflicting: (N,) whether an identical image has another label.
    """

    __test__: ClassVar[bool] = False  # pytest would collect the class

    trial: str
    evaluations: int
    paths: tuple[str, ...]
    y_true: IntArray
    logits: Float32Array
    conflicting: BoolArray

    @property
    def correct(self) -> BoolArray:
        """Return (N,) whether the prediction is correct."""
        correct: BoolArray = self.logits.argmax(1) == self.y_true
        return correct


def save_validation_scores(path: Path, scores: ValidationScores) -> None:
    """Write the scores of a trial; correctness takes one bit per epoch and image."""
    content = io.BytesIO()
    np.savez_compressed(
        content,
        logits=scores.logits,
        best_epoch=np.array(scores.best_epoch),
        correct=np.packbits(scores.correct, axis=1),
        images=np.array(scores.correct.shape[1]),
    )
    write_atomically(path, content.getvalue())


def load_validation_scores(path: Path) -> ValidationScores:
    """Return the scores of a trial.

    Raises:
        InputError: the file is missing or damaged.
    """
    with _reading(path), np.load(io.BytesIO(path.read_bytes())) as arrays:
        images, best_epoch = int(arrays["images"]), int(arrays["best_epoch"])
        correct = np.unpackbits(arrays["correct"], axis=1, count=images).view(np.bool_)
        return ValidationScores(arrays["logits"], correct, best_epoch)


def find_validation_scores(path: Path, finished: TrialFinished) -> ValidationScores | None:
    """Return the scores of a trial, or None unless they agree with its event in the journal."""
    try:
        scores = load_validation_scores(path)
    except InputError:
        return None
    shape = scores.correct.shape, len(scores.logits), scores.best_epoch
    expected = (finished.epochs_trained, finished.val_images), finished.val_images
    if shape != (*expected, finished.best_epoch):
        return None
    return scores if int(scores.correct_at_best.sum()) == finished.val_correct else None


def save_test_scores(path: Path, scores: TestScores) -> None:
    """Write the scores of the winner on the test images."""
    content = io.BytesIO()
    np.savez_compressed(
        content,
        paths=np.array(scores.paths),
        y_true=scores.y_true,
        logits=scores.logits,
        conflicting=scores.conflicting,
        trial=np.array(scores.trial),
        evaluations=np.array(scores.evaluations),
    )
    write_atomically(path, content.getvalue())


def load_test_scores(path: Path) -> TestScores:
    """Return the scores of the winner on the test images.

    Raises:
        InputError: the file is missing or damaged.
    """
    with _reading(path), np.load(io.BytesIO(path.read_bytes())) as arrays:
        return TestScores(
            trial=str(arrays["trial"]),
            evaluations=int(arrays["evaluations"]),
            paths=tuple(map(str, arrays["paths"])),
            y_true=arrays["y_true"].astype(np.int64),
            logits=arrays["logits"],
            conflicting=arrays["conflicting"],
        )


def find_test_scores(path: Path) -> TestScores | None:
    """Return what `load_test_scores` returns, or None if the file is missing or damaged."""
    try:
        return load_test_scores(path)
    except InputError:
        return None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged file into an InputError."""
    try:
        yield
    except DAMAGED as error:
        raise InputError(
            f"the scores of a run must be as they were written; {path} cannot be read ({error}): "
            "restore it, or run the command again"
        ) from error
