"""Abstaining in prediction: the threshold that a model's manifest gives for a wanted error."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from veduta.errors import InputError
from veduta.evaluation.abstention import ThresholdBound, explain_missing_threshold, find_threshold
from veduta.evaluation.calibration import softmax
from veduta.inference.classifier import Classifier
from veduta.types import FloatArray


@final
@dataclass(frozen=True, slots=True)
class Abstention:
    """Which images are left to a person.

    Attributes:
        max_error: that was asked for.
        threshold: of confidence, the calibrated probability of the label.
        temperature: what logits are divided by before softmax.
    """

    max_error: float
    threshold: float
    temperature: float

    def confidence(self, logits: NDArray[Any]) -> FloatArray:
        """The calibrated probability of the label of each image, (N,)."""
        found: FloatArray = softmax(logits, self.temperature).max(1, initial=0.0)
        return found

    def abstained(self, logits: NDArray[Any]) -> NDArray[np.bool_]:
        """Which images are left to a person, (N,)."""
        found: NDArray[np.bool_] = self.confidence(logits) < self.threshold
        return found


def bounds_of(classifier: Classifier) -> tuple[ThresholdBound, ...]:
    """What each threshold accepted on validation, as the manifest of the model says."""
    return tuple(ThresholdBound(**bound.model_dump()) for bound in classifier.manifest.error_bounds)


def abstention(classifier: Classifier, max_error: float | None) -> Abstention | None:
    """The threshold for an error of at most `max_error`; None where none is asked for.

    Raises:
        InputError: `max_error` is no share, or validation has shown no such error.
    """
    if max_error is None:
        return None
    if not 0 < max_error < 1:
        raise InputError(f"max_error must be a share between 0 and 1, like 0.02; got {max_error:g}")
    bounds = bounds_of(classifier)
    if not bounds:
        raise InputError(
            f"max_error needs a model that says what it errs by; {classifier.source} was trained "
            "by a version that did not write it: train it again, or leave max_error out"
        )
    found = find_threshold(bounds, max_error)
    if found is None:
        raise InputError(
            f"{explain_missing_threshold(bounds, max_error)}; allow a larger max_error, or let "
            "more images validate the model"
        )
    return Abstention(max_error, found.threshold, classifier.manifest.temperature)
