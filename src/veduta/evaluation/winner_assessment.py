"""Assessment of the winner of a run, from the files in its directory alone.

It gives the same results at any time after the run, without its images: the temperature and the
error bounds of confidence thresholds from the validation scores; metrics, calibration and
abstention on the test images; with cross-validation, labels that may be wrong.

Validation scores come from trainings that had not seen the image: those of the winner at its best
epoch, with folds of the fold that held the image out. Where the winner was then trained again on
all images (`refit`, `folds`), temperature and error bounds remain those of the trainings before,
the only ones that images were held out of.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd
import yaml

from veduta.data.sample import compute_canonical_order
from veduta.errors import InputError
from veduta.evaluation.abstention import MAX_ERROR, compute_error_bounds
from veduta.evaluation.assessment import (
    LabeledPredictions,
    estimate_metrics,
    summarize_abstention,
    summarize_calibration,
)
from veduta.evaluation.calibration import Temperature, fit_temperature
from veduta.evaluation.label_issues import find_label_issues
from veduta.runs.artifact import ErrorBound
from veduta.runs.directory import RunDirectory
from veduta.runs.scores import load_test_scores, load_validation_scores
from veduta.runs.summary import Abstention, Calibration, Metrics
from veduta.runs.tables import read_splits, write_table


@final
@dataclass(frozen=True, slots=True)
class WinnerAssessment:
    """Predictions of the winner of a run on images that it was not trained on.

    Attributes:
        validation: predictions on the images that selected the winner, at the temperature.
        test: predictions on the test images, at the temperature; None if the test set was not
            evaluated.
        temperature: temperature that was fitted on validation.
        error_bounds: bound of the error for each confidence threshold, from validation.
        uses_folds: whether `validation` holds every image except the test images, each predicted
            by a model that was trained on the other folds.
    """

    validation: LabeledPredictions
    test: LabeledPredictions | None
    temperature: Temperature
    error_bounds: tuple[ErrorBound, ...]
    uses_folds: bool

    def estimate_metrics(self, *, seed: int) -> Metrics | None:
        """Estimate all metrics on the test images; None without test images."""
        return estimate_metrics(self.test, seed=seed)[0] if self.test else None

    def summarize_calibration(self, *, seed: int) -> Calibration:
        """Summarize the temperature and its effect on the test images."""
        return summarize_calibration(self.temperature, self.test, seed=seed)

    def summarize_abstention(self, *, max_error: float = MAX_ERROR) -> Abstention:
        """Summarize the confidence threshold for `max_error`, and its effect on the test images."""
        return summarize_abstention(self.error_bounds, self.test, max_error=max_error)

    def find_label_issues(self) -> pd.DataFrame | None:
        """Rank all images by how likely their label is wrong; None without folds."""
        if not self.uses_folds:
            return None
        images = self.validation
        return find_label_issues(images.paths, images.y_true, images.probabilities, images.classes)


def assess_winner(
    directory: RunDirectory, *, winner: str, classes: tuple[str, ...]
) -> WinnerAssessment:
    """Assess the winner of a run from `splits.csv` and the scores in the directory of the run.

    Args:
        directory: directory of the run.
        winner: id of the selected trial.
        classes: names of the classes, in the order of the logits.

    Raises:
        InputError: a file is missing or damaged, or the files do not belong together.
    """
    splits = read_splits(directory.splits)
    uses_folds = "fold" in splits
    rows = splits[splits["split"] == ("train" if uses_folds else "validation")]
    class_index = {name: index for index, name in enumerate(classes)}
    y_true = np.array([class_index[label] for label in rows["label"]], dtype=np.int64)
    order = compute_canonical_order(list(rows["sha256"]), list(y_true))
    rows, y_true = rows.iloc[order], y_true[order]
    path = directory.validation_scores(winner)
    logits = load_validation_scores(path).logits
    if logits.shape != (len(rows), len(classes)):
        raise InputError(
            f"{path} must have logits of {len(rows)} images and {len(classes)} classes, as listed "
            f"in {directory.splits}; they are of shape {logits.shape}: restore both files"
        )
    temperature = fit_temperature(logits, y_true)
    validation = LabeledPredictions(
        list(rows["path"]), list(rows["sha256"]), y_true, logits, classes, temperature.value
    )
    test = None
    if directory.test_scores.is_file():
        test = load_test_predictions(directory, classes, temperature=temperature.value)
    error_bounds = compute_error_bounds(validation.correct, validation.confidence)
    return WinnerAssessment(validation, test, temperature, error_bounds, uses_folds)


def load_test_predictions(
    directory: RunDirectory, classes: tuple[str, ...], *, temperature: float = 1.0
) -> LabeledPredictions:
    """Return the predictions of the winner of a run on the test images.

    Raises:
        InputError: the test set was not evaluated, or a file is damaged.
    """
    scores = load_test_scores(directory.test_scores)
    splits = read_splits(directory.splits)
    digest_by_path = dict(zip(splits["path"], splits["sha256"], strict=True))
    digests = [digest_by_path.get(path, "") for path in scores.paths]
    return LabeledPredictions(
        list(scores.paths), digests, scores.y_true, scores.logits, classes, temperature
    )


def write_label_issues(directory: RunDirectory, assessment: WinnerAssessment) -> int | None:
    """Write `label_issues.csv` and return the number of issues; without folds, return None."""
    images = assessment.find_label_issues()
    if images is None:
        return None
    write_table(directory.label_issues, images)
    return int(images["issue"].sum())


def load_seed(directory: RunDirectory) -> int:
    """Return the random seed of a run, from its `config.yaml`."""
    return int(yaml.safe_load(directory.config.read_text(encoding="utf-8"))["seed"])
