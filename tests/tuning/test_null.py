"""Honest selection on random labels: the winner's accuracy is optimistic, the corrected one not.

Labels are drawn independently, so that every classifier has an expected accuracy of one third on
any images. Shuffled balanced labels would not do: each label in the training split is then missing
in validation, and a trained guess is correct less often than chance. 64 trials are searched 100
times by the fused executor.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from veduta.config.settings import Settings
from veduta.runs.summary import CorrectedAccuracy
from veduta.runtime.streams import mix_bits
from veduta.training.examples import Examples
from veduta.training.folds import Fold, create_single_fold, split_into_folds
from veduta.tuning.executors.fused.executor import run_fused
from veduta.tuning.trials.selection import correct_accuracy, rank_outcomes
from veduta.tuning.trials.space import build_trials, expand_grid, group_trials, plan_tiles
from veduta.tuning.trials.state import FinishedTrial
from veduta.types import FloatArray, IntArray

pytestmark = pytest.mark.slow

CLASSES, REPETITIONS = 3, 100
CHANCE = 1 / CLASSES
GRID = {
    "lr": (0.01, 0.03, 0.1, 0.3),
    "weight_decay": (0.0, 0.03, 0.1, 0.3),
    "momentum": (0.0, 0.9),
    "dropout": (0.0, 0.4),
}
TRIALS = build_trials(expand_grid(Settings(optimizer="sgd", epochs=4), GRID))


@dataclass
class SearchResult:
    """The winner of a search, its corrected accuracy, and the number of distinct trials."""

    winner: FinishedTrial
    corrected: CorrectedAccuracy
    distinct_trials: int


def create_examples(features: FloatArray, labels: IntArray) -> Examples:
    keys = mix_bits(np.arange(len(labels), dtype=np.uint64))
    return Examples(torch.tensor(features, dtype=torch.float32), torch.tensor(labels), keys)


def create_folds(examples: Examples, folds: int | None) -> tuple[Fold, ...]:
    """Return halves for training and validation, or the folds of cross-validation."""
    indices = np.arange(len(examples))
    if folds:
        return split_into_folds(examples, indices % folds)
    half = len(examples) // 2
    return create_single_fold(examples.select(indices[:half]), examples.select(indices[half:]))


def search(folds: tuple[Fold, ...], seed: int) -> SearchResult:
    ends: dict[str, FinishedTrial] = {}
    (group,) = group_trials(TRIALS)
    for tile in plan_tiles(group, 200):
        for result in run_fused(tile, folds, classes=CLASSES):
            for trial, end in result.ended:
                assert isinstance(end, FinishedTrial)
                ends[trial.id] = end
    finished = [ends[trial.id] for trial in TRIALS]
    winner = rank_outcomes([trial.outcome for trial in finished])[0]
    corrected = correct_accuracy([trial.correct for trial in finished], seed)
    assert corrected is not None
    distinct = np.unique(np.stack([trial.outcome.correct for trial in finished]), axis=0)
    return SearchResult(ends[winner.trial], corrected, len(distinct))


def compute_standard_error(values: FloatArray) -> float:
    """Return the standard error of the mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


@pytest.fixture(scope="module", params=[None, 3], ids=["split", "folds"])
def searches(request: pytest.FixtureRequest) -> list[SearchResult]:
    """Searches on scikit-learn's digits with random labels."""
    pixels = load_digits().data / 16 - 0.3
    results = []
    for seed in range(REPETITIONS):
        generator = np.random.default_rng(seed)
        chosen = generator.permutation(len(pixels))[: 120 if request.param else 200]
        labels = generator.integers(0, CLASSES, len(chosen))
        examples = create_examples(pixels[chosen], labels)
        results.append(search(create_folds(examples, request.param), seed))
    return results


def test_the_trials_differ(searches: list[SearchResult]) -> None:
    assert len(TRIALS) == 64
    assert np.mean([result.distinct_trials for result in searches]) > 32


def test_the_accuracy_of_the_winner_is_optimistic(searches: list[SearchResult]) -> None:
    accuracies = np.array([result.winner.outcome.val_accuracy for result in searches])
    assert accuracies.mean() - CHANCE > 3 * compute_standard_error(accuracies)


def test_the_corrected_accuracy_is_chance(searches: list[SearchResult]) -> None:
    corrected = np.array([result.corrected.value for result in searches])
    assert abs(corrected.mean() - CHANCE) < 2 * compute_standard_error(corrected)


def test_the_corrected_interval_covers_chance(searches: list[SearchResult]) -> None:
    assert sum(r.corrected.low <= CHANCE <= r.corrected.high for r in searches) >= 90


def test_with_a_weak_signal_the_corrected_accuracy_is_nearer_to_the_test_accuracy() -> None:
    validation, corrected, test = [], [], []
    for seed in range(50):
        generator = np.random.default_rng(seed)
        centers = generator.normal(0, 0.15, (CLASSES, 20))
        labels = generator.integers(0, CLASSES, 20_200)
        features = generator.normal(size=(len(labels), 20)) + centers[labels]
        result = search(create_folds(create_examples(features[:200], labels[:200]), None), seed)
        network = result.winner.network.eval()
        with torch.inference_mode():
            logits = network(torch.tensor(features[200:], dtype=torch.float32))
        validation.append(result.winner.outcome.val_accuracy)
        corrected.append(result.corrected.value)
        test.append(np.mean(logits.argmax(1).numpy() == labels[200:]))
    uncorrected_error = np.array(validation) - test
    corrected_error = np.array(corrected) - test
    assert np.mean(test) > CHANCE + 0.05, "there is a signal"
    assert uncorrected_error.mean() > 3 * compute_standard_error(uncorrected_error)
    assert abs(corrected_error.mean()) < abs(uncorrected_error.mean()) / 2
    assert np.abs(corrected_error).mean() < np.abs(uncorrected_error).mean()
