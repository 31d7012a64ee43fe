"""The words all modules share: what an array is, and how a broken rule is reported."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Function = Callable[[Array], Array]


class Activation(NamedTuple):
    """A function psi and its derivative, both entry by entry."""

    function: Function
    derivative: Function


def require(holds: object, rule: str, received: object) -> None:
    """Raise ValueError with the rule and what came, unless the rule holds.

    >>> require(1 < 0, "a keep probability lies in (0, 1]", 1.5)
    Traceback (most recent call last):
    ValueError: a keep probability lies in (0, 1]; got 1.5
    """
    if not holds:
        raise ValueError(f"{rule}; got {received}")


def require_same_shape(a: Array, b: Array, rule: str) -> None:
    """Raise ValueError unless both arrays have one shape."""
    require(a.shape == b.shape, f"{rule} have one shape", f"{a.shape} and {b.shape}")


def require_probabilities(values: Array, name: str) -> None:
    """Raise ValueError unless every entry lies in [0, 1]."""
    require(np.all((values >= 0) & (values <= 1)), f"{name} holds probabilities, in [0, 1]", values)


def require_distributions(values: Array, name: str) -> None:
    """Raise ValueError unless every row holds probabilities that sum to 1."""
    require_probabilities(values, name)
    sums = values.sum(axis=-1)
    require(np.allclose(sums, 1), f"each row of {name} sums to 1", sums)


def require_pairs(x: Array, y: Array | Integers) -> None:
    """Raise ValueError unless there is one y for each x, and at least one."""
    require(len(x) == len(y) > 0, "there is one y for each x, and at least one", (len(x), len(y)))


def require_layers(a: Array, a_before: Array) -> None:
    """Raise ValueError unless both are (N, neurons) of the same N samples."""
    fits = a.ndim == a_before.ndim == 2 and len(a) == len(a_before)
    received = f"{a.shape} and {a_before.shape}"
    require(fits, "a layer and the one before are (N, n) and (N, m)", received)


def whole_below(numbers: Integers, limit: int) -> bool:
    """Whether all of them are whole numbers in 0..limit - 1; True and False are not numbers.

    >>> whole_below(np.array([0, 2]), 3), whole_below(np.array([True]), 3)
    (True, False)
    """
    numbers = np.asarray(numbers)
    whole = np.issubdtype(numbers.dtype, np.integer)
    return bool(whole and np.all((numbers >= 0) & (numbers < limit)))


def require_labels(labels: Integers, samples: int, classes: int) -> None:
    """Raise ValueError unless there is one class number below `classes` a sample.

    >>> require_labels(np.array([0, 3]), samples=2, classes=3)
    Traceback (most recent call last):
    ValueError: labels are one whole number in 0..2 a sample, 2 in all; got [0 3]
    """
    fine = labels.shape == (samples,) and whole_below(labels, classes)
    rule = f"labels are one whole number in 0..{classes - 1} a sample, {samples} in all"
    require(fine, rule, labels)


def require_scores(z: Array, labels: Integers) -> None:
    """Raise ValueError unless z is (N, classes), with a label for each of the N."""
    require(z.ndim == 2, "z is (N, classes)", z.shape)
    require_labels(labels, *z.shape)
