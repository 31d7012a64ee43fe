"""Random arrays for tests of derivatives, and what two gradients have to agree to."""

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import settings

from veduta.foundations.arrays import Array
from veduta.foundations.gradcheck import numerical_gradient, relative_error

few = settings(max_examples=25)  # each example tries every entry of an array
BY_DIFFERENCES = 1e-6
BY_AUTOGRAD = 1e-10


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def spaced(seed: int, *shape: int) -> Array:
    """Distinct numbers, none near another or near 0: off every kink and every tie."""
    size = int(np.prod(shape))
    numbers = (np.random.default_rng(seed).permutation(size) - size / 2 + 0.25) * 0.05
    return numbers.reshape(shape)


def tensor(array: Array) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def assert_gradient(found: Array, f: Callable[[Array], object], x: Array) -> None:
    """By central differences: `found` is the gradient of the sum of f's entries at x."""
    numeric = numerical_gradient(lambda at: float(np.sum(np.asarray(f(at)))), x)
    assert found.shape == x.shape
    assert relative_error(found, numeric) < BY_DIFFERENCES


def assert_autograd(found: Array, f: Callable[[torch.Tensor], torch.Tensor], x: Array) -> None:
    """By PyTorch in float64: `found` is the gradient of the sum of f's entries at x."""
    at = tensor(x)
    (expected,) = torch.autograd.grad(f(at).sum(), at)
    assert_same(found, expected)


def assert_same(found: object, expected: object) -> None:
    """Both as float64 arrays, whatever they are: their distance by their size."""
    sides = (x.detach().numpy() if isinstance(x, torch.Tensor) else x for x in (found, expected))
    assert relative_error(*(np.asarray(side, dtype=np.float64) for side in sides)) < BY_AUTOGRAD
