"""Random arrays and gradient assertions for the tests of the foundations."""

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import settings

from veduta.foundations.arrays import Array
from veduta.foundations.checks import numerical_gradient, relative_error

few_examples = settings(max_examples=25)  # each example evaluates every entry of an array
NUMERICAL_TOLERANCE = 1e-6
EXACT_TOLERANCE = 1e-10


def draw_normal(seed: int, *shape: int) -> Array:
    """Return standard normal random numbers of this shape."""
    return np.random.default_rng(seed).standard_normal(shape)


def draw_distinct(seed: int, *shape: int) -> Array:
    """Return distinct numbers that are not close to each other or to 0, to avoid ties and kinks."""
    size = int(np.prod(shape))
    numbers = (np.random.default_rng(seed).permutation(size) - size / 2 + 0.25) * 0.05
    return np.asarray(numbers.reshape(shape), dtype=np.float64)


def to_tensor(array: Array) -> torch.Tensor:
    """Convert an array to a float64 tensor that records gradients."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def assert_gradient(gradient: Array, f: Callable[[Array], object], x: Array) -> None:
    """Assert by central differences that `gradient` is that of the sum of f's entries at x."""
    numerical = numerical_gradient(lambda at: float(np.sum(np.asarray(f(at)))), x)
    assert gradient.shape == x.shape
    assert relative_error(gradient, numerical) < NUMERICAL_TOLERANCE


def assert_autograd(gradient: Array, f: Callable[[torch.Tensor], torch.Tensor], x: Array) -> None:
    """Assert by PyTorch in float64 that `gradient` is that of the sum of f's entries at x."""
    at = to_tensor(x)
    (expected,) = torch.autograd.grad(f(at).sum(), at)
    assert_same(gradient, expected)


def assert_same(computed: object, expected: object) -> None:
    """Assert that two arrays, tensors or numbers agree up to rounding in float64."""
    sides = (x.detach().numpy() if isinstance(x, torch.Tensor) else x for x in (computed, expected))
    assert relative_error(*(np.asarray(side, dtype=np.float64) for side in sides)) < EXACT_TOLERANCE
