"""How much too good the winner looks, because it was chosen for looking good.

The best of many trials on the validation images owes part of its score to these very images. The
bootstrap repeats the choice on images drawn with replacement, and looks at the chosen one on those
that were not drawn: no image serves for both, and the choice of trial and epoch is repeated whole.

Where labels mean nothing (`tests/search/test_null.py`: 64 trials, 100 images that choose, 100
times) the winner's own score is 8.8 points above chance; the corrected one is 0.2 below, with a
standard error of 0.4. The interval is a cautious one: a draw leaves out 37 % of the images, and so
few spread wider than all would; there it covered chance every time. With folds a little optimism
stays, 0.5 of 8 points (600 times 120 images in 3 folds, standard error 0.16): images that were not
drawn have trained the heads that the drawn ones judge.

Source: I. Tsamardinos, E. Greasidou, G. Borboudakis, Machine Learning 107 (2018) 1895-1922
(bootstrap bias corrected cross-validation).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veduta.runtime.streams import stream

DRAWS = 1000
AT_ONCE = 100  # draws in memory
BLOCK = 256  # choices in memory as numbers

Hits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Corrected:
    """What the chosen trial is expected to reach on images that did not choose it.

    Attributes:
        accuracy: mean over the draws.
        low, high: 95 % of the draws lie between them.
        optimism: how much higher the winner's own validation accuracy is.
    """

    accuracy: float
    low: float
    high: float
    optimism: float

    def as_dict(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        return {
            "accuracy": self.accuracy,
            "low": self.low,
            "high": self.high,
            "optimism": self.optimism,
        }


def correct(hits: Sequence[Hits], seed: int) -> Corrected | None:
    """The expected accuracy of the choice among trials and their epochs.

    Args:
        hits: of each trial (epochs, images), right or wrong; in order of preference among equals.
        seed: of the draws.

    Returns:
        None where there are too few images for a draw to leave any out.

    >>> fair = np.random.default_rng(0).random((200, 1, 400)) < 0.5  # 200 trials that guess
    >>> found = correct(list(fair), 0)
    >>> round(found.accuracy + found.optimism, 2), round(found.accuracy, 2)
    (0.57, 0.5)
    """
    choices = np.concatenate(hits)  # (choices, images)
    images = choices.shape[1]
    generator = np.random.Generator(np.random.Philox(key=int(stream(seed, "optimism"))))
    reached = []
    for _ in range(0, DRAWS, AT_ONCE):
        drawn = generator.multinomial(images, np.full(images, 1 / images), AT_ONCE)
        chosen = choices[_best(choices, drawn.astype(np.float32))]  # (draws, images)
        left = drawn == 0
        some = left.any(1)
        reached.append((left & chosen).sum(1)[some] / left.sum(1)[some])
    shares = np.concatenate(reached)
    if not len(shares):
        return None
    accuracy = float(shares.mean())
    low, high = np.quantile(shares, (0.025, 0.975))
    raw = float(choices.mean(1).max())
    return Corrected(accuracy, float(low), float(high), raw - accuracy)


def _best(choices: Hits, drawn: NDArray[np.float32]) -> NDArray[np.intp]:
    """The first best choice in each draw (draws, images); a block of choices at a time."""
    best = np.full(len(drawn), -1.0, np.float32)
    index = np.zeros(len(drawn), np.intp)
    for start in range(0, len(choices), BLOCK):
        scores = drawn @ choices[start : start + BLOCK].T.astype(np.float32)  # integers: exact
        place = scores.argmax(1)
        score = scores[np.arange(len(drawn)), place]
        index = np.where(score > best, start + place, index)
        best = np.maximum(best, score)
    return index
