"""How far the features of an engine are from the reference: torch in float32, the definition."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCE = "torch f32"
IMAGES = 16  # that are compared
ROUNDING = 1e-3  # what the order of float32 sums may make of a row; more is another network


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two tables of features of the same images, compared row by row.

    Attributes:
        images: how many were compared.
        largest_difference: max_i |a_i - r_i| / |r_i|, the distance as a share of the row's length.
        smallest_cosine: min_i a_i . r_i / (|a_i| |r_i|): 1 where the directions agree.
    """

    images: int
    largest_difference: float
    smallest_cosine: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the reference is named."""
        return {"reference": REFERENCE, **asdict(self)}


def agreement(features: NDArray[np.float32], reference: NDArray[np.float32]) -> Agreement:
    """Compare features (n, D) of an engine with those of the reference, n above 0.

    Where a row of the reference is zero, its difference is 0 or 1 and its cosine 1 or 0: whether
    the other row is zero too.

    >>> agreement(np.array([[3.0, 4.0]]), np.array([[3.0, 0.0]])).smallest_cosine
    0.6
    """
    a, r = (x.reshape(len(x), -1).astype(np.float64) for x in (features, reference))
    own, length = np.linalg.norm(a, axis=1), np.linalg.norm(r, axis=1)
    distance = np.linalg.norm(a - r, axis=1)
    both = own * length
    same = (distance == 0).astype(np.float64)
    difference = np.where(length > 0, distance / np.where(length > 0, length, 1), 1 - same)
    cosine = np.where(both > 0, (a * r).sum(1) / np.where(both > 0, both, 1), same)
    return Agreement(len(a), float(difference.max()), float(min(cosine.min(), 1.0)))
