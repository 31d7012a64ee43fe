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


def require_labels(labels: Integers, samples: int, classes: int) -> None:
    """Raise ValueError unless there is one class number below `classes` a sample.

    >>> require_labels(np.array([0, 3]), samples=2, classes=3)
    Traceback (most recent call last):
    ValueError: labels are one whole number in 0..2 a sample, 2 in all; got [0 3]
    """
    fine = labels.shape == (samples,) and np.issubdtype(labels.dtype, np.integer)
    fine = fine and bool(np.all((labels >= 0) & (labels < classes)))
    rule = f"labels are one whole number in 0..{classes - 1} a sample, {samples} in all"
    require(fine, rule, labels)
