"""The bootstrap: draws against their expectation, and intervals that hold as often as they say."""

import numpy as np
import pytest

from veduta.metrics.classification import averages
from veduta.metrics.comparison import paired_differences
from veduta.metrics.counts import Counts, Numbers, accuracy_of, kappa, macro_f1
from veduta.metrics.probabilities import calibration_error, log_loss
from veduta.metrics.resampling import image_draws, mean_figure, resampled

TIMES = 300


def truth_and_found(
    shares: Numbers, images: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Images drawn from the cells (truth, prediction) with these shares."""
    cells = generator.choice(shares.size, images, p=shares.ravel())
    return cells // len(shares), cells % len(shares)


def shares_of(accuracy: float, classes: Numbers) -> Numbers:
    """A population: classes of these shares, errors spread evenly."""
    many = len(classes)
    rows = np.full((many, many), (1 - accuracy) / (many - 1))
    np.fill_diagonal(rows, accuracy)
    return rows * classes[:, None]


def counts_of(shares: Numbers) -> Counts:
    return Counts(np.diag(shares), shares.sum(0), shares.sum(1))


@pytest.mark.parametrize(
    ("accuracy", "images", "classes"),
    [(0.8, 100, (0.5, 0.3, 0.2)), (0.95, 60, (1 / 3,) * 3), (0.92, 400, (0.05, 0.15, 0.2, 0.6))],
)
def test_coverage_of_macro_f1_and_kappa(
    accuracy: float, images: int, classes: tuple[float, ...]
) -> None:
    shares = shares_of(accuracy, np.array(classes))
    expected = {"macro_f1": float(macro_f1(counts_of(shares)))}
    expected["kappa"] = float(kappa(counts_of(shares)))
    generator = np.random.default_rng(0)
    covered = dict.fromkeys(expected, 0)
    for seed in range(TIMES):
        truth, found = truth_and_found(shares, images, generator)
        figures = averages(truth, found, classes=len(classes), seed=seed)
        for name, value in expected.items():
            covered[name] += figures[name].low <= value <= figures[name].high
    for name, often in covered.items():
        assert 0.92 <= often / TIMES <= 0.98, name


def test_coverage_of_a_paired_difference() -> None:
    generator = np.random.default_rng(1)
    covered = {"accuracy": 0, "macro_f1": 0}
    for seed in range(TIMES):
        truth = generator.integers(0, 3, 300)
        hard = generator.random(300)  # what an image has in store for both
        wrong = (truth + generator.integers(1, 3, 300)) % 3
        first, second = (np.where(hard < share, truth, wrong) for share in (0.85, 0.8))
        swapped = generator.random(300) < 0.04
        second = np.where(swapped, truth, second)
        found = paired_differences(truth, first, second, classes=3, seed=seed)
        value = 0.8 + 0.2 * 0.04 - 0.85  # of both figures: classes and errors are even
        for name in covered:
            covered[name] += found[name].low <= value <= found[name].high
    for name, often in covered.items():
        assert 0.92 <= often / TIMES <= 0.98, name


def test_coverage_of_a_mean_loss() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for seed in range(TIMES):
        figure = mean_figure(generator.beta(2, 5, 100), seed)
        covered += figure.low <= 2 / 7 <= figure.high
    assert 0.92 <= covered / TIMES <= 0.98


def test_perfect_probabilities_are_not_said_to_be_off() -> None:
    generator = np.random.default_rng(3)
    accused = off = 0
    for seed in range(100):
        confidence = generator.beta(6, 2, 200)
        luck = generator.random(200)
        accused += calibration_error(luck < confidence, confidence, seed=seed).low > 0
        off += calibration_error(luck < confidence - 0.2, confidence, seed=seed).low > 0
    assert accused <= 10
    assert off >= 99


def test_draws_have_the_expectation_of_what_is_drawn_from() -> None:
    generator = np.random.default_rng(4)
    truth, first, second = generator.integers(0, 4, (3, 500))
    for one in resampled(truth, [first, second], classes=4, seed=0):
        scale = 500 / 501
        for kind in ("hits", "predicted", "truth"):
            mean = getattr(one.draws, kind).mean(0)
            assert mean == pytest.approx(getattr(one.centre, kind) * scale, abs=1.5)
        assert (one.draws.images == 500).all()
    both = resampled(truth, [first, first], classes=4, seed=0)
    apart = accuracy_of(both[0].draws) - accuracy_of(both[1].draws)
    assert abs(apart).max() < 0.02  # the same images are drawn for both


def test_draws_are_a_function_of_the_seed() -> None:
    one, same, other = (next(image_draws(50, seed)) for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()
    assert (one.sum(1) == 50).all()


def test_the_loss_of_no_image_is_not_measured() -> None:
    figure = log_loss(np.zeros(0, np.int64), np.zeros((0, 3)))
    assert np.isnan(figure.value)
    assert str(figure) == "not measured"
