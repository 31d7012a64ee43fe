"""Everything that can be said of a model from truth and logits of images that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from veduta.evaluation.abstention import (
    Accepted,
    accepted,
    no_threshold,
    risk_area,
    threshold_for,
)
from veduta.evaluation.calibration import Temperature, softmax
from veduta.metrics.classification import averages, share, top_k_accuracy
from veduta.metrics.counts import Numbers
from veduta.metrics.probabilities import brier_score, calibration_error, log_loss
from veduta.metrics.ranking import areas

Labels = NDArray[np.int64]
TOP = (3, 5)  # accuracies among so many labels, where there are more classes


@final
@dataclass(frozen=True)
class Judged:
    """Images with their truth (N,), and what a model says of them: logits (N, classes).

    `paths` and `digests` (SHA-256 of the content) say which images they are.
    """

    paths: Sequence[str]
    digests: Sequence[str]
    truth: Labels
    logits: NDArray[np.floating[Any]]
    classes: tuple[str, ...]
    temperature: float = 1.0

    @cached_property
    def probabilities(self) -> Numbers:
        """(N, classes), at the temperature."""
        return softmax(self.logits, self.temperature)

    @property
    def predicted(self) -> Labels:
        """(N,) the most probable class."""
        found: Labels = self.logits.argmax(1)
        return found

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(N,) right or wrong."""
        found: NDArray[np.bool_] = self.predicted == self.truth
        return found

    @property
    def confidence(self) -> Numbers:
        """(N,) probability of the predicted class."""
        found: Numbers = self.probabilities.max(1, initial=0.0)
        return found


def figures_of(judged: Judged, *, seed: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """All figures by name, each with its interval; and a row a class of areas below curves."""
    found = averages(judged.truth, judged.predicted, classes=len(judged.classes), seed=seed)
    table, means = areas(judged.truth, judged.probabilities, judged.classes, seed=seed)
    found |= means
    found |= probability_figures(judged, seed=seed)
    found["risk_coverage_area"] = risk_area(judged.hits, judged.confidence, seed=seed)
    told: dict[str, Any] = {
        f"top_{k}_accuracy": top_k_accuracy(judged.truth, judged.logits, k).as_dict()
        for k in TOP
        if k < len(judged.classes)
    }
    return told | {name: figure.as_dict() for name, figure in found.items()}, table


def probability_figures(judged: Judged, *, seed: int) -> dict[str, Any]:
    """How good the probabilities are, by name: log loss, Brier score, calibration errors."""
    truth, probabilities = judged.truth, judged.probabilities
    hits, confidence = judged.hits, judged.confidence
    return {
        "log_loss": log_loss(truth, probabilities, seed=seed),
        "brier_score": brier_score(truth, probabilities, seed=seed),
        "calibration_error": calibration_error(hits, confidence, seed=seed),
        "calibration_error_equal_mass": calibration_error(
            hits, confidence, equal_mass=True, seed=seed
        ),
    }


def calibration_of(temperature: Temperature, judged: Judged | None, *, seed: int) -> dict[str, Any]:
    """The temperature, and what it does to the probabilities of images that did not fit it."""
    found: dict[str, Any] = {
        "temperature": temperature.value,
        "images": temperature.images,
        "reason": temperature.reason,
    }
    for name, value in (("before", 1.0), ("after", temperature.value)):
        found[name] = None
        if judged is not None:
            at = Judged(
                judged.paths, judged.digests, judged.truth, judged.logits, judged.classes, value
            )
            figures = probability_figures(at, seed=seed)
            found[name] = {figure: value.as_dict() for figure, value in figures.items()}
    return found


def abstention_of(
    bounds: Sequence[Accepted], judged: Judged | None, *, max_error: float
) -> dict[str, Any]:
    """The threshold for `max_error`, and its coverage and error on images that chose nothing.

    Args:
        bounds: by threshold, from validation images.
        judged: other images, such as those of the test.
        max_error: that shall be left.
    """
    chosen = threshold_for(bounds, max_error)
    found: dict[str, Any] = {"max_error": max_error, "threshold": None, "validation": None}
    found |= {"judged": None, "reason": None}
    if chosen is None:
        return {**found, "reason": no_threshold(bounds, max_error)}
    found["threshold"] = chosen.threshold
    found["validation"] = {**_shares(chosen), "error_high_corrected": chosen.error_high}
    if judged is not None:
        found["judged"] = _shares(accepted(judged.hits, judged.confidence, chosen.threshold))
    return found


def _shares(found: Accepted) -> dict[str, Any]:
    """Coverage and error of what is accepted, each with its interval."""
    pairs = {
        "coverage": (found.accepted, found.images),
        "error": (found.errors, found.accepted),
    }
    told = {}
    for name, (some, all_of_them) in pairs.items():
        figures = share(some, all_of_them).as_dict()
        told[name] = {"value": figures.pop("accuracy"), **figures}
    return told
