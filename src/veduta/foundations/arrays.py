"""Array types and argument checks shared by all modules of the package."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Function = Callable[[Array], Array]


class Activation(NamedTuple):
    """An activation function psi and its derivative psi', both applied entry by entry."""

    function: Function
    derivative: Function


def require(condition: object, rule: str, received: object) -> None:
    """Raise a ValueError that states the rule and the received value, unless `condition` is true.

    >>> require(1 < 0, "keep must lie in (0, 1]", 1.5)
    Traceback (most recent call last):
    ValueError: keep must lie in (0, 1]; got 1.5
    """
    if not condition:
        raise ValueError(f"{rule}; got {received}")


def require_same_shape(a: Array, b: Array, names: str) -> None:
    """Raise ValueError unless both arrays have the same shape; `names` is "x and y"."""
    require(a.shape == b.shape, f"{names} must have the same shape", f"{a.shape} and {b.shape}")


def require_probabilities(values: Array, name: str) -> None:
    """Raise ValueError unless every entry lies in [0, 1]."""
    valid = np.all((values >= 0) & (values <= 1))
    require(valid, f"{name} must hold probabilities in [0, 1]", values)


def require_distributions(values: Array, name: str) -> None:
    """Raise ValueError unless every row holds probabilities that sum to 1."""
    require_probabilities(values, name)
    sums = values.sum(axis=-1)
    require(np.allclose(sums, 1), f"each row of {name} must sum to 1", sums)


def require_pairs(x: Array, y: Array | Integers) -> None:
    """Raise ValueError unless x and y have the same length, which is at least 1."""
    valid = len(x) == len(y) > 0
    require(valid, "x and y must have the same length, at least 1", (len(x), len(y)))


def require_layers(a: Array, a_before: Array) -> None:
    """Raise ValueError unless `a` is (N, n) and `a_before` is (N, m), with the same N."""
    valid = a.ndim == a_before.ndim == 2 and len(a) == len(a_before)
    received = f"{a.shape} and {a_before.shape}"
    require(valid, "a layer and the layer before it must be (N, n) and (N, m)", received)


def are_indices(values: Integers, length: int) -> bool:
    """Return whether all values are integers in 0..length - 1; booleans do not count as integers.

    >>> are_indices(np.array([0, 2]), 3), are_indices(np.array([True]), 3)
    (True, False)
    """
    values = np.asarray(values)
    integral = np.issubdtype(values.dtype, np.integer)
    return bool(integral and np.all((values >= 0) & (values < length)))


def require_labels(labels: Integers, samples: int, classes: int) -> None:
    """Raise ValueError unless `labels` holds one class index below `classes` per sample.

    >>> require_labels(np.array([0, 3]), samples=2, classes=3)
    Traceback (most recent call last):
    ValueError: labels must be 2 integers in 0..2, one per sample; got [0 3]
    """
    valid = labels.shape == (samples,) and are_indices(labels, classes)
    rule = f"labels must be {samples} integers in 0..{classes - 1}, one per sample"
    require(valid, rule, labels)


def require_scores(z: Array, labels: Integers) -> None:
    """Raise ValueError unless z is (N, classes) and `labels` holds one class index per sample."""
    require(z.ndim == 2, "z must be (N, classes)", z.shape)
    require_labels(labels, *z.shape)
