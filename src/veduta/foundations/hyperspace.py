r"""Hyper-parameter optimisation (report section 4.10 and 5, equation 41).

A hyper-parameter is set before training, not learned. The space of all combinations is a Cartesian
product of the sets to try; production searches exactly this list.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def cartesian_product(sets: Mapping[str, Sequence[T]]) -> list[dict[str, T]]:
    r"""Equation 41: H_1 \times \dots \times H_n = \{(h_1, \dots, h_n) : h_i \in H_i\}.

    Names come in the order given, values in the order given, the last name varying fastest.
    Without any set, the product has one element: the empty choice.

    Args:
        sets: H_i, the values to try, by name.

    Returns:
        One dict an element of the product.

    Raises:
        ValueError: a set is empty, so the product would be empty too.

    >>> for trial in cartesian_product({"lr": [0.1, 0.01], "batch_size": [32, 64]}):
    ...     print(trial)
    {'lr': 0.1, 'batch_size': 32}
    {'lr': 0.1, 'batch_size': 64}
    {'lr': 0.01, 'batch_size': 32}
    {'lr': 0.01, 'batch_size': 64}
    """
    size(sets)
    return [dict(zip(sets, values, strict=True)) for values in itertools.product(*sets.values())]


def size(sets: Mapping[str, Sequence[T]]) -> int:
    r"""Size of (41): \left|H_1 \times \dots \times H_n\right| = \prod_i |H_i|.

    Three sets of four values are already 64 trials, which is why trials are short.

    >>> size({"lr": [1, 2, 3, 4], "batch_size": [1, 2, 3, 4], "momentum": [1, 2, 3, 4]})
    64
    """
    if empty := [name for name, values in sets.items() if not len(values)]:
        raise ValueError(f"every set of a product has at least one value; got none for {empty}")
    return math.prod(len(values) for values in sets.values())
