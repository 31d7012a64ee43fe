"""Selection of the winner by validation accuracy, trials tied with it, and corrected accuracy.

The functions see validation results only, never the test set.

The validation accuracy of the best of many trials is optimistic, because it decided the selection.
`correct_accuracy` repeats the selection (of trial and epoch) on bootstrap samples of the images and
evaluates the selected trial on the images that were not drawn, so that no image is used for both.

On random labels (`tests/tuning/test_null.py`: 64 trials, 100 validation images, 100 repetitions)
the uncorrected accuracy of the winner is 8.8 percentage points above chance; the corrected accuracy
is 0.2 points below, with a standard error of 0.4. The interval is conservative, because a draw
leaves out only 37 % of the images, on which accuracy varies more than on all; it contained the
chance level in every repetition. With folds, 0.5 of 8 points of optimism remain (120 images in 3
folds, 600 repetitions, standard error 0.16), because the heads that are evaluated on the drawn
images were trained on images that were not drawn.

Source: I. Tsamardinos, E. Greasidou, G. Borboudakis, Machine Learning 107 (2018) 1895-1922
(bootstrap bias corrected cross-validation).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veduta.metrics.comparison import adjust_p_values, compute_mcnemar_p_value
from veduta.runs.summary import CorrectedAccuracy
from veduta.runtime.streams import derive_key
from veduta.types import BoolArray, Float32Array, IndexArray

SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """Validation result of a trial; the metrics are those of its best epoch.

    Attributes:
        trial: id of the trial.
        best_epoch: the first epoch with the highest validation accuracy.
        epochs_trained: number of epochs that the trial was trained for.
        cost: number of trained parameters times epochs; breaks ties.
        train_loss, train_accuracy, val_loss, val_accuracy: at the best epoch.
        seconds: training time, summed over the epochs.
        correct: (validation images,) whether the prediction at the best epoch was correct.
        stopped_by_halving: whether other trials were promoted in its place.
    """

    trial: str
    best_epoch: int
    epochs_trained: int
    cost: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    correct: BoolArray
    stopped_by_halving: bool = False

    @property
    def rank(self) -> tuple[float, bool, int]:
        """Sort key: validation accuracy, then whether halving stopped the trial, then cost."""
        return -self.val_accuracy, self.stopped_by_halving, self.cost


def rank_outcomes(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return outcomes from the best to the worst.

    Higher validation accuracy comes first. Ties are broken in favor of trials that halving did not
    stop (they were no worse when the others were stopped), then of the cheaper trial, then of the
    one that is earlier in `outcomes`, which are in canonical order.
    """
    return sorted(outcomes, key=lambda outcome: outcome.rank)


def find_ties(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the ids of the trials that do not differ significantly from the winner.

    The test is McNemar's exact test on the same validation images; p-values are corrected by Holm's
    method for the number of comparisons. No significant difference does not mean equal: the fewer
    the images, the longer the list. The cheapest trial comes first.
    """
    winner, *others = rank_outcomes(outcomes)
    p_values = adjust_p_values(
        [compute_mcnemar_p_value(winner.correct, other.correct) for other in others]
    )
    ties = [other for other, p in zip(others, p_values, strict=True) if p > SIGNIFICANCE_LEVEL]
    ties.sort(key=lambda outcome: (outcome.cost, -outcome.val_accuracy))
    return [outcome.trial for outcome in ties]


DRAWS = 1000
DRAWS_PER_BLOCK = 100  # draws in memory at a time
CANDIDATES_PER_BLOCK = 256  # candidates in memory as float32 at a time


def correct_accuracy(correct: Sequence[BoolArray], seed: int) -> CorrectedAccuracy | None:
    """Return the expected accuracy of the selected trial on images not used to select it.

    Args:
        correct: whether each prediction is correct, (epochs, images) for each trial; the
            first trial wins a tie.
        seed: seed of the draws.

    Returns:
        The mean over the draws, and an interval that contains 95 % of them; None if there
        are so few images that no draw leaves one out.

    >>> guesses = np.random.default_rng(0).random((200, 1, 400)) < 0.5  # 200 trials
    >>> corrected = correct_accuracy(list(guesses), 0)
    >>> round(corrected.value + corrected.optimism, 2), round(corrected.value, 2)
    (0.57, 0.5)
    """
    candidates = np.concatenate(correct)  # (trials x epochs, images)
    images = candidates.shape[1]
    generator = np.random.Generator(np.random.Philox(key=int(derive_key(seed, "optimism"))))
    accuracies = []
    for _ in range(0, DRAWS, DRAWS_PER_BLOCK):
        counts = generator.multinomial(images, np.full(images, 1 / images), DRAWS_PER_BLOCK)
        selected = candidates[_select_candidates(candidates, counts.astype(np.float32))]
        left_out = counts == 0  # (draws, images), like `selected`
        usable = left_out.any(1)
        correct_counts = (left_out & selected).sum(1)
        accuracies.append(correct_counts[usable] / left_out.sum(1)[usable])
    values = np.concatenate(accuracies)
    if not len(values):
        return None
    value = float(values.mean())
    low, high = np.quantile(values, (0.025, 0.975))
    winner_accuracy = float(candidates.mean(1).max())
    return CorrectedAccuracy(
        value=value, low=float(low), high=float(high), optimism=winner_accuracy - value
    )


def _select_candidates(candidates: BoolArray, counts: Float32Array) -> IndexArray:
    """Return the index of the best candidate in each draw, the first if tied.

    The counts are (draws, images).
    """
    best = np.full(len(counts), -1.0, np.float32)
    index = np.zeros(len(counts), np.intp)
    for start in range(0, len(candidates), CANDIDATES_PER_BLOCK):
        block = candidates[start : start + CANDIDATES_PER_BLOCK].astype(np.float32)
        scores = counts @ block.T  # integers, so float32 is exact
        block_index = scores.argmax(1)
        score = scores[np.arange(len(counts)), block_index]
        index = np.where(score > best, start + block_index, index)
        best = np.maximum(best, score)
    return index
