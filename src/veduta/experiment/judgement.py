"""What a run says about its winner, from the scores in its directory alone.

So it can be told again, byte for byte, long after the run and without its images: the temperature
and the bounds that abstaining needs, from validation; figures, calibration and abstention on the
test; with folds, the labels that the models doubt.

Validation scores come from trainings that had not seen the image: those of the winner at its best
epoch, with folds each image's by the one fold that it did not train. Where the winner was then
trained again on all images (`refit`, folds), temperature and bounds are still those of the
trainings before, the only ones that images were held out of.
"""

import io
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import yaml

from veduta.errors import InputError
from veduta.evaluation.abstention import MAX_ERROR, ThresholdBound, compute_error_bounds
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
from veduta.tracking.tables import write_csv
from veduta.training.state import canonical_order
from veduta.tuning.trials.store import DAMAGED


@final
@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of a winner.

    Attributes:
        validation: images that chose it, at the temperature.
        test: images of the sealed test, at the temperature; None where none could be read.
        temperature: fitted on validation.
        bounds: what each threshold accepts, on validation.
        folds: whether `validation` is all images but the test's, each judged out of fold.
    """

    validation: LabeledPredictions
    test: LabeledPredictions | None
    temperature: Temperature
    bounds: tuple[ThresholdBound, ...]
    folds: bool

    def summary(self, *, seed: int, max_error: float = MAX_ERROR) -> dict[str, Any]:
        """What summary.json says of it: `figures`, `calibration` and `abstain`."""
        figures = estimate_metrics(self.test, seed=seed)[0] if self.test else None
        return {
            "figures": figures,
            "calibration": summarize_calibration(self.temperature, self.test, seed=seed),
            "abstain": summarize_abstention(self.bounds, self.test, max_error=max_error),
        }

    def error_bounds(self) -> tuple[ErrorBound, ...]:
        """`bounds` as a manifest has them."""
        return tuple(ErrorBound(**asdict(bound)) for bound in self.bounds)

    def label_issues(self) -> pd.DataFrame | None:
        """Every image, the most doubtful label first; None without folds."""
        if not self.folds:
            return None
        seen = self.validation
        return find_label_issues(seen.paths, seen.y_true, seen.probabilities, seen.classes)


def judge(directory: RunDirectory, *, winner: str, classes: tuple[str, ...]) -> Judgement:
    """Read what the scores of a run say of its winner.

    Args:
        directory: of the run; its splits.csv and scores/ are read.
        winner: name of the trial.
        classes: names, in the order of the logits.

    Raises:
        InputError: a file is missing or damaged, or files do not belong together.
    """
    splits = read_splits(directory)
    folds = "fold" in splits
    rows = splits[splits["split"] == ("train" if folds else "validation")]
    number = {name: place for place, name in enumerate(classes)}
    truth = np.array([number[label] for label in rows["label"]], dtype=np.int64)
    order = canonical_order(list(rows["sha256"]), list(truth))
    rows, truth = rows.iloc[order], truth[order]
    path = directory.scores / f"{winner}.npz"
    logits = _arrays(path)["val_logits"]
    if logits.shape != (len(rows), len(classes)):
        raise InputError(
            f"{path} must have logits of {len(rows)} images and {len(classes)} classes, as "
            f"{directory.splits} says; they are of shape {logits.shape}: restore both files"
        )
    temperature = fit_temperature(logits, truth)
    validation = LabeledPredictions(
        list(rows["path"]), list(rows["sha256"]), truth, logits, classes, temperature.value
    )
    test = read_test(directory, classes) if directory.test.is_file() else None
    return Judgement(
        validation,
        replace(test, temperature=temperature.value) if test else None,
        temperature,
        compute_error_bounds(validation.correct, validation.confidence),
        folds,
    )


def write_judgement(directory: RunDirectory, judgement: Judgement, *, seed: int) -> dict[str, Any]:
    """Write label_issues.csv where there are folds; what summary.json says of the winner."""
    issues = judgement.label_issues()
    if issues is not None:
        write_csv(directory.label_issues, issues)
    found = judgement.summary(seed=seed)
    return {**found, "label_issues": None if issues is None else int(issues["issue"].sum())}


def seed_of(directory: RunDirectory) -> int:
    """The seed of a run, from its config.yaml."""
    return int(yaml.safe_load(directory.config.read_text(encoding="utf-8"))["seed"])


def read_test(directory: RunDirectory, classes: tuple[str, ...]) -> LabeledPredictions:
    """Test images of a run, and the logits of its winner.

    Raises:
        InputError: the test was not opened, or a file is damaged.
    """
    kept = _arrays(directory.test)
    splits = read_splits(directory)
    digests = dict(zip(splits["path"], splits["sha256"], strict=True))
    paths = [str(path) for path in kept["paths"]]
    truth = kept["truth"].astype(np.int64)
    found = [digests.get(path, "") for path in paths]
    return LabeledPredictions(paths, found, truth, kept["logits"], classes)


def trial_of_test(directory: RunDirectory) -> str | None:
    """Whose scores stand in scores/test.npz; None where it is not there, or cannot be read."""
    try:
        kept = _arrays(directory.test)
    except InputError:
        return None
    whole = {"paths", "truth", "logits", "trial"} <= kept.keys()
    return str(kept["trial"]) if whole else None


def read_splits(directory: RunDirectory) -> pd.DataFrame:
    """splits.csv; text stays text."""
    try:
        return pd.read_csv(
            directory.splits, dtype=str, keep_default_na=False, encoding_errors="surrogateescape"
        )
    except (OSError, ValueError) as error:
        raise InputError(f"a run has its splits.csv; {directory.splits}: {error}") from error


def _arrays(path: Path) -> dict[str, Any]:
    """What an .npz file holds."""
    try:
        with np.load(io.BytesIO(path.read_bytes())) as kept:
            return dict(kept)
    except DAMAGED as error:
        raise InputError(
            f"the scores of a run must be as it wrote them; {path} cannot be read ({error}): "
            "restore it, or run it again"
        ) from error
