"""Selection of the winner, the trials that tie with it, and its corrected accuracy."""

import numpy as np
import pytest

from veduta.runs.summary import CorrectedAccuracy
from veduta.tuning.trials.selection import (
    Outcome,
    correct_accuracy,
    find_ties,
    rank_outcomes,
)
from veduta.types import BoolArray


def create_outcome(trial: str, correct: int, *, cost: int = 1, images: int = 400) -> Outcome:
    """Return the outcome of a trial whose first `correct` predictions are correct."""
    return Outcome(
        trial,
        best_epoch=1,
        epochs_trained=1,
        cost=cost,
        train_loss=0.0,
        train_accuracy=0.0,
        val_loss=0.0,
        val_accuracy=correct / images,
        seconds=0.0,
        correct=np.arange(images) < correct,
    )


def test_accuracy_ranks_before_cost_before_canonical_order() -> None:
    outcomes = [
        create_outcome("a", 300),
        create_outcome("b", 350, cost=9),
        create_outcome("c", 350),
        create_outcome("d", 350),
    ]
    assert [outcome.trial for outcome in rank_outcomes(outcomes)] == ["c", "d", "b", "a"]


def test_a_significantly_worse_trial_does_not_tie() -> None:
    outcomes = [
        create_outcome("best", 360),
        create_outcome("near", 358, cost=5),
        create_outcome("far", 300),
    ]
    assert find_ties(outcomes) == ["near"]


def test_ties_are_listed_cheapest_first() -> None:
    outcomes = [
        create_outcome("best", 360, cost=9),
        create_outcome("b", 359, cost=7),
        create_outcome("c", 359, cost=2),
    ]
    assert find_ties(outcomes) == ["c", "b"]


def test_a_single_trial_has_no_ties() -> None:
    assert find_ties([create_outcome("only", 5)]) == []


def test_p_values_are_corrected_for_the_number_of_comparisons() -> None:
    # 7 images lost and none won: p = 2 / 2^7 = 0.016, below 0.05 alone, above it among ten
    rivals = [create_outcome(f"r{index}", 353) for index in range(10)]
    best = create_outcome("best", 360)
    assert find_ties([best, *rivals[:1]]) == []
    assert len(find_ties([best, *rivals])) == 10


def guess(trials: int, images: int, probability: float, seed: int) -> list[BoolArray]:
    """Return the correctness of trials of three epochs that guess."""
    generator = np.random.default_rng(seed)
    return list(generator.random((trials, 3, images)) < probability)


def correct(correctness: list[BoolArray], seed: int) -> CorrectedAccuracy:
    corrected = correct_accuracy(correctness, seed)
    assert corrected is not None
    return corrected


def test_one_trial_with_one_epoch_has_no_optimism() -> None:
    correctness = np.random.default_rng(0).random((1, 300)) < 0.8
    corrected = correct([correctness], 0)
    assert corrected.optimism == pytest.approx(0, abs=0.003)
    assert corrected.low < correctness.mean() < corrected.high


def test_the_corrected_accuracy_of_guesses_is_chance() -> None:
    winner, values, covered = [], [], 0
    for seed in range(40):
        corrected = correct(guess(64, 200, 0.25, seed), seed)
        winner.append(corrected.value + corrected.optimism)
        values.append(corrected.value)
        covered += corrected.low <= 0.25 <= corrected.high
    error = np.std(values, ddof=1) / np.sqrt(40)
    assert np.mean(winner) - 0.25 > 3 * error
    assert abs(np.mean(values) - 0.25) < 3 * error
    assert covered >= 36


def test_with_a_signal_the_corrected_accuracy_is_nearer_to_the_expected_one() -> None:
    nearer = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        expected = generator.uniform(0.6, 0.7, 30)
        correctness = [generator.random((1, 150)) < p for p in expected]
        corrected = correct(correctness, seed)
        winner = expected[int(np.argmax([c.mean() for c in correctness]))]
        uncorrected = corrected.value + corrected.optimism
        nearer += abs(corrected.value - winner) < abs(uncorrected - winner)
    assert nearer >= 15


def test_the_result_is_a_function_of_correctness_and_seed() -> None:
    correctness = guess(5, 50, 0.5, 0)
    assert correct(correctness, 1) == correct(correctness, 1)
    assert correct(correctness, 1) != correct(correctness, 2)


def test_candidates_of_all_blocks_compete() -> None:
    correctness = np.zeros((700, 1, 60), bool)
    correctness[650] = True  # always correct, in a later block
    assert correct(list(correctness), 0).value == 1


def test_one_image_is_too_few() -> None:
    assert correct_accuracy([np.array([[True]]), np.array([[False]])], 0) is None
