"""The bootstrap: expectations of the resamples, and coverage of the intervals by simulation."""

import numpy as np
import pytest

from veduta.metrics.bootstrap import (
    ClassCounts,
    draw_image_counts,
    estimate_mean,
    resample_counts,
)
from veduta.metrics.classification import (
    compute_accuracy,
    compute_kappa,
    compute_macro_f1,
    estimate_averaged_metrics,
)
from veduta.metrics.comparison import estimate_paired_differences
from veduta.metrics.probabilities import estimate_calibration_error
from veduta.types import FloatArray

REPETITIONS = 300


def draw_labels(
    cell_probabilities: FloatArray, images: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw true and predicted classes from the cells of a confusion matrix."""
    cells = generator.choice(cell_probabilities.size, images, p=cell_probabilities.ravel())
    return cells // len(cell_probabilities), cells % len(cell_probabilities)


def make_cell_probabilities(accuracy: float, class_probabilities: FloatArray) -> FloatArray:
    """Make a confusion matrix with the same accuracy in each class and evenly spread errors."""
    classes = len(class_probabilities)
    rows = np.full((classes, classes), (1 - accuracy) / (classes - 1))
    np.fill_diagonal(rows, accuracy)
    return rows * class_probabilities[:, None]


def count_matrix(matrix: FloatArray) -> ClassCounts:
    return ClassCounts(np.diag(matrix), matrix.sum(0), matrix.sum(1))


@pytest.mark.parametrize(
    ("accuracy", "images", "classes"),
    [(0.8, 100, (0.5, 0.3, 0.2)), (0.95, 60, (1 / 3,) * 3), (0.92, 400, (0.05, 0.15, 0.2, 0.6))],
)
def test_coverage_of_macro_f1_and_kappa(
    accuracy: float, images: int, classes: tuple[float, ...]
) -> None:
    cell_probabilities = make_cell_probabilities(accuracy, np.array(classes))
    counts = count_matrix(cell_probabilities)
    true_values = {
        "macro_f1": float(compute_macro_f1(counts)),
        "kappa": float(compute_kappa(counts)),
    }
    generator = np.random.default_rng(0)
    covered = dict.fromkeys(true_values, 0)
    for seed in range(REPETITIONS):
        y_true, y_pred = draw_labels(cell_probabilities, images, generator)
        estimates = estimate_averaged_metrics(y_true, y_pred, classes=len(classes), seed=seed)
        for name, value in true_values.items():
            covered[name] += estimates[name].low <= value <= estimates[name].high
    for name, count in covered.items():
        assert 0.92 <= count / REPETITIONS <= 0.98, name


def test_coverage_of_paired_differences() -> None:
    generator = np.random.default_rng(1)
    covered = {"accuracy": 0, "macro_f1": 0}
    for seed in range(REPETITIONS):
        y_true = generator.integers(0, 3, 300)
        difficulty = generator.random(300)  # common to both classifiers
        wrong = (y_true + generator.integers(1, 3, 300)) % 3
        first, second = (np.where(difficulty < rate, y_true, wrong) for rate in (0.85, 0.8))
        corrected = generator.random(300) < 0.04
        second = np.where(corrected, y_true, second)
        differences = estimate_paired_differences(y_true, first, second, classes=3, seed=seed)
        # of both metrics, since classes and errors are balanced
        true_difference = 0.8 + 0.2 * 0.04 - 0.85
        for name in covered:
            covered[name] += differences[name].low <= true_difference <= differences[name].high
    for name, count in covered.items():
        assert 0.92 <= count / REPETITIONS <= 0.98, name


def test_coverage_of_a_mean() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for seed in range(REPETITIONS):
        estimate = estimate_mean(generator.beta(2, 5, 100), seed)
        covered += estimate.low <= 2 / 7 <= estimate.high
    assert 0.92 <= covered / REPETITIONS <= 0.98


def test_calibration_error_of_calibrated_probabilities_is_compatible_with_0() -> None:
    generator = np.random.default_rng(3)
    calibrated_above_0 = overconfident_above_0 = 0
    for seed in range(100):
        confidence = generator.beta(6, 2, 200)
        uniform = generator.random(200)
        calibrated = estimate_calibration_error(uniform < confidence, confidence, seed=seed)
        overconfident = estimate_calibration_error(
            uniform < confidence - 0.2, confidence, seed=seed
        )
        calibrated_above_0 += calibrated.low > 0
        overconfident_above_0 += overconfident.low > 0
    assert calibrated_above_0 <= 10
    assert overconfident_above_0 >= 99


def test_resamples_have_the_expectation_of_the_smoothed_counts() -> None:
    generator = np.random.default_rng(4)
    y_true, first, second = generator.integers(0, 4, (3, 500))
    for bootstrap in resample_counts(y_true, [first, second], classes=4, seed=0):
        scale = 500 / 501
        for name in ("correct", "predicted", "actual"):
            mean = getattr(bootstrap.resampled, name).mean(0)
            expected = getattr(bootstrap.smoothed, name) * scale
            assert mean == pytest.approx(expected, abs=1.5)
        assert (bootstrap.resampled.images == 500).all()


def test_classifiers_are_counted_on_the_same_resamples() -> None:
    y_true, y_pred = np.random.default_rng(4).integers(0, 4, (2, 500))
    first, second = resample_counts(y_true, [y_pred, y_pred], classes=4, seed=0)
    difference = compute_accuracy(first.resampled) - compute_accuracy(second.resampled)
    assert abs(difference).max() < 0.02  # only the smoothing images differ


def test_resamples_are_determined_by_the_seed() -> None:
    counts, same_seed, other_seed = (next(draw_image_counts(50, seed)) for seed in (0, 0, 1))
    assert (counts == same_seed).all()
    assert (counts != other_seed).any()
    assert (counts.sum(1) == 50).all()
