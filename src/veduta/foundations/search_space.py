r"""The hyperparameter search space (report sections 4.10 and 5, equation 41).

Hyperparameters are set before training instead of being learned. The search space is the Cartesian
product of the values to try; the hyperparameter search runs exactly these combinations.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def cartesian_product(sets: Mapping[str, Sequence[T]]) -> list[dict[str, T]]:
    r"""Equation 41: H_1 \times \dots \times H_n = \{(h_1, \dots, h_n) : h_i \in H_i\}.

    Names and values keep the given order, and the last name varies fastest. The product of no sets
    has one element, the empty combination.

    Args:
        sets: H_i, the values to try, by name.

    Returns:
        One dict per combination.

    Raises:
        ValueError: a set is empty.

    >>> for trial in cartesian_product({"lr": [0.1, 0.01], "batch_size": [32, 64]}):
    ...     print(trial)
    {'lr': 0.1, 'batch_size': 32}
    {'lr': 0.1, 'batch_size': 64}
    {'lr': 0.01, 'batch_size': 32}
    {'lr': 0.01, 'batch_size': 64}
    """
    product_size(sets)
    return [dict(zip(sets, values, strict=True)) for values in itertools.product(*sets.values())]


def product_size(sets: Mapping[str, Sequence[T]]) -> int:
    r"""Size of (41): \left|H_1 \times \dots \times H_n\right| = \prod_i |H_i|.

    Three sets of four values already give 64 trials, so each trial has to be short.

    Raises:
        ValueError: a set is empty.

    >>> product_size({"lr": [1, 2, 3, 4], "batch_size": [1, 2, 3, 4], "momentum": [1, 2, 3, 4]})
    64
    """
    if empty := [name for name, values in sets.items() if not len(values)]:
        raise ValueError(f"every set must have at least one value; got none for {empty}")
    return math.prod(len(values) for values in sets.values())
