"""The null test of honest selection: labels that mean nothing, and a search that must say so.

Labels are drawn at random, each by itself, so that every classifier is right once in three, on
whatever it was trained. Shuffling balanced labels would not do: each label that trains is then one
fewer among those that judge, and a trained guess is right less often than by chance. The executor
that users have searches 64 trials, 100 times; the winner's own score must be too good, the
corrected one must not.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from veduta.config.settings import Settings
from veduta.runtime.streams import mix
from veduta.training.folds import Fold, divided, undivided
from veduta.training.state import Examples
from veduta.tuning.executors.fused.executor import run_tile
from veduta.tuning.optimism import Corrected, correct
from veduta.tuning.trials.groups import groups, tiles
from veduta.tuning.trials.selection import best_first
from veduta.tuning.trials.space import cells, trials
from veduta.tuning.trials.state import Finished

pytestmark = pytest.mark.slow

CLASSES, REPETITIONS = 3, 100
CHANCE = 1 / CLASSES
GRID = {
    "lr": (0.01, 0.03, 0.1, 0.3),
    "weight_decay": (0.0, 0.03, 0.1, 0.3),
    "momentum": (0.0, 0.9),
    "dropout": (0.0, 0.4),
}
TRIALS = trials(cells(Settings(optimizer="sgd", epochs=4), GRID))
Array = NDArray[np.float64]


@dataclass
class Searched:
    """The winner of a search, what it is said to be worth, and how many trials differ."""

    winner: Finished
    corrected: Corrected
    distinct: int


def examples(features: Array, labels: NDArray[np.int64]) -> Examples:
    keys = mix(np.arange(len(labels), dtype=np.uint64))
    return Examples(torch.tensor(features, dtype=torch.float32), torch.tensor(labels), keys)


def folds_of(whole: Examples, folds: int | None) -> tuple[Fold, ...]:
    """Half of the images train, half choose; or each chooses in one of some folds."""
    places = np.arange(len(whole))
    if folds:
        return divided(whole, places % folds)
    half = len(whole) // 2
    return undivided(whole.among(places[:half]), whole.among(places[half:]))


def search(folds: tuple[Fold, ...], seed: int) -> Searched:
    ends: dict[str, Finished] = {}
    (group,) = groups(TRIALS)
    for tile in tiles(group, 200):
        for came in run_tile(tile, folds, classes=CLASSES):
            for trial, end in came.ended:
                assert isinstance(end, Finished)
                ends[trial.id] = end
    ordered = [ends[trial.id] for trial in TRIALS]
    first = best_first([end.outcome for end in ordered])[0]
    corrected = correct([end.hits for end in ordered], seed)
    assert corrected
    different = np.unique(np.stack([end.outcome.hits for end in ordered]), axis=0)
    return Searched(ends[first.trial], corrected, len(different))


def error_of(values: Array) -> float:
    """The standard error of their mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


@pytest.fixture(scope="module", params=[None, 3], ids=["split", "folds"])
def null(request: pytest.FixtureRequest) -> list[Searched]:
    """Searches on scikit-learn's digits under labels that were drawn at random."""
    pixels = load_digits().data / 16 - 0.3
    found = []
    for seed in range(REPETITIONS):
        generator = np.random.default_rng(seed)
        chosen = generator.permutation(len(pixels))[: 120 if request.param else 200]
        labels = generator.integers(0, CLASSES, len(chosen))
        whole = examples(pixels[chosen], labels)
        found.append(search(folds_of(whole, request.param), seed))
    return found


def test_the_trials_differ(null: list[Searched]) -> None:
    assert len(TRIALS) == 64
    assert np.mean([one.distinct for one in null]) > 32


def test_the_winners_own_score_is_too_good(null: list[Searched]) -> None:
    raw = np.array([one.winner.outcome.val_accuracy for one in null])
    assert raw.mean() - CHANCE > 3 * error_of(raw)


def test_the_corrected_score_is_chance(null: list[Searched]) -> None:
    corrected = np.array([one.corrected.accuracy for one in null])
    assert abs(corrected.mean() - CHANCE) < 2 * error_of(corrected)


def test_the_corrected_interval_covers_chance(null: list[Searched]) -> None:
    assert sum(one.corrected.low <= CHANCE <= one.corrected.high for one in null) >= 90


def test_with_a_weak_signal_the_corrected_score_is_nearer_the_truth() -> None:
    raw, corrected, truth = [], [], []
    for seed in range(50):
        generator = np.random.default_rng(seed)
        centres = generator.normal(0, 0.15, (CLASSES, 20))
        labels = generator.integers(0, CLASSES, 20_200)
        features = generator.normal(size=(len(labels), 20)) + centres[labels]
        found = search(folds_of(examples(features[:200], labels[:200]), None), seed)
        network = found.winner.network.eval()
        with torch.inference_mode():
            named = network(torch.tensor(features[200:], dtype=torch.float32)).argmax(1).numpy()
        raw.append(found.winner.outcome.val_accuracy)
        corrected.append(found.corrected.accuracy)
        truth.append(np.mean(named == labels[200:]))
    far = np.array(raw) - truth, np.array(corrected) - truth
    assert np.mean(truth) > CHANCE + 0.05  # there is something to learn
    assert far[0].mean() > 3 * error_of(far[0])
    assert abs(far[1].mean()) < abs(far[0].mean()) / 2
    assert np.abs(far[1]).mean() < np.abs(far[0]).mean()
