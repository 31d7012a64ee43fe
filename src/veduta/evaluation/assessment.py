"""Assessment of a model: all metrics that follow from its logits on labeled images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import pandas as pd

from veduta.evaluation.abstention import (
    estimate_risk_coverage_area,
    evaluate_threshold,
    explain_missing_threshold,
    find_threshold,
)
from veduta.evaluation.calibration import Temperature, softmax
from veduta.metrics.classification import (
    Accuracy,
    estimate_averaged_metrics,
    estimate_top_k_accuracy,
)
from veduta.metrics.intervals import Estimate, estimate_proportion
from veduta.metrics.probabilities import (
    estimate_brier_score,
    estimate_calibration_error,
    estimate_curve_areas,
    estimate_log_loss,
)
from veduta.runs import summary
from veduta.runs.artifact import ErrorBound
from veduta.runs.summary import Metrics
from veduta.types import AnyFloatArray, BoolArray, FloatArray, IntArray

TOP_K = (3, 5)  # top-k accuracies that are reported if there are more than k classes


@final
@dataclass(frozen=True)
class LabeledPredictions:
    """Labeled images and the logits that a model gave for them.

    Attributes:
        paths: paths of the N images.
        digests: SHA-256 of the content of each image.
        y_true: (N,) true class of each image.
        logits: (N, classes).
        classes: names of the classes.
        temperature: number that the logits are divided by before the softmax.
    """

    paths: Sequence[str]
    digests: Sequence[str]
    y_true: IntArray
    logits: AnyFloatArray
    classes: tuple[str, ...]
    temperature: float = 1.0

    @cached_property
    def probabilities(self) -> FloatArray:
        """Probabilities at the temperature, (N, classes)."""
        return softmax(self.logits, self.temperature)

    @property
    def y_pred(self) -> IntArray:
        """Predicted class of each image, (N,)."""
        classes: IntArray = self.logits.argmax(1)
        return classes

    @property
    def correct(self) -> BoolArray:
        """Whether each prediction is correct, (N,)."""
        matches: BoolArray = self.y_pred == self.y_true
        return matches

    @property
    def confidence(self) -> FloatArray:
        """Probability of the predicted class of each image, (N,)."""
        highest: FloatArray = self.probabilities.max(1, initial=0.0)
        return highest


def estimate_metrics(predictions: LabeledPredictions, *, seed: int) -> tuple[Metrics, pd.DataFrame]:
    """Estimate all metrics except the accuracy, with their intervals.

    Returns:
        Metrics by name, and the areas under the curves of each class, one row per class.
    """
    y_true, classes = predictions.y_true, predictions.classes
    area_table, mean_areas = estimate_curve_areas(
        y_true, predictions.probabilities, classes, seed=seed
    )
    estimates: dict[str, Estimate | Accuracy] = {
        **{
            f"top_{k}_accuracy": estimate_top_k_accuracy(y_true, predictions.logits, k)
            for k in TOP_K
            if k < len(classes)
        },
        **estimate_averaged_metrics(y_true, predictions.y_pred, classes=len(classes), seed=seed),
        **mean_areas,
        **estimate_probability_metrics(predictions, seed=seed),
        "risk_coverage_area": estimate_risk_coverage_area(
            predictions.correct, predictions.confidence, seed=seed
        ),
    }
    return {name: record_estimate(estimate) for name, estimate in estimates.items()}, area_table


def estimate_probability_metrics(
    predictions: LabeledPredictions, *, seed: int
) -> dict[str, Estimate]:
    """Estimate log loss, Brier score and calibration errors of the probabilities, by name."""
    y_true, probabilities = predictions.y_true, predictions.probabilities
    correct, confidence = predictions.correct, predictions.confidence
    return {
        "log_loss": estimate_log_loss(y_true, probabilities, seed=seed),
        "brier_score": estimate_brier_score(y_true, probabilities, seed=seed),
        "calibration_error": estimate_calibration_error(correct, confidence, seed=seed),
        "calibration_error_equal_mass": estimate_calibration_error(
            correct, confidence, equal_mass=True, seed=seed
        ),
    }


def record_estimate(estimate: Estimate | Accuracy) -> summary.Estimate:
    """Return an estimate as summary.json holds it: without a value where it is NaN."""
    return summary.Estimate(**estimate.as_dict())


def summarize_calibration(
    temperature: Temperature, predictions: LabeledPredictions | None, *, seed: int
) -> summary.Calibration:
    """Summarize a temperature and the metrics of probabilities before and after it is applied.

    Args:
        temperature: as fitted.
        predictions: on images that the temperature was not fitted on; None if there are none.
        seed: random seed of the bootstrap.
    """

    def estimate_at(value: float) -> Metrics | None:
        if predictions is None:
            return None
        scaled = replace(predictions, temperature=value)
        estimates = estimate_probability_metrics(scaled, seed=seed)
        return {name: record_estimate(estimate) for name, estimate in estimates.items()}

    return summary.Calibration(
        temperature=temperature.value,
        images=temperature.images,
        reason=temperature.reason,
        before=estimate_at(1.0),
        after=estimate_at(temperature.value),
    )


def summarize_abstention(
    bounds: Sequence[ErrorBound], predictions: LabeledPredictions | None, *, max_error: float
) -> summary.Abstention:
    """Summarize the threshold for `max_error`, and its coverage and error on other images.

    Args:
        bounds: one per threshold, from validation images.
        predictions: on images that were not used to choose the threshold, such as the test images.
        max_error: maximum error among the accepted images.
    """
    bound = find_threshold(bounds, max_error)
    if bound is None:
        reason = explain_missing_threshold(bounds, max_error)
        return summary.Abstention(max_error=max_error, reason=reason)
    validation = _estimate_coverage_and_error(bound)
    test = None
    if predictions is not None:
        test = _estimate_coverage_and_error(
            evaluate_threshold(predictions.correct, predictions.confidence, bound.threshold)
        )
    return summary.Abstention(
        max_error=max_error,
        threshold=bound.threshold,
        validation=summary.AcceptedOnValidation(
            coverage=validation.coverage,
            error=validation.error,
            error_upper_bound=bound.error_high,
        ),
        test=test,
    )


def _estimate_coverage_and_error(bound: ErrorBound) -> summary.AcceptedImages:
    """Estimate the fraction of accepted images and the error among them, with intervals."""
    return summary.AcceptedImages(
        coverage=record_estimate(estimate_proportion(bound.accepted, bound.images)),
        error=record_estimate(estimate_proportion(bound.errors, bound.accepted)),
    )
