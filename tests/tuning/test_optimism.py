"""The winner's optimism: none where nothing was chosen, all of it where all trials guess."""

import numpy as np
import pytest

from veduta.tuning.optimism import correct


def guesses(trials: int, images: int, p: float, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return list(generator.random((trials, 3, images)) < p)


def test_one_trial_with_one_epoch_is_as_good_as_it_looks() -> None:
    hits = np.random.default_rng(0).random((1, 300)) < 0.8
    found = correct([hits], 0)
    assert found.optimism == pytest.approx(0, abs=0.003)
    assert found.low < hits.mean() < found.high


def test_trials_that_guess_are_shown_to_guess() -> None:
    raw, corrected, covered = [], [], 0
    for seed in range(40):
        found = correct(guesses(64, 200, 0.25, seed), seed)
        raw.append(found.accuracy + found.optimism)
        corrected.append(found.accuracy)
        covered += found.low <= 0.25 <= found.high
    error = np.std(corrected, ddof=1) / np.sqrt(40)
    assert np.mean(raw) - 0.25 > 3 * error
    assert abs(np.mean(corrected) - 0.25) < 3 * error
    assert covered >= 36


def test_with_a_signal_the_corrected_figure_is_nearer_the_truth() -> None:
    nearer = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        truth = generator.uniform(0.6, 0.7, 30)
        hits = [generator.random((1, 150)) < p for p in truth]
        found = correct(hits, seed)
        chosen = truth[int(np.argmax([h.mean() for h in hits]))]
        raw = found.accuracy + found.optimism
        nearer += abs(found.accuracy - chosen) < abs(raw - chosen)
    assert nearer >= 15


def test_it_is_a_function_of_hits_and_seed() -> None:
    hits = guesses(5, 50, 0.5, 0)
    assert correct(hits, 1) == correct(hits, 1)
    assert correct(hits, 1) != correct(hits, 2)


def test_many_choices_are_looked_at_in_blocks() -> None:
    hits = np.zeros((700, 1, 60), bool)
    hits[650] = True  # the one that is always right, far from the first block
    assert correct(list(hits), 0).accuracy == 1


def test_one_image_says_nothing() -> None:
    assert correct([np.array([[True]]), np.array([[False]])], 0) is None
